import numpy as np
import pytest
from scipy.special import log_softmax

from landcover.training.calibration import TEMPERATURES, fit_temperature

# Of ten patches, eight are of the class that each prediction has for the likelier of two.
LABELS = np.array([0] * 8 + [1] * 2)


def apart(logits: float) -> np.ndarray:
    """Log-probabilities (10, 2) of logits that far apart."""
    return log_softmax(np.tile([logits, 0], (10, 1)), axis=1)


@pytest.mark.parametrize("logits", [0.5, np.log(4), 6])
def test_the_temperature_makes_a_network_as_sure_as_it_is_right(logits):
    """To be sure to 80 %, the logits must be log(0.8 / 0.2) apart."""
    temperature = fit_temperature(LABELS, apart(logits))
    assert temperature == pytest.approx(logits / np.log(4))
    assert np.exp(log_softmax(apart(logits) / temperature, axis=1)[0]) == pytest.approx([0.8, 0.2])


def test_a_temperature_stays_in_its_range():
    low, high = TEMPERATURES
    assert fit_temperature(LABELS, apart(1e-3)) == low
    assert fit_temperature(LABELS, apart(1e3)) == high
    assert fit_temperature(np.zeros(10, int), apart(1)) == low  # all are right
    assert fit_temperature(np.ones(10, int), apart(1)) == high  # none is


def test_a_temperature_can_be_fitted_to_shares():
    """Each patch is to 80 % of one class, as all of them together are."""
    shares = np.tile([0.8, 0.2], (10, 1))
    assert fit_temperature(shares, apart(6)) == pytest.approx(fit_temperature(LABELS, apart(6)))

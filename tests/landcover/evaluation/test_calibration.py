import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from landcover.evaluation import calibration
from landcover.evaluation.calibration import LEAST_PATCHES as LEAST


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which patches are right, and confidences that are what they say."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.2, 1, count)
    return rng.random(count) < confidence, confidence


def test_ece_by_hand():
    # Thirty patches at confidence 0.9 of which eighteen are right, thirty at 0.6 of which twenty-four are.
    confidence = np.repeat([0.9, 0.6], 30)
    correct = np.repeat([True, False, True, False], [18, 12, 24, 6])
    assert calibration.ece(correct, confidence) == pytest.approx(0.5 * 0.3 + 0.5 * 0.2)
    bins = calibration.reliability(correct, confidence)
    assert bins["count"].tolist() == [30, 30]
    assert bins["confidence"] == pytest.approx([0.6, 0.9])
    assert bins["accuracy"] == pytest.approx([0.8, 0.6])
    z = 1.959964  # Wilson, 24 of 30
    middle, reach = 0.8 + z**2 / 60, z * np.sqrt(0.8 * 0.2 / 30 + z**2 / (4 * 30**2))
    assert bins["low"][0] == pytest.approx((middle - reach) / (1 + z**2 / 30))
    assert bins["high"][0] == pytest.approx((middle + reach) / (1 + z**2 / 30))


def test_bins_agree_with_scikit_learn():
    correct, confidence = drawn(1003)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=10, strategy="quantile")
    bins = calibration.reliability(correct, confidence)
    assert bins["accuracy"] == pytest.approx(accuracy)
    assert bins["confidence"] == pytest.approx(mean)
    assert bins["count"].sum() == 1003
    expected = (bins["count"] * np.abs(accuracy - mean)).sum() / 1003
    assert calibration.ece(correct, confidence) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("count", "bins"), [(1, 1), (2 * LEAST - 1, 1), (2 * LEAST, 2), (10 * LEAST - 1, 9), (10 * LEAST, 10), (5000, 10)]
)
def test_bins_hold_equally_many_patches_and_not_too_few(count, bins):
    result = calibration.reliability(*drawn(count))["count"]
    assert (len(result), result.sum()) == (bins, count)
    assert result.max() - result.min() <= 1


def test_equal_confidences_are_in_one_bin_whatever_their_order():
    rng = np.random.default_rng(0)
    confidence = np.repeat([0.3, 0.7, 1.0], [40, 140, 20])
    correct = rng.random(200) < confidence
    bins = calibration.reliability(correct, confidence)
    assert bins["count"].tolist() == [40, 140, 20]
    assert bins["confidence"] == pytest.approx([0.3, 0.7, 1])
    order = rng.permutation(200)
    assert calibration.ece(correct[order], confidence[order]) == pytest.approx(calibration.ece(correct, confidence))
    assert calibration.reliability(np.ones(50, bool), np.full(50, 0.9))["count"].tolist() == [50]


def test_what_chance_alone_gives_is_what_calibrated_networks_show():
    """The ECE of patches that are right as often as their confidence says, drawn anew and scored one by one."""
    _, confidence = drawn(150)
    mean, high = calibration.ece_by_chance(confidence, resamples=4000, seed=0)
    rng = np.random.default_rng(1)
    result = np.array([calibration.ece(rng.random(150) < confidence, confidence) for _ in range(2000)])
    assert mean == pytest.approx(result.mean(), rel=0.02)
    assert (result > high).mean() == pytest.approx(0.05, abs=0.015)

"""Temperature scaling, which calibrates a network's confidences, and lets them be read as shares."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax

from landcover.data.tensors import Split

TEMPERATURES = (0.02, 50)
Arrays = dict[str, np.ndarray]  # log-probabilities by split, float64 (..., N, K)


def fit_temperature(targets: np.ndarray, log_probabilities: np.ndarray) -> float:
    """The temperature by which to divide logits to minimize the mean cross-entropy to the targets.

    Above 1, the predictions were overconfident. Source: Guo et al., ICML 2017, section 4.2.

    Args:
        targets: labels, int (N,), whose cross-entropy is the negative log-likelihood; or shares, (N, K), in sum 1.
        log_probabilities: float64 (N, K).
    """
    if targets.ndim == 2:
        actual = (targets * log_probabilities).sum(1).mean()
    else:
        actual = log_probabilities[np.arange(len(targets)), targets].mean()

    # The cross-entropy is convex in the inverse of the temperature: its slope changes sign at most once.
    def slope(logarithm: float) -> float:
        softened = log_softmax(log_probabilities / np.exp(logarithm), axis=1)
        return actual - (np.exp(softened) * log_probabilities).sum(1).mean()

    low, high = np.log(TEMPERATURES)
    if slope(low) >= 0:
        return TEMPERATURES[0]
    if slope(high) <= 0:
        return TEMPERATURES[1]
    return float(np.exp(brentq(slope, low, high)))


def fitted_to_shares(val: Split, of_val: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Log-probabilities at the temperature that brings those of the val patches closest to their shares."""
    temperature = fit_temperature(val.shares, of_val)
    return [log_softmax(values / temperature, axis=-1) for values in (of_val, *others)]


def run_as_shares(splits: dict[str, Split], log_probabilities: Arrays) -> Arrays:
    """A run's log-probabilities of each split, read as shares; whatever its target, so that targets compare."""
    if splits["val"].shares is None:
        return {}
    fitted = fitted_to_shares(splits["val"], *(log_probabilities[name] for name in ("val", "test", "train")))
    return dict(zip(("val", "test", "train"), fitted, strict=True))


def repeated_as_shares(
    splits: dict[str, Split], repeated: Arrays, trials: Sequence[Mapping[str, np.ndarray]]
) -> Arrays:
    """The same of each seed, (S, N, K), and of each trial by its own val patches.

    Args:
        trials: the rows of the val and the test patches of each fold; without folds, one trial with all rows.
    """
    if not repeated or splits["val"].shares is None:
        return {}
    fitted = {name: np.empty_like(values) for name, values in repeated.items()}
    for rows in trials:
        val = splits["val"].select(rows["val"])
        for seed in range(len(repeated["val"])):
            given = (repeated[name][seed, rows[name]] for name in ("val", "test"))
            for name, values in zip(("val", "test"), fitted_to_shares(val, *given), strict=True):
                fitted[name][seed, rows[name]] = values
    return fitted

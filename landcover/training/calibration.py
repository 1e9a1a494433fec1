"""Temperature scaling, which calibrates a network's confidences."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax

TEMPERATURES = (0.02, 50)


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

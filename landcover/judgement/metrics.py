"""How good predictions are, and how sure one can be of it.

Point figures are scikit-learn's. Means over classes are over the classes that occur among the labels: a class without a
label has no recall, and what is wrongly predicted as it counts against the recall of the true class.
"""

import itertools

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, recall_score

from landcover.judgement import confusion
from landcover.judgement.calibration import ece
from landcover.judgement.confusion import CONFIDENCE, bootstrap, confusion_matrix, interval

TEMPERATURES = (0.02, 50)
PURITY_EDGES = (0, 0.5, 0.7, 0.9, 1)  # of the majority fraction
PURITY_RANGES = tuple(
    f"{low:.0%} to {high:.0%}" if low else f"below {high:.0%}" for low, high in itertools.pairwise(PURITY_EDGES)
)


def per_class(labels: np.ndarray, predictions: np.ndarray, classes: int) -> pd.DataFrame:
    """Support, precision, recall and F1 by class, a row each.

    NaN where there is nothing to tell: precision of a class never predicted, recall and F1 of one without a label.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=range(classes), zero_division=np.nan
    )
    f1 = np.where(support > 0, f1, np.nan)
    return pd.DataFrame({"support": support, "precision": precision, "recall": recall, "f1": f1})


def nll(labels: np.ndarray, log_probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels, in nats; of log-probabilities (N, K)."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def soften(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Log-probabilities (N, K) after a division of the logits by `temperature`."""
    return log_softmax(log_probabilities / temperature, axis=1)


def fit_temperature(labels: np.ndarray, log_probabilities: np.ndarray) -> float:
    """The temperature that logits are divided by so that the negative log-likelihood is least.

    Above 1 the predictions were too sure of themselves. Source: Guo et al., ICML 2017, section 4.2.
    """
    actual = log_probabilities[np.arange(len(labels)), labels].mean()

    # The likelihood is convex in the inverse of the temperature: its slope changes its sign once, at most.
    def slope(logarithm: float) -> float:
        softened = soften(log_probabilities, np.exp(logarithm))
        return actual - (np.exp(softened) * log_probabilities).sum(1).mean()

    low, high = np.log(TEMPERATURES)
    if slope(low) >= 0:
        return TEMPERATURES[0]
    if slope(high) <= 0:
        return TEMPERATURES[1]
    return float(np.exp(brentq(slope, low, high)))


def purity_range(majority_fraction: np.ndarray) -> np.ndarray:
    """In which of PURITY_RANGES the majority fraction of each patch lies; int (N,)."""
    return np.searchsorted(PURITY_EDGES[1:-1], majority_fraction, side="right")


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share.  Source: E. B. Wilson, 1927."""
    low, high = binomtest(hits, count).proportion_ci(CONFIDENCE, method="wilson")
    return float(low), float(high)


def accuracy_by_purity(correct: np.ndarray, majority_fraction: np.ndarray) -> list[dict[str, float | int | str]]:
    """Accuracy with its 95 % Wilson interval, of the patches in each range of the share that their class covers.

    The fewer pixels are of the class that a patch is named after, the less there is to be right about.

    Returns:
        Rows of `purity`, `n`, `accuracy`, `low`, `high`, for the ranges that have a patch.
    """
    rows, ranges = [], purity_range(majority_fraction)
    for number in np.unique(ranges):
        hits, count = int(correct[ranges == number].sum()), int((ranges == number).sum())
        low, high = wilson(hits, count)
        rows.append({"purity": PURITY_RANGES[number], "n": count, "accuracy": hits / count, "low": low, "high": high})
    return rows


def summary(labels: np.ndarray, log_probabilities: np.ndarray, *, resamples: int, seed: int) -> dict[str, float | int]:
    """All metrics of one split, with 95 % bootstrap intervals over its patches for accuracy and macro F1.

    Args:
        labels: int (N,).
        log_probabilities: (N, K).
    """
    predictions = log_probabilities.argmax(1)
    drawn = bootstrap(confusion_matrix(labels, predictions, log_probabilities.shape[1]), resamples, seed)
    over_classes = {"labels": np.unique(labels), "average": "macro", "zero_division": 0}
    points = {
        "accuracy": (accuracy_score(labels, predictions), confusion.accuracy),
        "macro_f1": (f1_score(labels, predictions, **over_classes), confusion.macro_f1),
    }
    found: dict[str, float | int] = {}
    for name, (point, resampled) in points.items():
        low, high = interval(resampled(drawn))
        found |= {name: float(point), f"{name}_ci_low": low, f"{name}_ci_high": high}
    found["balanced_accuracy"] = float(recall_score(labels, predictions, **over_classes))
    found["nll"] = nll(labels, log_probabilities)
    found["ece"] = ece(predictions == labels, np.exp(log_probabilities.max(1)))
    found["n"] = len(labels)
    return found

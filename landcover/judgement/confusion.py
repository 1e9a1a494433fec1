"""Metrics of confusion matrices (..., K, K), for the thousands of them that a bootstrap draws.

Point figures are scikit-learn's, in `metrics`; it takes one matrix at a time. Metrics over classes are means over the
classes that occur among the labels: a class without a label has no recall, and what is wrongly predicted as it counts
against the recall of the true class.
"""

import numpy as np

CONFIDENCE = 0.95


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Count patches by label (rows) and prediction (columns); int64 (K, K)."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """A quotient that is 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=denominator > 0)


def _hits_and_totals(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correct, labelled and predicted patches by class, each (..., K), of confusion matrices (..., K, K)."""
    return np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of patches that are predicted right; (...) of confusion matrices (..., K, K)."""
    return np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum((-2, -1))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that occur; (...) of confusion matrices (..., K, K)."""
    hits, labelled, _ = _hits_and_totals(confusion)
    return _divide(hits, labelled).sum(-1) / (labelled > 0).sum(-1)


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 by class, 0 where there is neither label nor prediction; (..., K) of confusion matrices (..., K, K)."""
    hits, labelled, predicted = _hits_and_totals(confusion)
    return _divide(2 * hits, labelled + predicted)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that occur; (...) of confusion matrices (..., K, K)."""
    occurs = confusion.sum(-1) > 0
    return (class_f1(confusion) * occurs).sum(-1) / occurs.sum(-1)


def bootstrap(cells: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Draw as many patches as there are, with replacement, `resamples` times.

    A metric that depends on a patch only by the cell it is counted in (a cell of the confusion matrix, say) needs no
    more than the counts, and those of a resample are multinomial. So the cost does not grow with the patches.

    Args:
        cells: counts of patches, of any shape.

    Returns:
        Counts of each resample, (resamples, *cells.shape).
    """
    total = cells.sum()
    drawn = np.random.default_rng(seed).multinomial(total, cells.ravel() / total, size=resamples)
    return drawn.reshape(resamples, *cells.shape)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The percentile interval that holds CONFIDENCE of bootstrapped values (resamples,)."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)

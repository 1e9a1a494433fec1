"""Confusion matrices, patches by label (rows) and prediction (columns), and the figures of each class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from landcover.evaluation.intervals import wilson


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Count patches by label (rows) and prediction (columns); int64 (K, K)."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def tabulate(confusion: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """A confusion matrix (K, K) as a table, a row for each pair of classes, in their order.

    Columns: `actual`, `predicted`, `patches`, and `share`, of the patches of the actual class; NaN if it has none.
    """
    actual, predicted = np.array(classes)[np.indices(confusion.shape).reshape(2, -1)]
    support = confusion.sum(1, keepdims=True)
    shares = np.divide(confusion, support, out=np.full(confusion.shape, np.nan), where=support > 0)
    columns = {"actual": actual, "predicted": predicted, "patches": confusion.ravel(), "share": shares.ravel()}
    return pd.DataFrame(columns)


def per_class(confusion: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Support, precision, recall with its 95% interval, and F1 from a confusion matrix (K, K), one row per class.

    NaN where undefined: precision of a class never predicted, recall and F1 of a class without labels.
    """
    support, predicted, correct = confusion.sum(1), confusion.sum(0), np.diagonal(confusion)
    with np.errstate(invalid="ignore"):
        recall, precision, f1 = correct / support, correct / predicted, 2 * correct / (support + predicted)
    intervals = [wilson(share, n) if n else (np.nan, np.nan) for share, n in zip(recall, support, strict=True)]
    low, high = np.array(intervals).T
    columns = {"support": support, "precision": precision, "recall": recall, "recall_low": low, "recall_high": high}
    return pd.DataFrame({"class": classes} | columns | {"f1": np.where(support > 0, f1, np.nan)})

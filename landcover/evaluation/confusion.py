"""Confusion matrices: patches by label (rows) and prediction (columns)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


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


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 by class, 0 where there is neither label nor prediction; (K,) of a confusion matrix (K, K)."""
    total = confusion.sum(0) + confusion.sum(1)
    return np.divide(2 * np.diagonal(confusion), total, out=np.zeros(len(total)), where=total > 0)

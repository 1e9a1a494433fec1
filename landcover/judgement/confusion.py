"""Confusion matrices: patches by label (rows) and prediction (columns)."""

import numpy as np


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Count patches by label (rows) and prediction (columns); int64 (K, K)."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 by class, 0 where there is neither label nor prediction; (K,) of a confusion matrix (K, K)."""
    total = confusion.sum(0) + confusion.sum(1)
    return np.divide(2 * np.diagonal(confusion), total, out=np.zeros(len(total)), where=total > 0)

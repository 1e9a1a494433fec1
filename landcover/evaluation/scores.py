"""Metrics as means of scores, one per patch, so that the statistics of means apply to all of them."""

import numpy as np

from landcover.evaluation.predictions import Predictions

METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "nll", "brier")
LOWER_IS_BETTER = ("nll", "brier")
LEAST_PROBABILITY = 1e-15  # lower ones are clipped, as in scikit-learn's log_loss


def scores(predictions: Predictions, metric: str) -> np.ndarray | None:
    """Scores (S, N) whose means over patches are the metric of each seed; None if the table lacks the columns."""
    match metric:
        case "accuracy":
            return (predictions.predicted == predictions.actual).astype(float)
        case "nll":
            p = predictions.p_actual
            return None if p is None else -np.log(np.clip(p, LEAST_PROBABILITY, 1))
        case "brier":
            return predictions.brier
    linear = {"macro_f1": linear_f1, "balanced_accuracy": linear_recall}[metric]
    return np.stack([linear(predictions.actual, one) for one in predictions.predicted])


# A mean over classes is not a mean over patches, but to first order it is the mean of its value plus the influence of
# each patch, which is its derivative with respect to the patch's weight.  Source: Hampel, "The influence curve and its
# role in robust estimation", JASA 69, 1974. Both functions take class labels of any type and return float64, (N,).


def linear_recall(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Scores whose mean is the balanced accuracy: the mean recall over the classes that occur."""
    classes, of_class = np.unique(actual, return_inverse=True)
    correct, support = predicted == actual, np.bincount(of_class)
    recall = np.bincount(of_class, correct) / support
    return recall.mean() + len(actual) / len(classes) * (correct - recall[of_class]) / support[of_class]


def linear_f1(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Scores whose mean is the macro F1: the mean over the classes that occur."""
    classes = np.unique(actual)[:, None]
    labelled, taken = actual == classes, predicted == classes  # (K, N)
    total = labelled.sum(1, keepdims=True) + taken.sum(1, keepdims=True)
    f1 = 2 * (labelled & taken).sum(1, keepdims=True) / total
    influence = (2 * (labelled & taken) - f1 * (labelled.astype(int) + taken)) / total
    return f1.mean() + len(actual) * influence.mean(0)

"""Predictions without a network, which a network must beat."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from landcover.dataset.tensors import Shards


def band_statistics(images: np.ndarray | Shards, percentiles: list[float], threads: int = 1) -> np.ndarray:
    """Mean, standard deviation and percentiles of each band: what a patch is without the place of its pixels.

    Args:
        images: float32 (N, C, H, W).

    Returns:
        Features, float64 (N, C * (2 + P)).
    """

    # Patch by patch: a copy of all pixels in double precision would take twice the memory of the split.
    def describe(row: int) -> np.ndarray:
        pixels = images[row].reshape(images.shape[1], -1)
        moments = [pixels.mean(1, dtype=np.float64), pixels.std(1, dtype=np.float64)]
        return np.stack([*moments, *np.percentile(pixels, percentiles, axis=1)], axis=1).ravel()

    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(describe, range(len(images)))))


def majority(train_labels: np.ndarray, count: int, classes: int) -> np.ndarray:
    """Log-probabilities (count, K) that are the train split's class frequencies, whatever the patch."""
    # One patch is added to each class, or a class absent from train would be held impossible.
    frequencies = np.bincount(train_labels, minlength=classes) + 1
    return np.tile(np.log(frequencies / frequencies.sum()), (count, 1))


def logistic_regression(
    features: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: int, inverse_regularization: float
) -> np.ndarray:
    """Log-probabilities (N, K) of the features `test`, of a regression fitted to `features` and `labels`."""
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_regularization, max_iter=5000))
    known = np.unique(labels)
    if len(known) == 1:
        known_log = np.zeros((len(test), 1))  # nothing to tell apart
    else:
        known_log = regression.fit(features, labels).predict_log_proba(test)
    # As with the majority, one patch more of each class, or a class absent from train would be held impossible.
    found = np.ones((len(test), classes))
    found[:, known] += len(labels) * np.exp(known_log)
    return np.log(found / (len(labels) + classes))

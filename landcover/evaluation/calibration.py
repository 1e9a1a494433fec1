"""Calibration: how far confidence is from accuracy, and how much of the difference is chance."""

import numpy as np

from landcover.evaluation.intervals import wilson

MOST_BINS = 10
LEAST_PATCHES = 25  # in a bin; fewer give a poor estimate of accuracy


def _bins(confidence: np.ndarray) -> np.ndarray:
    """The bin of each patch, int (N,): bins of equal count, with equal confidences in one bin."""
    count = min(MOST_BINS, max(len(confidence) // LEAST_PATCHES, 1))
    edges = np.quantile(confidence, np.arange(1, count) / count)
    return np.unique(np.searchsorted(edges, confidence, side="left"), return_inverse=True)[1]


def reliability(correct: np.ndarray, confidence: np.ndarray) -> dict[str, np.ndarray]:
    """For bins of equal count: patches, mean confidence, accuracy, and the bounds of its 95% interval, each (B,)."""
    bins = _bins(confidence)
    count = np.bincount(bins)
    mean, accuracy = np.bincount(bins, confidence) / count, np.bincount(bins, correct) / count
    low, high = np.array([wilson(share, n) for share, n in zip(accuracy, count, strict=True)]).T
    return {"count": count, "confidence": mean, "accuracy": accuracy, "low": low, "high": high}


def ece(correct: np.ndarray, confidence: np.ndarray) -> float:
    """Expected calibration error: mean |confidence - accuracy| over bins of equal count, weighted by patches.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3; bins of equal count by Nixon
    et al., "Measuring Calibration in Deep Learning", CVPR workshops 2019.
    """
    return float(np.abs(np.bincount(_bins(confidence), correct - confidence)).sum() / len(correct))


def ece_by_chance(confidence: np.ndarray, *, resamples: int, seed: int) -> tuple[float, float]:
    """The mean and the 95th percentile of the ECE of a perfectly calibrated network with these confidences."""
    bins = _bins(confidence)
    order = np.argsort(bins, kind="stable")
    starts = np.flatnonzero(np.diff(bins[order], prepend=-1))
    sure = confidence[order].astype(np.float32)
    rng = np.random.default_rng(seed)
    errors = np.empty(resamples)
    for row in range(0, resamples, 500):  # to limit memory
        part = errors[row : row + 500]
        correct = rng.random((len(part), len(sure)), np.float32) < sure
        part[:] = np.abs(np.add.reduceat(correct - sure, starts, axis=1)).sum(1) / len(sure)
    return float(errors.mean()), float(np.quantile(errors, 0.95))

"""How far a confidence is from the share of patches that are right with it."""

import numpy as np

CALIBRATION_BINS = 15


def reliability(correct: np.ndarray, confidence: np.ndarray) -> dict[str, np.ndarray]:
    """Patches, mean confidence and accuracy in bins of equal width over (0, 1], each (CALIBRATION_BINS,)."""
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    return {
        "count": count,
        "confidence": np.bincount(bins, confidence, CALIBRATION_BINS) / np.maximum(count, 1),
        "accuracy": np.bincount(bins, correct, CALIBRATION_BINS) / np.maximum(count, 1),
    }


def ece(correct: np.ndarray, confidence: np.ndarray) -> float:
    """Expected calibration error: how far confidence is from accuracy, by bin, weighted by its patches.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    bins = reliability(correct, confidence)
    return float((bins["count"] * np.abs(bins["accuracy"] - bins["confidence"])).sum() / len(correct))

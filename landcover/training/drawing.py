"""Training on some of the train patches, as if the others had no label."""

import numpy as np

from landcover.config import Training
from landcover.errors import InputError


def draw_patches(labels: np.ndarray, settings: Training) -> np.ndarray:
    """Rows of the patches to train on, in order: all, or `train.patches` of them, each class in proportion.

    They are drawn with `train.seed`. With the same seed, a larger number adds patches to those of a smaller one.

    Args:
        labels: of the train split, int (N,).

    Raises:
        InputError: the train split has fewer.
    """
    rows, count = np.arange(len(labels)), settings.patches
    if count is None:
        return rows
    if count > len(labels):
        raise InputError(f"train.patches = {count}: the train split has {len(labels)} patches; lower it, or set null")
    order = np.random.default_rng(settings.seed).permutation(rows)
    # How far through its class each patch comes: all classes advance at the same pace.
    progress = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        progress[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    return np.sort(order[np.argsort(progress[order], kind="stable")][:count])

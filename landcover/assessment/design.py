"""The design of a sample: how many points, how they are divided among the strata, and where they lie.

Source: Olofsson et al., "Good practices for estimating area and assessing accuracy of land change", Remote Sensing of
Environment 148, 2014, section 5.1.
"""

import math
from typing import NamedTuple

import numpy as np

LEAST = 50  # points in each stratum, as the source advises, where there are enough


class Draw(NamedTuple):
    """Units that were drawn, in random order."""

    strata: np.ndarray  # int64 (N,)
    rows: np.ndarray  # int64 (N,): of the cell
    columns: np.ndarray  # int64 (N,)
    units: np.ndarray  # int64 (N,): which of the cell's units, from 0, row by row


def sample_size(sizes: np.ndarray, expected: np.ndarray, error: float) -> int:
    """How many points give the overall accuracy this standard error.  Source: equation 13.

    Args:
        sizes: units of each stratum (H,).
        expected: the expected user's accuracy of each (H,).
    """
    weights = sizes / sizes.sum()
    variances = expected * (1 - expected)
    return math.ceil((weights @ np.sqrt(variances)) ** 2 / (error**2 + weights @ variances / sizes.sum()))


def allocate(sizes: np.ndarray, points: int, least: int | None = None) -> np.ndarray:
    """Points of each stratum, int64 (H,): in proportion to their sizes, but a least number in small ones.

    Args:
        sizes: units of each stratum (H,), all above 0, at least `points` together.
        least: by default LEAST, but so that no more than half of the points are fixed by it, and 2 in any case, below
            which there is no variance. A stratum with fewer units has all of them in the sample.
    """
    if least is None:
        least = max(2, min(LEAST, points // (2 * len(sizes))))
    rare = np.zeros(len(sizes), bool)
    while True:
        counts = np.where(rare, np.minimum(least, sizes), 0).astype(float)
        counts[~rare] = (points - counts.sum()) * sizes[~rare] / sizes[~rare].sum()
        more = ~rare & (counts < least)
        if not more.any():
            break
        rare |= more
    whole = np.floor(counts).astype(np.int64)
    by_remainder = np.argsort(-(counts - whole), kind="stable")
    whole[by_remainder[: max(points - whole.sum(), 0)]] += 1
    return whole


def draw(labels: np.ndarray, classes: np.ndarray, counts: np.ndarray, per_cell: int, rng: np.random.Generator) -> Draw:
    """Draw units at random, without replacement, from all cells of a class.

    Args:
        labels: the class of each cell, int (rows, columns).
        classes: that of each stratum (H,).
        counts: points of each stratum (H,).
        per_cell: units of a cell.
    """
    parts = []
    for stratum, (label, count) in enumerate(zip(classes, counts, strict=True)):
        cells = np.flatnonzero(labels == label)
        drawn = rng.choice(len(cells) * per_cell, count, replace=False)
        rows, columns = np.divmod(cells[drawn // per_cell], labels.shape[1])
        parts.append(np.stack([np.full(count, stratum), rows, columns, drawn % per_cell]))
    return Draw(*rng.permutation(np.concatenate(parts, axis=1), axis=1))

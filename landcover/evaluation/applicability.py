"""The area of applicability of what was learnt from patches: how unlike them other ground is.

Source: Meyer and Pebesma, "Predicting into unknown space? Estimating the area of applicability of spatial prediction
models", Methods in Ecology and Evolution 12, 2021. As there, the index is the distance to the nearest train patch among
standardized predictors, divided by the mean distance between train patches. The predictors are those of `describe`, so
that the index is the same for all networks. The threshold is a quantile over the val split.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.spatial.distance import cdist, pdist

from landcover.constants import BANDS
from landcover.data import tensors

REFERENCES = 2000  # train patches to compare with, at most; and as many val patches
QUANTILE = 0.99  # of the val split, at the threshold
DARK, FLAT = 0.01, 0.001  # reflectances below which levels, and differences, hardly count
LEAST_DEVIATION = 0.01  # of a predictor, which is a logarithm; constant ones have it


class Applicability(NamedTuple):
    """Train patches to compare with, and how far from them the val patches are."""

    dataset: str
    bands: list[str]  # of Sentinel-2
    patch_size: int  # pixels a side
    threshold: float  # of the index
    share_of_val: float  # beyond the threshold
    scale: np.ndarray  # float32 (F,), by which predictors are multiplied
    references: np.ndarray  # float32 (N, F), multiplied by it

    @classmethod
    def of(cls, train: tensors.Split, val: tensors.Split, dataset: str) -> Self | None:
        """From the two splits; None if they do not have enough patches without nodata, or no band of Sentinel-2."""
        bands = [name for name in train.bands if name in BANDS]
        positions = [train.bands.index(name) for name in bands]
        known, other = (_described(split.images, positions) for split in (train, val))
        if not bands or len(known) < 2 or not len(other):
            return None
        scale = 1 / np.maximum(known.std(0), LEAST_DEVIATION)
        scale = (scale / pdist(known * scale).mean()).astype(np.float32)
        references = (known * scale).astype(np.float32)
        size = train.images.shape[-1]
        found = cls(dataset, bands, size, math.nan, math.nan, scale, references)
        index = found.index(other)
        threshold = float(np.quantile(index, QUANTILE, method="higher"))
        return found._replace(threshold=threshold, share_of_val=float((index > threshold).mean()))

    def index(self, predictors: np.ndarray) -> np.ndarray:
        """How unlike the train patches each of some patches is, float32 (N,); from their predictors (N, F)."""
        return cdist(predictors * self.scale, self.references).min(1).astype(np.float32)

    def fits(self, dataset: str, bands: Sequence[str], patch_size: int) -> bool:
        """Whether it is of the data that a model was trained on."""
        return (self.dataset, self.bands, self.patch_size) == (dataset, list(bands), patch_size)


def save(path: Path, found: Applicability | None) -> None:
    facts: dict[str, Any] = found._asdict() if found else {}
    arrays = {name: facts.pop(name) for name in ("scale", "references") if facts}
    tensors.save(path, arrays, facts)


def load(path: Path) -> Applicability | None:
    """Read what `save` wrote.

    Raises:
        InputError: it is another file.
    """
    arrays, facts = tensors.load(path)
    return Applicability(**facts, **arrays) if arrays else None


def describe(mean: np.ndarray, square: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The predictors: logarithms of each band's mean, standard deviation and mean step, (..., 3 C).

    Args:
        mean, square, step: of windows, (C, ...): means of reflectances, of their squares, and of `steps`.
    """
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return np.moveaxis(np.log(np.concatenate([mean + DARK, deviation + FLAT, step + FLAT])), 0, -1)


def steps(pixels: Any) -> Any:
    """The difference of each pixel (C, H, W) from the next one on the diagonal, (C, H - 1, W - 1)."""
    return abs(pixels[:, 1:, 1:] - pixels[:, :-1, :-1])


def _described(images: np.ndarray | tensors.Shards, positions: list[int]) -> np.ndarray:
    """The predictors of patches without nodata, float64 (N, F): of all, or of some that are evenly spaced."""
    rows = np.unique(np.linspace(0, len(images) - 1, min(len(images), REFERENCES)).astype(int))
    found = []
    for row in rows:
        pixels = images[row][positions].astype(np.float64)
        if pixels.all():
            found.append(describe(*(of.mean((1, 2)) for of in (pixels, pixels**2, steps(pixels)))))
    return np.array(found).reshape(-1, 3 * len(positions))

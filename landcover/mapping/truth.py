"""The accuracy of a map where the truth is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from landcover.errors import InputError, few
from landcover.mapping.maps import NOTHING
from landcover.mapping.pixels import open_raster


def read_labels(
    path: Path, numbers: Sequence[int], crs: str, transform: Affine, shape: tuple[int, int], patch_size: int
) -> np.ndarray:
    """The class that covers most of each cell's window, as for patches' labels: int16 (rows, columns).

    In a tie, it is the first such class; where the raster has no class, it is NOTHING.

    Args:
        path: a raster of classes.
        numbers: the number of each class in it.
        crs: the map's coordinate system, which the raster must have, too.
        transform: of the map's cells, each at the centre of its window.
        shape: rows and columns of the map.
        patch_size: side of a window, in pixels of the raster.

    Raises:
        InputError: the raster cannot be read, has none of the classes, or its pixels are not aligned with the scene's.
    """
    with open_raster(str(path)) as raster:
        pixels = raster.read(1)
        to_pixels, own = ~raster.transform @ transform, raster.crs
    warp = f"warp it to the scene's grid with `rio warp {path} <new file> --like <a band of the scene>`"
    if not own:
        raise InputError(
            f"{path}: has no coordinate system; if it is on the scene's grid, add it with `rio edit-info {path} --like "
            "<a band of the scene> --crs like --transform like`"
        )
    if own != CRS.from_user_input(crs):
        raise InputError(f"{path}: is in {own.to_string()[:40]}, and the map in {crs[:40]}; {warp}")
    if not np.isin(pixels, numbers).any():
        found = few([f"{number}" for number in np.unique(pixels)], 10)
        raise InputError(f"{path}: has the numbers {found}, and no class; give those of classes.tif: {numbers}")
    column, row = to_pixels @ (0.5, 0.5)  # the middle of the first cell, and of its window
    exact = (
        row - patch_size / 2 + to_pixels.e * np.arange(shape[0]),
        column - patch_size / 2 + to_pixels.a * np.arange(shape[1]),
    )
    top, left = (np.rint(places).astype(int) for places in exact)
    bottom, right = top + patch_size, left + patch_size
    inside = min(top[0], left[0]) >= 0 and bottom[-1] <= pixels.shape[0] and right[-1] <= pixels.shape[1]
    if not (inside and np.allclose(exact[0], top, atol=0.01) and np.allclose(exact[1], left, atol=0.01)):
        raise InputError(f"{path}: is not aligned with the scene's pixels; {warp}")
    covered = np.empty((len(numbers), *shape), np.int64)
    for cells, number in zip(covered, numbers, strict=True):
        # The number of the class's pixels above and left of each corner.
        before = np.pad(np.cumsum(np.cumsum(pixels == number, axis=0), axis=1), ((1, 0), (1, 0)))
        cells[:] = before[np.ix_(bottom, right)] - before[np.ix_(top, right)]
        cells -= before[np.ix_(bottom, left)] - before[np.ix_(top, left)]
    return np.where(covered.any(0), covered.argmax(0), NOTHING).astype(np.int16)


class Agreement(NamedTuple):
    """How far a map agrees with the truth.

    Overlapping windows show the same ground, so the figures are less certain than the number of cells suggests.
    """

    cells: int
    accuracy: float | None  # None if there are no cells
    classes: list[dict[str, Any]]  # class, cells and recall of each, as in summary.json

    @classmethod
    def of(cls, labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> Self:
        """Compare integers (rows, columns); cells where either is NOTHING do not count."""
        known = (labels != NOTHING) & (predictions != NOTHING)
        labels, right = labels[known], (labels == predictions)[known]
        recalls = [
            {"class": classes[label], "cells": own.size, "recall": float(own.mean())}
            for label in np.unique(labels)
            for own in [right[labels == label]]
        ]
        return cls(len(labels), float(right.mean()) if len(labels) else None, recalls)

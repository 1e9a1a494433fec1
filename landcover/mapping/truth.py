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
from landcover.mapping.rasters import NODATA_CODE
from landcover.mapping.scenes import Scene
from landcover.mapping.windows import Windows

MOST_OTHER = 0.95  # of the numbers may be of no class: those of a map with more classes than the model


def read_labels(path: Path, numbers: Sequence[int], scene: Scene, windows: Windows) -> tuple[np.ndarray, str | None]:
    """The class that covers most of each window, as for patches' labels, and a warning about other numbers, if any.

    Args:
        path: a raster of classes on the scene's grid; it may be larger.
        numbers: the number of each class in it. NODATA_CODE and its nodata tag stand for no class.
        windows: those of the scene.

    Returns:
        int16 (rows, columns); in a tie, the first such class; NOTHING where there is none, or where a number of no
        class covers most.

    Raises:
        InputError: the raster cannot be read, is on another grid, or most of its numbers are of no class.
    """
    with open_raster(str(path)) as raster:
        pixels, crs, transform, tag = raster.read(1), raster.crs, raster.transform, raster.nodata
    warp = f"warp it to the scene's grid with `rio warp {path} <new file> --like <a band of the scene>`"
    if not crs:
        raise InputError(
            f"{path}: has no coordinate system; if it is on the scene's grid, add it with `rio edit-info {path} --like "
            "<a band of the scene> --crs like --transform like`"
        )
    if crs != CRS.from_user_input(scene.crs):
        raise InputError(f"{path}: is in {crs.to_string()[:40]}, and the map in {scene.crs[:40]}; {warp}")
    corners = np.array([(0, 0), (scene.width, 0), (0, scene.height)])
    there = np.array([~transform @ (Affine(*scene.transform) @ corner) for corner in corners])
    first = np.rint(there[0]).astype(int)
    top, left = (
        start + windows.step * np.arange(count)
        for start, count in zip(first[::-1], (windows.rows, windows.columns), strict=True)
    )
    bottom, right = top + windows.size, left + windows.size
    inside = min(top[0], left[0]) >= 0 and bottom[-1] <= pixels.shape[0] and right[-1] <= pixels.shape[1]
    if not inside or not np.allclose(there, corners + first, rtol=0, atol=0.01):
        raise InputError(f"{path}: is not aligned with the scene's pixels; {warp}")
    known = np.isin(pixels, numbers)
    other = ~(known | np.isin(pixels, [NODATA_CODE, *([] if tag is None else [tag])]) | np.isnan(pixels))
    covered = np.empty((len(numbers) + 1, windows.rows, windows.columns), np.int64)
    for cells, here in zip(covered, (*(pixels == number for number in numbers), other), strict=True):
        # The number of such pixels above and left of each corner.
        before = np.pad(np.cumsum(np.cumsum(here, axis=0), axis=1), ((1, 0), (1, 0)))
        cells[:] = before[np.ix_(bottom, right)] - before[np.ix_(top, right)]
        cells -= before[np.ix_(bottom, left)] - before[np.ix_(top, left)]
    most = covered.argmax(0)
    labels = np.where(covered.any(0) & (most < len(numbers)), most, NOTHING).astype(np.int16)
    share = 1 - known.sum() / max((known | other).sum(), 1)
    if not share:
        return labels, None
    found = few([f"{number:g}" for number in np.unique(pixels[other] if other.any() else pixels)], 10)
    told = f"{share:.0%} of its numbers are of no class ({found})"
    if share > MOST_OTHER:
        raise InputError(f"{path}: {told}; give those of classes.tif, {numbers}, or {NODATA_CODE} for none")
    return labels, f"{told}; windows where these cover most do not count"


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

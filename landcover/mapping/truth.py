"""The accuracy of a map where the truth is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from landcover.errors import InputError, few
from landcover.mapping.maps import NOTHING, Map
from landcover.mapping.pixels import open_raster
from landcover.mapping.rasters import NODATA_CODE
from landcover.mapping.scenes import Area
from landcover.mapping.windows import Windows

MOST_OTHER = 0.95  # of the numbers may be of no class: those of a map with more classes than the model


class Truth(NamedTuple):
    """What is true of a map's windows and cells."""

    labels: np.ndarray  # int16 (rows, columns), the class that covers most of a window; NOTHING where there is none
    pixels: np.ndarray  # int64 (K, rows, columns), how many pixels of a cell, not of its window, are of each class
    warning: str | None  # about numbers of no class, if there are any


def read_truth(path: Path, numbers: Sequence[int], area: Area, windows: Windows) -> Truth:
    """The class that covers most of each window, as for patches' labels, and the classes' pixels in each cell.

    Args:
        path: a raster of classes on the grid of the scene or mosaic; it may be larger.
        numbers: the number of each class in it. NODATA_CODE and its nodata tag stand for no class.
        windows: those of the area.

    In a tie, the label is the first such class; it is NOTHING, too, where a number of no class covers most.

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
    if crs != CRS.from_user_input(area.crs):
        raise InputError(f"{path}: is in {crs.to_string()[:40]}, and the map in {area.crs[:40]}; {warp}")
    corners = np.array([(0, 0), (area.width, 0), (0, area.height)])
    there = np.array([~transform @ (Affine(*area.transform) @ corner) for corner in corners])
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
    shape = (len(numbers) + 1, windows.rows, windows.columns)
    covered, in_cells = np.empty(shape, np.int64), np.empty(shape, np.int64)
    margin, step = int(windows.margin), windows.step
    corners_of_cells = (top + margin, left + margin, top + margin + step, left + margin + step)
    for number, here in enumerate((*(pixels == number for number in numbers), other)):
        # The number of such pixels above and left of each corner.
        before = np.pad(np.cumsum(np.cumsum(here, axis=0), axis=1), ((1, 0), (1, 0)))
        for counts, (north, west, south, east) in (
            (covered, (top, left, bottom, right)),
            (in_cells, corners_of_cells),
        ):
            counts[number] = before[np.ix_(south, east)] - before[np.ix_(north, east)]
            counts[number] -= before[np.ix_(south, west)] - before[np.ix_(north, west)]
    most = covered.argmax(0)
    labels = np.where(covered.any(0) & (most < len(numbers)), most, NOTHING).astype(np.int16)
    share = 1 - known.sum() / max((known | other).sum(), 1)
    if not share:
        return Truth(labels, in_cells[:-1], None)
    found = few([f"{number:g}" for number in np.unique(pixels[other] if other.any() else pixels)], 10)
    told = f"{share:.0%} of its numbers are of no class ({found})"
    if share > MOST_OTHER:
        raise InputError(f"{path}: {told}; give those of classes.tif, {numbers}, or {NODATA_CODE} for none")
    return Truth(labels, in_cells[:-1], f"{told}; windows where these cover most do not count")


def score_areas(pixels: np.ndarray, land_cover: Map, classes: Sequence[str], *, shares: bool) -> dict[str, Any]:
    """The true area of each class in the cells with data, and that on the map: cells counted, and shares summed.

    A share is of a whole window, and so of more ground than its cell where windows overlap.

    Args:
        pixels: as in `Truth`.
        shares: whether the map's probabilities are shares.

    Returns:
        `classes`: class, `true_km2`, `counted_km2` and with shares `summed_km2`; and under `put_wrong`, for each way,
        half the sum of the absolute errors, relative to the whole area.
    """
    has_data = land_cover.labels != NOTHING
    cell_km2 = abs(land_cover.transform.determinant) / 1e6
    sizes = pixels[:, has_data].sum(0)
    parts = np.divide(pixels[:, has_data], sizes, out=np.zeros((len(classes), len(sizes))), where=sizes > 0)
    known = sizes > 0
    areas = {
        "true_km2": parts.sum(1),
        "counted_km2": np.bincount(land_cover.labels[has_data][known], minlength=len(classes)),
    }
    if shares:
        areas["summed_km2"] = land_cover.probabilities[:, has_data][:, known].sum(1, dtype=np.float64)
    total = max(int(known.sum()), 1)
    ways = [name for name in areas if name != "true_km2"]
    return {
        "classes": [
            {"class": name} | {way: float(of_class[label]) * cell_km2 for way, of_class in areas.items()}
            for label, name in enumerate(classes)
        ],
        "put_wrong": {
            way.removesuffix("_km2"): float(np.abs(areas[way] - areas["true_km2"]).sum()) / (2 * total) for way in ways
        },
    }


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

"""What a scene's classification (SCL), of Level 2A, says of its pixels: clouds, shadows and snow, which can be masked.

Source: Sentinel-2 Products Specification Document, Scene Classification.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from landcover.mapping import pixels
from landcover.mapping.layers import METRES, Layer

# The classes of each kind: cloud of medium and of high probability and thin cirrus; cloud shadow; snow or ice.
KINDS = {"clouds": (8, 9, 10), "shadows": (3,), "snow": (11,)}
NAME = re.compile(r"(?<![a-z0-9])SCL(?![a-z0-9])(_\d0m)?", re.IGNORECASE)  # in the name of a file, a band or an asset
ROWS = 2048  # counted at a time


class Mask(NamedTuple):
    """Kinds of pixels that count as nodata."""

    layer: Layer
    kinds: tuple[str, ...]
    shares: dict[str, float]  # of the scene's pixels, by kind

    def read(self, grid: dict[str, Any], row: int, rows: int) -> np.ndarray:
        """Which pixels of some rows are masked, bool (rows, width).

        Raises:
            InputError: the file is damaged, or its host fails.
        """
        values = [value for kind in self.kinds for value in KINDS[kind]]
        return np.isin(_read(self.layer, grid, row, rows), values)


def find(names: Iterable[str]) -> str | None:
    """The file of the classification among others: the finest, whose name says so."""
    found = [name for name in names if NAME.search(name.rpartition("/")[2].rpartition(".")[0])]
    return min(found, key=lambda name: (int(metres[1]) if (metres := METRES.search(name)) else 0, name), default=None)


def mask(layer: Layer, kinds: Collection[str], grid: dict[str, Any]) -> Mask:
    """The mask of some kinds, with the share that each has of a scene.

    Args:
        grid: of the scene: `crs`, `transform`, `width` and `height`.

    Raises:
        InputError: the file cannot be read.
    """
    counts, height = dict.fromkeys(kinds, 0), grid["height"]
    for row in range(0, height, ROWS):
        numbers = _read(layer, grid, row, min(ROWS, height - row))
        for kind in kinds:
            counts[kind] += int(np.isin(numbers, KINDS[kind]).sum())
    area = height * grid["width"]
    return Mask(layer, tuple(kinds), {kind: count / area for kind, count in counts.items()})


def _read(layer: Layer, grid: dict[str, Any], row: int, rows: int) -> np.ndarray:
    """Classes of some rows of a scene's grid, (rows, width); 0, no data, where the file has none."""

    def job(raster: DatasetReader) -> np.ndarray:
        with WarpedVRT(raster, **grid, resampling=Resampling.nearest, tolerance=pixels.WARP_TOLERANCE) as warped:
            return warped.read(layer.index, window=Window(0, row, grid["width"], rows))

    return pixels.reading(layer.path, job)

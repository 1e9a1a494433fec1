"""The pixels of a patch, from its tiles."""

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import rasterio.enums
from rasterio.io import DatasetReader

from landcover.constants import (
    BANDS,
    MAX_OFFSET,
    METRES_PER_PIXEL,
    NODATA,
    PATCH_SIZE,
    REFLECTANCE_SCALE,
)
from landcover.data import geotiff, grids, plain_tiff
from landcover.data.grids import Grid
from landcover.data.tiles import Tiles

AS_NUMBERS = f"reflectance x {REFLECTANCE_SCALE:,}"
RESAMPLING_REACH = {"nearest": 0, "bilinear": 1, "cubic": 2}  # coarse pixels to each side that are mixed in


class Patch(NamedTuple):
    """The pixels of a patch on the 10 m grid, with the first row in the north."""

    numbers: np.ndarray  # digital numbers, uint16 (C, H, W); NODATA where there is no valid pixel
    offset: int | None  # to subtract from the numbers, from the tiles' own tags; None if they have none
    centre: grids.Centre | None  # None if the tiles have no georeference


def _own_offset(tile: DatasetReader, band: str) -> int | None:
    """The offset of a tile's digital numbers by its scale and offset tags; None if it has no such tags.

    With the tags, reflectance = number * scale + offset. Here, numbers are reflectance in steps of 0.0001, so offset
    tags are applied in whole steps. Anything else is refused: a scale of 1 with an offset of -1000, for example, leaves
    the unit open, and numbers with a different scale would have to be rounded.

    Raises:
        ValueError: the tags have other values.
    """
    scale, offset = tile.scales[0], tile.offsets[0]
    if (scale, offset) == (1, 0):
        return None
    steps = -offset * REFLECTANCE_SCALE
    own = round(steps) if math.isfinite(steps) else -1
    if not (math.isclose(scale * REFLECTANCE_SCALE, 1, rel_tol=1e-6) and abs(steps - own) < 1e-3) or not (
        0 <= own <= MAX_OFFSET
    ):
        raise ValueError(
            f"{band} has scale {scale:g} and offset {offset:g}, which do not give reflectance in steps of "
            f"{1 / REFLECTANCE_SCALE:g}; write it as {AS_NUMBERS}, without such tags"
        )
    return own


def resampled_nodata(empty: np.ndarray, factor: int, resampling: str) -> np.ndarray:
    """Which of the pixels that were resampled from coarser ones are nodata: what was mixed with nodata is none.

    Args:
        empty: of the coarse pixels, bool (H, W).
        factor: how many fine pixels a side of a coarse one has.

    Returns:
        Of the fine pixels, (factor * H, factor * W).
    """
    if empty.any() and (reach := RESAMPLING_REACH[resampling]):
        import scipy.ndimage  # here: few datasets have such a tile, and each process would wait for it

        empty = scipy.ndimage.binary_dilation(empty, np.ones((3, 3)), iterations=reach)
    return empty.repeat(factor, 0).repeat(factor, 1)


def _read_with_gdal(
    content: bytes, pixels: np.ndarray, band: str, side: int, resampling: str
) -> tuple[Grid, int | None]:
    """Fill `pixels` (H, W) with a tile's; return its georeference and the offset from its tags."""
    with geotiff.opened(content, band, side, "uint16", f"write it as {AS_NUMBERS} in uint16") as (tile, grid):
        offset = _own_offset(tile, band)
        native = tile.read(1)
        empty = (native == NODATA) | (native == tile.nodata)
        if side == len(pixels):
            pixels[:] = native
        else:
            tile.read(1, out=pixels, resampling=rasterio.enums.Resampling[resampling])
            np.maximum(pixels, 1, out=pixels)  # cubic may undershoot to the number that means nodata
            empty = resampled_nodata(empty, len(pixels) // side, resampling)
        pixels[empty] = NODATA
        return grid, offset


def read_patch(
    tiles: Tiles, patch_id: str, bands: Collection[str], resampling: str = "bilinear", size: int = PATCH_SIZE
) -> Patch:
    """Read a patch's bands on the 10 m grid and check that they are aligned.

    Args:
        bands: names in BANDS; those at 20 m and 60 m are resampled.
        resampling: a name in RESAMPLING_REACH.
        size: side in pixels at 10 m.

    Returns:
        Its numbers (C, size, size), NODATA also where a tile's own nodata tag says so, and its offset, if it has one.

    Raises:
        ValueError: a tile is missing or invalid; says which and why.
    """
    numbers = np.empty((len(bands), size, size), np.uint16)
    places, offsets = {}, {}
    for pixels, band in zip(numbers, bands, strict=True):
        side = size * METRES_PER_PIXEL // BANDS[band]
        content = geotiff.read_bytes(tiles, patch_id, band)
        plain = plain_tiff.read(content, side) if side == size else None
        if plain is not None:
            pixels[:], places[band] = plain
            offsets[band] = None
        else:
            places[band], offsets[band] = _read_with_gdal(content, pixels, band, side, resampling)
        if not pixels.any():
            raise ValueError(f"{band} is all nodata")
    grids.check(places, size * METRES_PER_PIXEL)
    if len(set(offsets.values())) > 1:
        told = ", ".join(f"{band} {'none' if offset is None else offset}" for band, offset in offsets.items())
        raise ValueError(f"its bands' tags give different offsets ({told}); make them equal")
    if not all(grid.is_north_up() for grid in places.values()):  # then all of them are south up
        numbers = numbers[:, ::-1]
    (first, grid), *_ = places.items()
    return Patch(numbers, next(iter(offsets.values())), grid.centre(size * METRES_PER_PIXEL // BANDS[first]))


def without_offset(numbers: np.ndarray, offset: int) -> np.ndarray:
    """Digital numbers, uint16, minus the offset of their product.

    NODATA is kept, and no valid number becomes NODATA: numbers at or below the offset become 1, the darkest value, as
    in ESA's products without an offset.
    """
    if not offset:
        return numbers
    return np.where(numbers == NODATA, numbers, np.maximum(numbers, offset + 1) - np.uint16(offset))

"""The pixels of a patch, from its tiles."""

import functools
import math
import re
import warnings
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import rasterio.enums
import rasterio.errors
from rasterio.crs import CRS
from rasterio.io import DatasetReader, MemoryFile

from landcover.dataset import grids, plain_tiff
from landcover.dataset.grids import Grid
from landcover.dataset.tiles import Tiles
from landcover.ground.benge import (
    BANDS,
    MAX_OFFSET,
    MAX_TILE_BYTES,
    METRES_PER_PIXEL,
    NODATA,
    PATCH_SIZE,
    REFLECTANCE_SCALE,
)

RESAMPLING_REACH = {"nearest": 0, "bilinear": 1, "cubic": 2}  # coarse pixels to each side that are mixed in


class Patch(NamedTuple):
    """The pixels of a patch on the 10 m grid, with the first row in the north."""

    numbers: np.ndarray  # digital numbers, uint16 (C, H, W); NODATA where there is no valid pixel
    offset: int | None  # to subtract from the numbers, from the tiles' own tags; None if they have none


@functools.cache
def _crs_name(wkt: str) -> str:
    return CRS.from_wkt(wkt).to_string()  # takes a millisecond, as long as the rest of a tile


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
            f"{1 / REFLECTANCE_SCALE:g}; write it as reflectance x {REFLECTANCE_SCALE:,}, without such tags"
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
    # From memory, so that no other file is read; with a named driver, since a VRT could read other files or machines.
    # In MemoryFile's own folder, since threads of a Dask worker read tiles of the same name at the same time.
    with MemoryFile(content, filename=f"{band}.tif") as file, file.open(driver="GTiff") as tile:
        if tile.count != 1:
            raise ValueError(f"{band} has {tile.count} bands, not 1")
        if tile.shape != (side, side):
            raise ValueError(f"{band} is {tile.height} x {tile.width} pixels, not {side} x {side}")
        if tile.dtypes[0] != "uint16":
            raise ValueError(
                f"{band} is {tile.dtypes[0]}, not uint16; write it as reflectance x {REFLECTANCE_SCALE:,} in uint16"
            )
        if rasterio.enums.MaskFlags.per_dataset in tile.mask_flag_enums[0]:
            raise ValueError(f"{band} has a mask; mark nodata with {NODATA} instead")
        if 2 * math.prod(tile.block_shapes[0]) > MAX_TILE_BYTES:  # GDAL would load a whole block
            raise ValueError(f"{band} is stored in blocks of {tile.block_shapes[0]} pixels, too large for a tile")
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
        crs = _crs_name(tile.crs.to_wkt()) if tile.crs else ""
        return Grid(crs, tuple(tile.transform)[:6]), offset


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
        try:
            content = tiles.read(patch_id, band)
        except OSError as error:
            raise ValueError(f"{band} cannot be read ({error.strerror})") from None
        if content is None:
            raise ValueError(f"{band} is missing")
        if not content:
            raise ValueError(f"{band} is not a readable GeoTIFF (it is empty)")
        plain = plain_tiff.read(content, side) if side == size else None
        if plain is not None:
            pixels[:], places[band] = plain
            offsets[band] = None
        else:
            try:
                with warnings.catch_warnings():  # a patch may have no georeference
                    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                    places[band], offsets[band] = _read_with_gdal(content, pixels, band, side, resampling)
            except rasterio.errors.RasterioError as error:
                reason = re.sub("/vsimem/[^/]*/", "", " ".join(str(error.__cause__ or error).split()))
                raise ValueError(f"{band} is not a readable GeoTIFF ({reason})") from None
        if not pixels.any():
            raise ValueError(f"{band} is all nodata")
    grids.check(places, size * METRES_PER_PIXEL)
    if len(set(offsets.values())) > 1:
        told = ", ".join(f"{band} {'none' if offset is None else offset}" for band, offset in offsets.items())
        raise ValueError(f"its bands' tags give different offsets ({told}); make them equal")
    if not all(grid.is_north_up() for grid in places.values()):  # then all of them are south up
        numbers = numbers[:, ::-1]
    return Patch(numbers, next(iter(offsets.values())))


def without_offset(numbers: np.ndarray, offset: int) -> np.ndarray:
    """Digital numbers, uint16, minus the offset of their product.

    NODATA is kept, and no valid number becomes NODATA: numbers at or below the offset become 1, the darkest value, as
    in ESA's products without an offset.
    """
    if not offset:
        return numbers
    return np.where(numbers == NODATA, numbers, np.maximum(numbers, offset + 1) - np.uint16(offset))

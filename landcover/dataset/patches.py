"""The pixels of a patch, from its tiles."""

import math
import re
import warnings
from collections.abc import Collection

import numpy as np
import rasterio.enums
import rasterio.errors
from rasterio.io import MemoryFile

from landcover.dataset import plain_tiff
from landcover.dataset.tiles import Tiles
from landcover.ground.benge import BANDS, MAX_TILE_BYTES, NODATA, PATCH_METRES, PATCH_SIZE

RESAMPLING_REACH = {"nearest": 0, "bilinear": 1, "cubic": 2}  # coarse pixels that a resampled one may be mixed of


def _read_with_gdal(content: bytes, pixels: np.ndarray, band: str, side: int, resampling: str) -> None:
    # From memory, so that no other file is read; the driver by name, since a VRT could read others, or other machines.
    # In a folder that MemoryFile names: threads of a Dask worker read tiles of one name at the same time.
    with MemoryFile(content, filename=f"{band}.tif") as file, file.open(driver="GTiff") as tile:
        if tile.count != 1:
            raise ValueError(f"{band} has {tile.count} bands, not 1")
        if tile.shape != (side, side):
            raise ValueError(f"{band} is {tile.height} x {tile.width} pixels, not {side} x {side}")
        if tile.dtypes[0] != "uint16":
            raise ValueError(f"{band} is {tile.dtypes[0]}, not uint16")
        if rasterio.enums.MaskFlags.per_dataset in tile.mask_flag_enums[0]:
            raise ValueError(f"{band} has a mask; mark nodata by {NODATA} instead")
        if 2 * math.prod(tile.block_shapes[0]) > MAX_TILE_BYTES:  # GDAL would hold a whole one
            raise ValueError(f"{band} is stored in blocks of {tile.block_shapes[0]} pixels, too large for a tile")
        native = tile.read(1)
        empty = (native == NODATA) | (native == tile.nodata)
        if side == PATCH_SIZE:
            pixels[:] = native
        else:
            tile.read(1, out=pixels, resampling=rasterio.enums.Resampling[resampling])
            np.maximum(pixels, 1, out=pixels)  # cubic may undershoot to the number that means nodata
            if empty.any() and (reach := RESAMPLING_REACH[resampling]):
                import scipy.ndimage  # here: few datasets have such a tile, and each process would wait for it

                # What was mixed with nodata is none.
                empty = scipy.ndimage.binary_dilation(empty, np.ones((3, 3)), iterations=reach)
            factor = PATCH_SIZE // side
            empty = empty.repeat(factor, 0).repeat(factor, 1)
        pixels[empty] = NODATA


def read_patch(tiles: Tiles, patch_id: str, bands: Collection[str], resampling: str = "bilinear") -> np.ndarray:
    """Read a patch's bands on the 10 m grid.

    Args:
        bands: names in BANDS; those at 20 m and 60 m are resampled.
        resampling: a name in RESAMPLING_REACH.

    Returns:
        Digital numbers, uint16 (C, 120, 120); NODATA also where the tile's own nodata tag says so.

    Raises:
        ValueError: a tile is missing or is not what the dataset promises; says which and why.
    """
    patch = np.empty((len(bands), PATCH_SIZE, PATCH_SIZE), np.uint16)
    for pixels, band in zip(patch, bands, strict=True):
        side = PATCH_METRES // BANDS[band]
        try:
            content = tiles.read(patch_id, band)
        except OSError as error:
            raise ValueError(f"{band} cannot be read ({error.strerror})") from None
        if content is None:
            raise ValueError(f"{band} is missing")
        if not content:
            raise ValueError(f"{band} is not a readable GeoTIFF (it is empty)")
        plain = plain_tiff.read(content, side) if side == PATCH_SIZE else None
        if plain is not None:
            pixels[:] = plain
        else:
            try:
                with warnings.catch_warnings():  # no pixel depends on its place
                    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                    _read_with_gdal(content, pixels, band, side, resampling)
            except rasterio.errors.RasterioError as error:
                reason = re.sub("/vsimem/[^/]*/", "", " ".join(str(error.__cause__ or error).split()))
                raise ValueError(f"{band} is not a readable GeoTIFF ({reason})") from None
        if not pixels.any():
            raise ValueError(f"{band} is all nodata")
    return patch

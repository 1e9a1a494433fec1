"""Opening the GeoTIFF of a tile with GDAL, as untrusted input."""

import functools
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from landcover.constants import BANDS, MAX_TILE_BYTES, NODATA
from landcover.data import plain_tiff
from landcover.data.grids import Grid
from landcover.data.tiles import Tiles


@functools.cache
def _crs_name(wkt: str) -> str:
    return CRS.from_wkt(wkt).to_string()  # takes a millisecond, as long as the rest of a tile


def read_bytes(tiles: Tiles, patch_id: str, channel: str) -> bytes:
    """The content of a tile.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    try:
        content = tiles.read(patch_id, channel)
    except OSError as error:
        raise ValueError(f"{channel} cannot be read ({error.strerror})") from None
    if content is None:
        raise ValueError(f"{channel} is missing")
    if not content:
        raise ValueError(f"{channel} is not a readable GeoTIFF (it is empty)")
    return content


@contextmanager
def opened(content: bytes, channel: str, side: int, dtype: str, remedy: str) -> Iterator[tuple[DatasetReader, Grid]]:
    """A tile of one band of side x side pixels, and its georeference.

    Args:
        dtype: the type that its pixels must have.
        remedy: what to do about another type.

    Raises:
        ValueError: it is not such a tile, or damaged; says why.
    """
    try:
        # From memory, so that no other file is read; with a named driver, since a VRT could read other files or
        # machines. In MemoryFile's own folder, since threads of a Dask worker read tiles of the same name at the same
        # time.
        with warnings.catch_warnings(), MemoryFile(content, filename=f"{channel}.tif") as file:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a patch may have no georeference
            grid = plain_tiff.grid_of(content)
            with file.open(driver="GTiff", **({"GEOREF_SOURCES": "NONE"} if grid else {})) as tile:
                if tile.count != 1:
                    raise ValueError(f"{channel} has {tile.count} bands, not 1")
                if tile.shape != (side, side):
                    raise ValueError(f"{channel} is {tile.height} x {tile.width} pixels, not {side} x {side}")
                if tile.dtypes[0] != dtype:
                    raise ValueError(f"{channel} is {tile.dtypes[0]}, not {dtype}; {remedy}")
                if MaskFlags.per_dataset in tile.mask_flag_enums[0]:
                    # In the other channels, each number is a value.
                    mend = f"mark nodata with {NODATA} instead" if channel in BANDS else "leave out the patch"
                    raise ValueError(f"{channel} has a mask; {mend}")
                # GDAL would load a whole block.
                if np.dtype(dtype).itemsize * math.prod(tile.block_shapes[0]) > MAX_TILE_BYTES:
                    raise ValueError(
                        f"{channel} is stored in blocks of {tile.block_shapes[0]} pixels, too large for a tile"
                    )
                crs = _crs_name(tile.crs.to_wkt()) if tile.crs else ""
                yield tile, grid or Grid(crs, tuple(tile.transform)[:6])
    except RasterioError as error:
        reason = re.sub("/vsimem/[^/]*/", "", " ".join(str(error.__cause__ or error).split()))
        raise ValueError(f"{channel} is not a readable GeoTIFF ({reason})") from None

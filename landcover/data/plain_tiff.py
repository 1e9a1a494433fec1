"""The georeference of tiles on Sentinel-2's grids, and the pixels of those stored like BigEarthNet's, without GDAL.

GDAL takes a millisecond to open a tile, most of it for its coordinate system. tifffile tolerates damaged headers, so
every tag of a tile must be plain; GDAL reads or refuses all other tiles. A plain tile has no scale, offset, nodata
value or mask, and is north up in a UTM zone of WGS 84 or has no georeference.
"""

import functools
import io
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tifffile

from landcover.data.grids import Grid

STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES = 273, 278, 279
# Tags that define how pixels are stored, each a single number, and their values in a plain tile.
STORED = {
    258: 16,  # bits per sample
    259: 1,  # compression: none
    262: 1,  # photometric interpretation: 0 is black
    266: 1,  # fill order: highest bit first
    277: 1,  # samples per pixel
    284: 1,  # planar configuration
    339: 1,  # sample format: unsigned
}
OPTIONAL = {266, 339}  # with that value as their default
WIDTH, HEIGHT = 256, 257
PIXEL_SCALE, TIE_POINT, GEO_KEYS, GEO_TEXTS = GEOGRAPHY = (33550, 33922, 34735, 34737)
OTHER_GEOGRAPHY = {34264, 50844}  # a matrix, rational polynomials
UTM_CODE = 27  # index of the EPSG code in GEO_KEYS as GDAL writes them
LITTLE_ENDIAN = b"II*\0"
DAMAGED = (tifffile.TiffFileError, ValueError, TypeError, ArithmeticError, LookupError, struct.error)
NUMBERS, DOUBLE = (3, 4), 12  # TIFF's types: unsigned numbers of 16 and 32 bits, floating-point ones of 64


@functools.cache
def _utm(code: int) -> tuple[tuple[int, ...], str] | None:
    """The GEO_KEYS and GEO_TEXTS that GDAL writes for a UTM zone of WGS 84; None for other codes."""
    zone = code % 100
    if code // 100 not in (326, 327) or not 1 <= zone <= 60:
        return None
    name = f"WGS 84 / UTM zone {zone}{'N' if code // 100 == 326 else 'S'}|"
    keys = {
        1024: (0, 1, 1),  # projected
        1025: (0, 1, 1),  # a pixel is an area
        1026: (GEO_TEXTS, len(name), 0),
        2049: (GEO_TEXTS, 7, len(name)),
        2054: (0, 1, 9102),  # degrees
        3072: (0, 1, code),
        3076: (0, 1, 9001),  # metres
    }
    return (1, 1, 0, len(keys), *(number for key, entry in keys.items() for number in (key, *entry))), f"{name}WGS 84|"


def _grid(found: dict[int, tuple], dtypes: dict[int, int]) -> Grid | None:
    """The georeference from a tile's tags; None if they are not those that GDAL writes for Sentinel-2's grids."""
    if not any(code in found for code in GEOGRAPHY):
        return Grid()
    if {dtypes.get(PIXEL_SCALE), dtypes.get(TIE_POINT)} != {DOUBLE}:
        return None
    scale, tie, keys, texts = (found.get(code, ()) for code in GEOGRAPHY)
    crs = f"EPSG:{keys[UTM_CODE]}" if keys or texts else ""
    if crs and _utm(keys[UTM_CODE]) != (keys, texts):
        return None
    (across, down, height), (column, row, level, left, top, base) = scale, tie
    if not (across > 0 and down > 0) or any((height, column, row, level, base)):
        return None
    return Grid(crs, (across, 0.0, left, 0.0, -down, top))


def _plain_grid(tags: tifffile.TiffTags, side: int) -> Grid | None:
    """The georeference of a plain tile; None for other tiles."""
    wanted = STORED | {WIDTH: side, HEIGHT: side}
    found = {tag.code: tag.value for tag in tags}
    dtypes = {tag.code: tag.dtype for tag in tags}
    single = {tag.code for tag in tags if tag.dtype in NUMBERS and tag.count == 1}
    if found.keys() - wanted.keys() - {*GEOGRAPHY, STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES}:
        return None
    for code, value in wanted.items():
        if not (code in single and found[code] == value) and not (code in OPTIONAL and code not in found):
            return None
    rows = found[ROWS_PER_STRIP]
    if ROWS_PER_STRIP not in single or not 1 <= rows <= side:
        return None
    offsets, sizes = found[STRIP_OFFSETS], found[STRIP_BYTES]
    expected = tuple(2 * side * min(rows, side - row) for row in range(0, side, rows))
    following = tuple(offset + size for offset, size in zip(offsets, sizes, strict=True))
    numbers = dtypes[STRIP_OFFSETS] in NUMBERS and dtypes[STRIP_BYTES] in NUMBERS
    return _grid(found, dtypes) if numbers and sizes == expected and offsets[1:] == following[:-1] else None


def _read_tags(content: bytes, file: tifffile.TiffFile) -> tifffile.TiffTags | None:
    """The tags of a TIFF with a single page; None if tifffile skips one that it cannot read."""
    page = file.pages.first
    (entries,) = struct.unpack_from("<H", content, page.offset)
    return page.tags if len(file.pages) == 1 and len(page.tags) == entries else None


@contextmanager
def _opened(content: bytes) -> Iterator[tifffile.TiffFile]:
    # Its messages on damaged tiles would break the rule of one line; GDAL, which reads the tile next, raises instead.
    logging.getLogger("tifffile").disabled = True
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        yield file


def grid_of(content: bytes) -> Grid | None:
    """The georeference of a tile, however its pixels are stored; None if GDAL must find it.

    It is known if its tags are those that GDAL writes for a north-up grid in a UTM zone of WGS 84.
    """
    if content[:4] != LITTLE_ENDIAN:
        return None
    try:
        with _opened(content) as file:
            tags = _read_tags(content, file)
            found = {tag.code: tag.value for tag in tags or ()}
            if not found.keys() >= {*GEOGRAPHY} or found.keys() & OTHER_GEOGRAPHY:
                return None
            return _grid(found, {tag.code: tag.dtype for tag in tags})
    except DAMAGED:
        return None


def read(content: bytes, side: int) -> tuple[np.ndarray, Grid] | None:
    """The pixels of a plain tile, uint16 (side, side), and its georeference; None for other tiles.

    A plain tile is a TIFF with one page of little-endian uint16 in uncompressed strips, without further tags.
    """
    if content[:4] != LITTLE_ENDIAN:
        return None
    try:
        with _opened(content) as file:
            tags = _read_tags(content, file)
            grid = _plain_grid(tags, side) if tags else None
            return None if grid is None else (file.pages.first.asarray(), grid)
    except DAMAGED:
        return None

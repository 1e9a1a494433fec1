"""The pixels of tiles that are stored as BigEarthNet's are, without GDAL.

GDAL takes a millisecond to open a tile, for its coordinate system, which no pixel depends on. tifffile is lenient with
damaged headers, so a tile must be plain in every tag; whatever is not, GDAL reads or refuses.
"""

import io
import logging
import struct

import numpy as np
import tifffile

STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES = 273, 278, 279
# Tags that decide how pixels are stored, each one number, and what a plain tile has there.
STORED = {
    258: 16,  # bits per sample
    259: 1,  # compression: none
    262: 1,  # photometric interpretation: 0 is black
    266: 1,  # fill order: highest bit first
    277: 1,  # samples per pixel
    284: 1,  # planar configuration
    339: 1,  # sample format: unsigned
}
OPTIONAL = {266, 339}  # whose default is that
WIDTH, HEIGHT = 256, 257
GEOGRAPHY = {33550, 33922, 34735, 34736, 34737}  # pixel scale, tie point, coordinate system
NUMBERS = (3, 4)  # TIFF's types of unsigned numbers of 16 and 32 bits


def _is_plain(tags: tifffile.TiffTags, side: int) -> bool:
    wanted = STORED | {WIDTH: side, HEIGHT: side}
    found = {tag.code: (tag.dtype in NUMBERS and tag.count == 1, tag.value) for tag in tags}
    rows = tags.valueof(ROWS_PER_STRIP)
    if found.keys() - wanted.keys() - GEOGRAPHY - {STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES}:
        return False
    if any(found.get(code, (code in OPTIONAL, value)) != (True, value) for code, value in wanted.items()):
        return False
    if not found[ROWS_PER_STRIP][0] or not 1 <= rows <= side:
        return False
    strips = [tags[code] for code in (STRIP_OFFSETS, STRIP_BYTES)]
    offsets, sizes = (tag.value for tag in strips)
    expected = tuple(2 * side * min(rows, side - row) for row in range(0, side, rows))
    following = tuple(offset + size for offset, size in zip(offsets, sizes, strict=True))
    return all(tag.dtype in NUMBERS for tag in strips) and sizes == expected and offsets[1:] == following[:-1]


def read(content: bytes, side: int) -> np.ndarray | None:
    """The pixels of a TIFF of one page, (side, side) little-endian uint16 in uncompressed strips; None of any other."""
    if content[:4] != b"II*\0":
        return None
    # What it says of a damaged tile is not a stage's one line; GDAL, which reads it next, says it in an exception.
    logging.getLogger("tifffile").disabled = True
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page = file.pages.first
            (entries,) = struct.unpack_from("<H", content, page.offset)  # it passes over those that it cannot read
            plain = len(file.pages) == 1 and len(page.tags) == entries and _is_plain(page.tags, side)
            return page.asarray() if plain else None
    except (tifffile.TiffFileError, ValueError, TypeError, ArithmeticError, LookupError, struct.error):
        return None

"""The pixels of a TIFF that is as plain as BigEarthNet's tiles, without GDAL.

GDAL takes a millisecond to open a tile, for its coordinate system: more than all else that preprocess does with it.
benchmarks/README.md has what the stage takes without this module.
"""

import struct

import numpy as np

# TIFF tags that decide how pixels are stored, and the values that a plain tile has; each missing one has its default.
_WIDTH, _HEIGHT, _STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES, _NODATA_TAG = 256, 257, 273, 278, 279, 42113
_PLAIN = {
    258: 16,  # bits per sample
    259: 1,  # compression: none
    262: 1,  # photometric interpretation: 0 is black
    266: 1,  # fill order: highest bit first
    277: 1,  # samples per pixel
    284: 1,  # planar configuration
    339: 1,  # sample format: unsigned
}
_SHORT, _LONG = 3, 4
_DEFAULTS = {258: 1, 259: 1, 266: 1, 277: 1, 284: 1, 339: 1}
_TILED = range(322, 326)


def read(content: bytes, side: int) -> np.ndarray | None:
    """The pixels of a little-endian TIFF of uncompressed uint16 in strips, one after the other; None for any other.

    So are BigEarthNet's tiles stored. GDAL takes a millisecond to open one, for its coordinate system, which no
    pixel depends on: more than all else that preprocess does with it. It reads every tile that is not so plain.
    """
    try:
        magic, directory = struct.unpack_from("<4sI", content)
        if magic != b"II*\0":
            return None
        (count,) = struct.unpack_from("<H", content, directory)
        tags: dict[int, tuple[int, ...]] = {}
        for start in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from("<HHI", content, start)
            if tag == _NODATA_TAG or tag in _TILED or tag in tags:
                return None
            tags[tag] = ()
            if (kind == _SHORT or (kind == _LONG and tag not in _PLAIN)) and length <= side:  # a strip a row, at most
                size = length * (2 if kind == _SHORT else 4)
                place = start + 8 if size <= 4 else struct.unpack_from("<I", content, start + 8)[0]
                tags[tag] = struct.unpack_from(f"<{length}{'H' if kind == _SHORT else 'I'}", content, place)
        if struct.unpack_from("<I", content, directory + 2 + 12 * count) != (0,):
            return None  # another directory follows, perhaps of a mask
    except struct.error:
        return None
    stored = {tag: tags.get(tag, (_DEFAULTS.get(tag),)) for tag in _PLAIN}
    rows = tags.get(_ROWS_PER_STRIP) or (0,)
    if stored != {tag: (value,) for tag, value in _PLAIN.items()} or len(rows) > 1 or not 1 <= rows[0] <= side:
        return None
    if tags.get(_WIDTH) != (side,) or tags.get(_HEIGHT) != (side,):
        return None
    sizes = tuple(2 * side * min(rows[0], side - row) for row in range(0, side, rows[0]))
    offsets = tags.get(_STRIP_OFFSETS, ())
    following = tuple(offset + size for offset, size in zip(offsets, sizes, strict=False))
    if tags.get(_STRIP_BYTES) != sizes or len(offsets) != len(sizes) or following[:-1] != offsets[1:]:
        return None
    if following[-1] > len(content):
        return None
    return np.frombuffer(content, "<u2", side * side, offsets[0]).reshape(side, side)

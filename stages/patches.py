"""What is in an unpacked dataset: its tables, and the pixels of its patches."""

import csv
import math
import re
import struct
import warnings
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import rasterio
import rasterio.enums
import rasterio.errors
from rasterio.io import MemoryFile

from stages.benge import BANDS, CLASSES, MAX_TILE_BYTES, NODATA, PATCH_ID, PATCH_METRES, PATCH_SIZE
from stages.errors import InputError
from stages.tiles import Tiles

warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)  # no pixel depends on its place

RESAMPLING_REACH = {"nearest": 0, "bilinear": 1, "cubic": 2}  # coarse pixels that a resampled one may be mixed of
FRACTION_TOLERANCE = 0.01  # by which the fractions of a patch may exceed 1 together, having been rounded


# As numpy and spreadsheets write numbers; float() alone would also take blanks, 1_000, nan, infinity and other digits.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@lru_cache(1 << 16)  # most fractions occur many times
def _number(cell: str) -> float:
    return float(cell) if _NUMBER.fullmatch(cell) else math.nan


def _lines(file: TextIO) -> Iterator[str]:
    for line in file:
        if "\0" in line:  # a hole in a damaged file would join the halves of two rows
            raise csv.Error("a byte is zero")
        yield line


def _read_table(path: Path, columns: Collection[str]) -> pd.DataFrame:
    """The numbers of some columns by patch_id, float64, NaN where there is none; other columns are passed over."""
    if not path.exists():
        raise InputError(f"{path}: not found; the archive is not in the ben-ge layout")
    if not path.is_file():
        raise InputError(f"{path}: is not a file; put the CSV table there")
    ids, numbers, ragged = [], array("d"), []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(_lines(file), strict=True)
            header = next(rows, [])
            if not header:
                raise csv.Error("it has no header")
            if missing := [column for column in ("patch_id", *columns) if column not in header]:
                raise InputError(
                    f"{path}: has no column {', '.join(missing)} but {', '.join(map(repr, header))}; "
                    "separate columns by commas"
                )
            if repeated := [repr(name) for name, count in Counter(header).items() if count > 1]:
                raise InputError(f"{path}: columns stand more than once: {', '.join(repeated)}; keep one of each")
            patch_id, *places = map(header.index, ("patch_id", *columns))
            pick = itemgetter(*places)
            for row in rows:
                if len(row) == len(header):
                    ids.append(row[patch_id])
                    numbers.extend(map(_number, pick(row)))
                elif row:  # a blank line is none
                    ragged.append(f"{rows.line_num} ({len(row)})")
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a CSV table: {error}; fetch it anew") from None
    if ragged:
        raise InputError(
            f"{path}: lines that have not {len(header)} cells as the header has: {', '.join(ragged)}; mend them"
        )
    if not ids:
        raise InputError(f"{path}: has no rows; fetch it anew")
    if malformed := [repr(i) for i in ids if not PATCH_ID.fullmatch(i)]:
        raise InputError(f"{path}: not patch ids: {', '.join(malformed)}; expected <acquisition>_<h>_<v>")
    table = pd.DataFrame(np.reshape(numbers, (len(ids), -1)), pd.Index(ids, dtype=object), list(columns))
    if len(repeated := table.index[table.index.duplicated()].unique()):
        raise InputError(f"{path}: patch ids stand more than once: {', '.join(repeated)}; remove the repetitions")
    return table


def read_tables(root: Path) -> pd.DataFrame:
    """Join the labels to the meta table, by patch_id, in the meta table's row order.

    The label is the class with the largest fraction; of equal fractions the first in the order of CLASSES wins, as
    with the notebook's argmax.

    Returns:
        A row a patch: `patch_id`, `lon`, `lat`, `label` (0 ... 10, -1 where there is none), `majority_fraction`,
        `tied` (whether another class is as large), `problem` (why the patch cannot be used, or '').

    Raises:
        InputError: a table is missing, is not a table, lacks or repeats a column, has rows of another length than its
            header, or has malformed or repeated patch ids.
    """
    meta = _read_table(root / f"{root.name}_meta.csv", ["lon", "lat"])
    cover = _read_table(root / f"{root.name}_esaworldcover.csv", CLASSES)
    known = meta.index.isin(cover.index)
    fractions = cover.reindex(meta.index).to_numpy()  # (N, 11)

    numbers = np.isfinite(fractions).all(axis=1)
    filled = np.where(numbers[:, None], fractions, 0)
    largest = filled.max(axis=1)
    table = meta.rename_axis("patch_id").reset_index()
    table["label"] = filled.argmax(axis=1)
    table["majority_fraction"] = largest
    table["tied"] = (filled == largest[:, None]).sum(axis=1) > 1
    table["problem"] = np.select(
        [
            ~known,
            ~numbers,
            (filled < 0).any(axis=1) | (filled.sum(axis=1) > 1 + FRACTION_TOLERANCE),
            largest == 0,
            ~((table["lon"].abs() <= 180) & (table["lat"].abs() <= 90)),
        ],
        [
            "has no row in the WorldCover table",
            "a WorldCover fraction is not a number",
            "a WorldCover fraction is negative or they exceed 1 together",
            "all WorldCover fractions are zero",
            "its lon and lat in the meta table are no place on Earth",
        ],
        default="",
    )
    table.loc[table["problem"] != "", ["label", "tied"]] = -1, False
    return table


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


def _read_plain(content: bytes, side: int) -> np.ndarray | None:
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
                import scipy.ndimage  # here, since it takes longer to import than most patches' tiles need

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
        plain = _read_plain(content, side) if side == PATCH_SIZE else None
        if plain is not None:
            pixels[:] = plain
        else:
            try:
                _read_with_gdal(content, pixels, band, side, resampling)
            except rasterio.errors.RasterioError as error:
                reason = re.sub("/vsimem/[^/]*/", "", " ".join(str(error.__cause__ or error).split()))
                raise ValueError(f"{band} is not a readable GeoTIFF ({reason})") from None
        if not pixels.any():
            raise ValueError(f"{band} is all nodata")
    return patch

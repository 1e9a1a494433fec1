"""The ben-ge dataset: its facts, its tables, its patches.

Source: Mommert et al., "Ben-ge: Extending BigEarthNet with Geographical and Environmental Data", IGARSS 2023, and
the README of the HSG-AIML/ben-ge repository.
"""

import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import pydantic
import rasterio
import rasterio.enums
import rasterio.errors
import scipy.ndimage

from stages.cli import InputError


def _distinct(bands: list[str]) -> list[str]:
    if len(set(bands)) < len(bands):
        raise ValueError("name each band once")
    return bands


# Sentinel-2 L2A bands and their ground sampling distance in metres.
BANDS = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20,
    "B07": 20, "B08": 10, "B8A": 20, "B09": 60, "B11": 20, "B12": 20,
}  # fmt: skip
# A choice of bands, as a parameter: names in BANDS, none twice.
Bands = Annotated[
    list[Literal[tuple(BANDS)]],
    pydantic.Field(min_length=1),
    pydantic.AfterValidator(_distinct),
]
PATCH_METRES = 1200
PATCH_SIZE = 120  # pixels a side, at 10 m
REFLECTANCE_SCALE = 10_000  # DN of a reflectance of 1; no offset before processing baseline 04.00
NODATA = 0
RESAMPLING_REACH = {"nearest": 0, "bilinear": 1, "cubic": 2}  # coarse pixels that a resampled one may be mixed of

# The columns of the WorldCover table, in its order, which is the order of the labels 0 ... 10.
CLASSES = (
    "tree_cover",
    "shrubland",
    "grassland",
    "cropland",
    "built-up",
    "bare/sparse_vegetation",
    "snow_and_ice",
    "permanent_water_bodies",
    "herbaceous_wetland",
    "mangroves",
    "moss_and_lichen",
)
# ESA WorldCover's own code of each class, as in the esaworldcover/ maps.
WORLDCOVER_CODES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)

# <acquisition>_<column>_<row>: one acquisition of one tile, and the patch's place in it, in patches of 1.2 km.
PATCH_ID = re.compile(r"(?P<acquisition>S2[A-Z]_MSIL\w+?)_(?P<column>\d+)_(?P<row>\d+)", re.ASCII)
FRACTION_TOLERANCE = 0.01  # by which the fractions of a patch may exceed 1 together, having been rounded


def patch_member(name: str, bands: Collection[str]) -> bool:
    """Whether an archive's member is one that the pipeline reads: a table, a split file, a tile of a chosen band."""
    parts = PurePosixPath(name).parts
    match parts:
        case (_, file) | (_, "splits", file):
            return file.endswith(".csv")
        case (_, "sentinel-2", patch_id, file):
            return any(file == f"{patch_id}_{band}.tif" for band in bands)
    return False


def find_root(directory: Path) -> Path:
    """The dataset's root folder below `directory`: the one whose <name>_meta.csv is in it.

    Raises:
        InputError: there is none, or more than one.
    """
    roots = [
        table.parent
        for table in sorted(directory.glob("*/*_meta.csv"))
        if table.name == f"{table.parent.name}_meta.csv"
    ]
    if len(roots) != 1:
        found = (
            ", ".join(root.name for root in roots)
            or ", ".join(sorted(p.name for p in directory.glob("*")))
            or "nothing"
        )
        raise InputError(
            f"{directory}: needs one folder <name> with <name>_meta.csv in it, found {found}; check the source"
        )
    return roots[0]


def _read_table(path: Path, columns: Collection[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, encoding="utf-8-sig", dtype={"patch_id": str}, keep_default_na=True)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; the archive is not in the ben-ge layout") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a CSV table: {' '.join(str(error).split())}; fetch it anew") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        has = ", ".join(map(str, table.columns))
        raise InputError(f"{path}: has no column {', '.join(missing)} but {has}; separate columns by commas")
    malformed = [str(i) for i in table["patch_id"] if not PATCH_ID.fullmatch(str(i))]
    if malformed:
        raise InputError(f"{path}: not patch ids: {', '.join(map(repr, malformed))}; expected <acquisition>_<h>_<v>")
    repeated = table["patch_id"][table["patch_id"].duplicated()].unique()
    if len(repeated):
        raise InputError(f"{path}: patch ids stand more than once: {', '.join(repeated)}; remove the repetitions")
    return table


def read_tables(root: Path) -> pd.DataFrame:
    """Join the labels to the meta table, by patch_id, in the meta table's row order.

    The label is the class with the largest fraction; of equal fractions the first in the order of CLASSES wins, as
    with the notebook's argmax.

    Returns:
        A row a patch: `patch_id`, `lon`, `lat`, `label` (0 ... 10, -1 where there is none), `majority_fraction`,
        `tied` (whether another class is as large), `problem` (why there is no label, or '').

    Raises:
        InputError: a table is missing, is not a table, lacks a column, or has malformed or repeated patch ids.
    """
    meta = _read_table(root / f"{root.name}_meta.csv", ["patch_id", "lon", "lat"])
    cover = _read_table(root / f"{root.name}_esaworldcover.csv", ["patch_id", *CLASSES]).set_index("patch_id")
    known = meta["patch_id"].isin(cover.index).to_numpy()
    cover = cover.reindex(meta["patch_id"])[list(CLASSES)].apply(pd.to_numeric, errors="coerce")
    fractions = cover.to_numpy(np.float64)  # (N, 11)

    numbers = np.isfinite(fractions).all(axis=1)
    filled = np.where(numbers[:, None], fractions, 0)
    largest = filled.max(axis=1)
    table = meta[["patch_id", "lon", "lat"]].copy()
    table["label"] = filled.argmax(axis=1)
    table["majority_fraction"] = largest
    table["tied"] = (filled == largest[:, None]).sum(axis=1) > 1
    table["problem"] = np.select(
        [
            ~known,
            ~numbers,
            (filled < 0).any(axis=1) | (filled.sum(axis=1) > 1 + FRACTION_TOLERANCE),
            largest == 0,
        ],
        [
            "has no row in the WorldCover table",
            "a WorldCover fraction is not a number",
            "a WorldCover fraction is negative or they exceed 1 together",
            "all WorldCover fractions are zero",
        ],
        default="",
    )
    table.loc[table["problem"] != "", ["label", "tied"]] = -1, False
    return table


def read_patch(root: Path, patch_id: str, bands: Collection[str], resampling: str = "bilinear") -> np.ndarray:
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
        path = root / "sentinel-2" / patch_id / f"{patch_id}_{band}.tif"
        side = PATCH_METRES // BANDS[band]
        if not path.is_file():
            raise ValueError(f"{band} is missing")
        try:
            # The driver by name: a VRT under a tile's name could read other files, or other machines.
            with rasterio.open(path, driver="GTiff", sharing=False) as tile:
                if tile.count != 1:
                    raise ValueError(f"{band} has {tile.count} bands, not 1")
                if tile.shape != (side, side):
                    raise ValueError(f"{band} is {tile.height} x {tile.width} pixels, not {side} x {side}")
                if tile.dtypes[0] != "uint16":
                    raise ValueError(f"{band} is {tile.dtypes[0]}, not uint16")
                native = tile.read(1)
                empty = (native == NODATA) | (native == tile.nodata)
                if side == PATCH_SIZE:
                    pixels[:] = native
                else:
                    tile.read(1, out=pixels, resampling=rasterio.enums.Resampling[resampling])
                    np.maximum(pixels, 1, out=pixels)  # cubic may undershoot to the number that means nodata
                    if empty.any() and (reach := RESAMPLING_REACH[resampling]):
                        # What was mixed with nodata is none.
                        empty = scipy.ndimage.binary_dilation(empty, np.ones((3, 3)), iterations=reach)
                    factor = PATCH_SIZE // side
                    empty = empty.repeat(factor, 0).repeat(factor, 1)
                pixels[empty] = NODATA
        except rasterio.errors.RasterioError as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise ValueError(f"{band} is not a readable GeoTIFF ({reason})") from None
        if not pixels.any():
            raise ValueError(f"{band} is all nodata")
    return patch

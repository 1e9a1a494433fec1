"""The ben-ge dataset: its facts and its layout.

Source: Mommert et al., "Ben-ge: Extending BigEarthNet with Geographical and Environmental Data", IGARSS 2023, and
the README of the HSG-AIML/ben-ge repository.
"""

import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import pydantic

from landcover.errors import InputError, few


def _distinct(bands: list[str]) -> list[str]:
    if len(set(bands)) < len(bands):
        raise ValueError("list each band once")
    return bands


# Sentinel-2 L2A bands and their ground sampling distance in metres.
BANDS = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20,
    "B07": 20, "B08": 10, "B8A": 20, "B09": 60, "B11": 20, "B12": 20,
}  # fmt: skip
# A selection of bands as a parameter: distinct names from BANDS.
Bands = Annotated[
    list[Literal[tuple(BANDS)]],
    pydantic.Field(min_length=1),
    pydantic.AfterValidator(_distinct),
]
METRES_PER_PIXEL = 10  # of the finest bands; the others are resampled to it
PATCH_SIZE = 120  # side in pixels at 10 m; other datasets may have other sizes
PATCH_METRES = PATCH_SIZE * METRES_PER_PIXEL
REFLECTANCE_SCALE = 10_000  # digital number of a reflectance of 1, without the offset of newer products
MAX_OFFSET = 10_000
NODATA = 0  # in tiles of Sentinel-2 and in tensors; no valid pixel has it
SPLITS = ("train", "val", "test")
# A split by place, where the dataset's entry does not say. Here, since dvc.yaml does not track the schema's code.
GROUPS, BLOCK_KM, BUFFER_KM, EVERY_CLASS = "block", 50, 3, False
SAMPLES = ("sample", "sample-spectral")  # the sources that this project generates
RADAR_BANDS = ("VV", "VH")  # polarizations of Sentinel-1: backscatter in dB, on the 10 m grid
TILES_FOLDER, RADAR_FOLDER, ELEVATION_FOLDER = TILES_FOLDERS = ("sentinel-2", "sentinel-1", "dem")
MAX_TILE_BYTES = 1 << 24  # hundreds of times the size of the dataset's tiles

# The columns of the WorldCover table in its order, which is the order of the labels 0 ... 10.
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

# <acquisition>_<column>_<row>. It does not identify a place: one acquisition's prefix covers several tiles, in each of
# which columns and rows count from 0, and one tile's patches have several prefixes. Bounded, since it becomes a file
# name.
PATCH_ID = re.compile(r"(?P<acquisition>S2[A-Z]_MSIL\w{1,150}?)_(?P<column>\d{1,3})_(?P<row>\d{1,3})", re.ASCII)
DATE = r"_(\d{8})T\d+_"  # in a patch id: the day of the acquisition
BASELINE = r"_N(\d{4})_"  # in BigEarthNet v2's ids: the processing baseline, 0509 for 05.09
TILE = r"_(\d{2}[A-Z]{3})_\d{1,3}_\d{1,3}$"  # in patch_id_s1: the MGRS tile of the Sentinel-2 patch
RADAR_ID = re.compile(r"S1[A-Z]_\w{1,150}_\d{1,3}_\d{1,3}", re.ASCII)  # patch_id_s1: ends like the patch's own id


def readable(name: str) -> str:
    """A class name for people: 'bare/sparse_vegetation' as 'bare/sparse vegetation'."""
    return name.replace("_", " ")


def tile_path(patch_id: str, channel: str) -> str:
    """Where the tile of an image channel lies below the dataset's root folder.

    Args:
        patch_id: for radar, the patch's patch_id_s1.
        channel: a name in BANDS or RADAR_BANDS, or "elevation".
    """
    if channel == "elevation":
        return f"{ELEVATION_FOLDER}/{patch_id}_dem.tif"
    folder = RADAR_FOLDER if channel in RADAR_BANDS else TILES_FOLDER
    return f"{folder}/{patch_id}/{patch_id}_{channel}.tif"


def patch_member(path: PurePosixPath, channels: Collection[str]) -> bool:
    """Whether the pipeline reads this member of an archive: a table, a split file, or a tile of a chosen channel."""
    match path.parts:
        case (_, file) | (_, "splits", file) if file.endswith(".csv"):
            return True
        case (_, folder, file):
            patch_id, rest = file.removesuffix("_dem.tif"), f"{folder}/{file}"
        case (_, folder, patch_id, file):
            rest = f"{folder}/{patch_id}/{file}"
        case _:
            return False
    return any(rest == tile_path(patch_id, channel) for channel in channels)


def find_root(directory: Path, source: Path | None = None) -> Path:
    """The dataset's root folder below `directory`: the one whose <name>_meta.csv is in it.

    Args:
        source: what to name in an error instead of the directory.

    Raises:
        InputError: there is none, or more than one.
    """
    roots = [
        table.parent
        for table in sorted(directory.glob("*/*_meta.csv"))
        if table.name == f"{table.parent.name}_meta.csv"
    ]
    if len(roots) != 1:
        found = few([root.name for root in roots] or sorted(path.name for path in directory.glob("*"))) or "nothing"
        raise InputError(
            f"{source or directory}: needs one folder <name> that contains <name>_meta.csv, found {found}; "
            "check the source"
        )
    return roots[0]

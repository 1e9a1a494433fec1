"""The layout of ben-ge: three tables, and a folder of single-band GeoTIFFs a patch.

Source: Mommert et al., "Ben-ge: Extending BigEarthNet with Geographical and Environmental Data", IGARSS 2023, and
the README of the HSG-AIML/ben-ge repository.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from landcover.config import Dataset
from landcover.constants import BANDS, CLASSES, DATE, METRES_PER_PIXEL, PATCH_SIZE, RADAR_BANDS, SPLITS, SURFACE
from landcover.data import offsets
from landcover.data.layout import Patches
from landcover.data.raster import Channel
from landcover.data.tables import add_labels, add_problem, check_positions, read_list, read_table
from landcover.errors import InputError, few
from landcover.modalities import CONTEXT, QUANTITIES, SENTINEL_2, modality

# In ben-ge, <acquisition>_<column>_<row>. It does not identify a place: one acquisition's prefix covers several tiles,
# in each of which columns and rows count from 0, and one tile's patches have several prefixes. In other datasets, any
# name of a file.
FILE_NAME = re.compile(r"(?!\.)[\w.+-]{1,200}")  # of a patch id
RADAR_ID = re.compile(r"S1[A-Z]_\w{1,150}_\d{1,3}_\d{1,3}", re.ASCII)  # patch_id_s1: ends like the patch's own id
TILE = r"_(\d{2}[A-Z]{3})_\d{1,3}_\d{1,3}$"  # in patch_id_s1: the MGRS tile of the Sentinel-2 patch
FOLDERS = {SENTINEL_2: "sentinel-2", "sentinel-1": "sentinel-1", "elevation": "dem"}  # of image modalities
DTYPES = dict.fromkeys(BANDS, "uint16") | dict.fromkeys(RADAR_BANDS, "float32") | {"elevation": "int16"}
# The columns of the meta table, and of the weather table at the time of the Sentinel-2 image.
META = {"climate_zone": "climatezone", "season": "season_s2"}  # by modality
WEATHER = {
    "temperature": "temperature_s2",
    "relative_humidity": "relhumidity_s2",
    "wind_u": "wind-u_s2",
    "wind_v": "wind-v_s2",
    "pressure": "atmpressure_level",
}
# Possible names of a split's list: the archives' README says `validation`, the dataset's repository `val`.
LISTS = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}


def tile_path(patch_id: str, channel: str) -> str:
    """Where the tile of an image channel lies below the dataset's root folder.

    Args:
        patch_id: for radar, the patch's patch_id_s1.
        channel: a name in BANDS or RADAR_BANDS, or "elevation".
    """
    folder = FOLDERS[modality(channel)]
    if channel == "elevation":
        return f"{folder}/{patch_id}_dem.tif"
    return f"{folder}/{patch_id}/{patch_id}_{channel}.tif"


def needed(path: PurePosixPath, channels: Collection[str]) -> bool:
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


def _roots(folder: Path) -> list[Path]:
    tables = [*folder.glob("*_meta.csv"), *sorted(folder.glob("*/*_meta.csv"))]
    return [table.parent for table in tables if table.name == f"{table.parent.name}_meta.csv"]


def find_root(folder: Path) -> Path:
    """The dataset's root folder, which contains <name>_meta.csv of its own name: this one, or one in it.

    Raises:
        InputError: there is none, or more than one.
    """
    roots = _roots(folder)
    if len(roots) != 1:
        names = few([root.name for root in roots] or sorted(path.name for path in folder.glob("*"))) or "nothing"
        raise InputError(
            f"{folder}: needs one folder <name> that contains <name>_meta.csv, found {names}; check the source"
        )
    return roots[0]


def _table(path: Path, columns: Collection[str], **more: Any) -> pd.DataFrame:
    table = read_table(path, columns, **more)
    if malformed := [repr(patch_id) for patch_id in table.index if not FILE_NAME.fullmatch(patch_id)]:
        raise InputError(
            f"{path}: invalid patch ids: {few(malformed)}; they name files, so use letters, digits and any of _ - . +"
        )
    return table


def _available(root: Path, meta_path: Path) -> set[str]:
    """The modalities that a dataset has, at least for some patches."""
    with open(meta_path, encoding="utf-8", errors="replace") as file:
        header = file.readline()
    images = {name for name, folder in FOLDERS.items() if (root / folder).is_dir()}
    facts = {name for name, column in META.items() if column in header}
    return images | facts | ({"weather"} if (root / f"{root.name}_era-5.csv").is_file() else set())


def matches(folder: Path) -> bool:
    """Whether a folder contains a meta table."""
    return bool(_roots(folder))


def read_patches(
    folder: Path, channels: Sequence[str], features: Sequence[str], entry: Dataset | None = None
) -> Patches:
    """The patches in the meta table, with all that is joined to them by their ids; see `Layout.read_patches`."""
    root = find_root(folder.resolve())
    path = root / f"{root.name}_meta.csv"
    classes, size, shares = [], PATCH_SIZE, None
    if entry is None:
        available = _available(root, path)
        channels, features = ([name for name in names if modality(name) in available] for names in (channels, features))
    else:
        classes, size = entry.classes or [*CLASSES], entry.patch_size or PATCH_SIZE
        _check_bands(channels, size, entry)
    facts = [column for name, column in META.items() if set(CONTEXT[name]) & set(features)]
    positions = ["lon", "lat"] if entry else []
    meta = _table(path, facts, optional=positions, texts=["patch_id_s1", "processing_baseline"])
    table = meta.rename_axis("patch_id").reset_index()
    table["problem"] = table["warning"] = ""
    table["offset"] = offsets.by_product(table["patch_id"], table.pop("processing_baseline"))
    if entry:
        name = "WorldCover" if tuple(classes) == CLASSES else "label"
        absent = "add them, or list the columns that are classes in `classes` of the dataset's entry"
        cover = _table(root / f"{root.name}_esaworldcover.csv", classes, absent=absent)
        add_problem(table, meta.index.isin(cover.index), f"has no row in the {name} table")
        shares = cover.reindex(meta.index).to_numpy()
        add_labels(table, shares, name)
        check_positions(table, "the meta table")
        table.loc[table["problem"] != "", ["label", "tied"]] = -1, False
        table["date"] = table["patch_id"].str.extract(DATE, expand=False).fillna("")
        table["tile"] = table["patch_id_s1"].str.extract(TILE, expand=False).fillna("")
    if entry and entry.split.method == "files":
        table["split"] = _own_split(root, table["patch_id"])
    _join_files(table, channels)
    _join_features(table, root, features)
    scale = entry.scale if entry else None
    stored = [Channel(name, DTYPES[name], BANDS.get(name, 10), scale=scale) for name in channels]
    level = (entry.level if entry else None) or SURFACE  # as BigEarthNet is
    return Patches(root.name, root, stored, list(features), table, classes, size, level=level, shares=shares)


def _check_bands(channels: Collection[str], patch_size: int, entry: Dataset) -> None:
    if isinstance(entry.bands, dict):
        raise InputError("bands of the dataset's entry: in ben-ge's layout a file has one band; list the names only")
    metres = patch_size * METRES_PER_PIXEL
    if coarse := [name for name in channels if metres % BANDS.get(name, METRES_PER_PIXEL)]:
        raise InputError(
            f"bands: patches of {metres} m (patch_size = {patch_size}) do not hold a whole number of pixels of "
            f"{', '.join(coarse)}; leave it out"
        )


def _join_files(table: pd.DataFrame, channels: Collection[str]) -> None:
    """Add the file of each channel, and what the ids of radar images say."""
    if set(channels) & set(RADAR_BANDS):
        add_problem(
            table, table["patch_id_s1"].str.fullmatch(RADAR_ID), "its patch_id_s1 in the meta table is not a patch id"
        )
        optical, radar = (
            pd.to_datetime(table[name].str.extract(DATE, expand=False), format="%Y%m%d", errors="coerce")
            for name in ("patch_id", "patch_id_s1")
        )
        table["days_apart"] = (radar - optical).dt.days
        ends = [table[name].str.extract(r"_(\d+_\d+)$", expand=False) for name in ("patch_id", "patch_id_s1")]
        why = "patch_id_s1 ends with another column or row than patch_id; check the meta table"
        table["warning"] = np.where(ends[0] != ends[1], why, "")
    for channel in channels:
        ids = table["patch_id_s1" if channel in RADAR_BANDS else "patch_id"]
        table[channel] = [tile_path(patch_id, channel) for patch_id in ids]
    del table["patch_id_s1"]


def _join_features(table: pd.DataFrame, root: Path, features: Sequence[str]) -> None:
    """Add the context features, and problems of those that are missing or implausible."""
    if zones := [name for name in features if modality(name) == "climate_zone"]:
        zone = table.pop("climatezone")
        known = zone.isin(range(len(zones) + 1))
        add_problem(table, known, f"its climatezone in the meta table is not one of 0 to {len(zones)}")
        one_hot = np.eye(len(zones) + 1)[zone.where(known, 0).astype(int)]  # zone 0 has no feature
        table[zones] = one_hot[:, 1:]
    if "season" in features:
        table["season"] = table.pop("season_s2")
        add_problem(table, table["season"].between(0, 1), "its season_s2 in the meta table is not from 0 to 1")
    if set(features) & set(CONTEXT["weather"]):
        weather = _table(root / f"{root.name}_era-5.csv", list(WEATHER.values())).reindex(table["patch_id"])
        for name, column in WEATHER.items():
            unit, low, high = QUANTITIES[name]
            table[name] = weather[column].to_numpy()
            plausible = table[name].between(low, high)
            add_problem(table, plausible, f"its {column} in the weather table is not {low:g} to {high:g} {unit}")


def _read_lists(root: Path, split: str) -> tuple[Path, list[str]]:
    """The list of a split, under any of its possible names and folders.

    Raises:
        InputError: there is none, or several that differ.
    """
    names = [f"{root.name}_{word}.csv" for word in LISTS[split]]
    paths = [path for name in names for path in (root / "splits" / name, root / name) if path.is_file()]
    if not paths:
        raise InputError(f"{root.name} has no {' or '.join(names)}; split with another method")
    lists = [read_list(path) for path in paths]
    for path, other in zip(paths[1:], lists[1:], strict=True):
        if set(other) != set(lists[0]):
            raise InputError(f"{paths[0]} and {path} list different patches; keep the correct one")
    return paths[0], lists[0]


def _own_split(root: Path, patch_ids: pd.Series) -> np.ndarray:
    """The split of each patch by the dataset's own lists, object (N,), '' for none.

    Raises:
        InputError: names everything that is wrong with them.
    """
    assigned = pd.Series("", index=patch_ids, dtype=object)
    faults = []
    for split in SPLITS:
        try:
            path, listed = _read_lists(root, split)
        except InputError as error:
            faults.append(str(error))
            continue
        ids = pd.Index(listed, dtype=object)
        known = ids[ids.isin(assigned.index)]
        taken = known[(assigned[known] != "").to_numpy() | known.duplicated()].unique()
        if len(ids) == 0:
            faults.append(f"{path}: lists no patches; download it again")
        if len(unknown := ids.difference(known)):
            faults.append(f"{path}: not in the meta table: {few([*map(repr, unknown)])}; check the split file")
        if len(taken):
            faults.append(f"{path}: patch ids listed more than once: {few(taken)}; keep one of each")
        assigned[known] = split
    if faults:
        raise InputError(f"split by files: {'; '.join(faults)}")
    return assigned.to_numpy()

"""The layout of a table beside its images: a row for each image.

<root>/<any>.csv or .parquet, with the columns
    path: of the image, relative to the table;
    class: its name; or else, for each class, a column with its share of the patch, 0 to 1;
    patch_id, lon and lat (degrees), date, split (train, val, test): optional.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from landcover.config import NO_NAMES, Dataset
from landcover.constants import SPLITS
from landcover.data import images
from landcover.data.layout import Patches
from landcover.data.tables import (
    NUMBER,
    SHARE_TOLERANCE,
    add_labels,
    add_problem,
    check_columns,
    meant,
    read_cells,
    to_numbers,
)
from landcover.errors import InputError, few

TABLES = (".csv", ".parquet")
POSITION, TEXTS = ("lon", "lat"), ("class", "patch_id", "date", "split")
BIGEARTHNET = {"patch_id", "labels"}  # columns of its metadata.parquet
WORDS = {"validation": "val", "valid": "val", "training": "train"}  # other names of splits
DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(T.*| .*)?")
# Ids that CSV readers give back as they are, though they look like numbers.
WHOLE = re.compile(r"0|[1-9]\d{0,17}", re.ASCII)


def needed(path: PurePosixPath, channels: Collection[str]) -> bool:
    """Whether the pipeline reads this member of an archive: a table or an image."""
    return images.is_image(path) or (path.suffix.lower() in TABLES and images.is_visible(path))


def _columns(path: Path) -> set[str]:
    """The names in a table's header, in lower case; none if it is damaged."""
    try:
        if path.suffix.lower() == ".parquet":
            return {name.casefold() for name in pyarrow.parquet.read_schema(path).names}
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return {name.strip().strip('"').casefold() for name in file.readline().split(",")}
    except (pyarrow.ArrowException, OSError):
        return set()


def _tables(folder: Path) -> list[Path]:
    paths = [folder / path for path in images.list_files(folder) if path.suffix.lower() in TABLES]
    return [path for path in paths if "path" in (names := _columns(path)) or names >= BIGEARTHNET]


def matches(folder: Path) -> bool:
    """Whether a folder contains a table of paths, or BigEarthNet's, for which there is advice."""
    return bool(_tables(folder))


def _find_table(folder: Path) -> Path:
    tables = _tables(folder)
    if len(tables) != 1:
        names = few([str(path.relative_to(folder)) for path in tables]) or "none"
        raise InputError(f"{folder}: needs one table with a column path, has {names}; leave one in the source")
    return tables[0]


def _check_paths(table: pd.DataFrame, path: Path) -> None:
    """Refuse paths that leave the table's folder, and those listed twice."""
    wrong = [one for one in table["path"] if not one or one.startswith("/") or "\\" in one or ".." in one.split("/")]
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} paths are empty, absolute, or leave the folder of the table, for example "
            f"{wrong[0]!r}; give them relative to the table, with /"
        )
    for column in ("path", "patch_id"):
        if column in table and (twice := [one for one, count in Counter(table[column]).items() if count > 1]):
            raise InputError(f"{path}: {len(twice)} of {column} occur more than once, for example {twice[0]}; keep one")


def _ids(table: pd.DataFrame, path: Path) -> list[str]:
    """The id of each patch: the column patch_id, or else the path without its ending."""

    def bad(names: Sequence[str]) -> list[str]:
        # What a reader of CSV would take for a number, and write in another way.
        numeric = (name for name in names if NUMBER.fullmatch(name) and not WHOLE.fullmatch(name))
        return [*numeric, *(name for name in names if not name.isprintable() or name.casefold() in {"", *NO_NAMES})]

    if "patch_id" in table:
        if wrong := bad(table["patch_id"]):
            raise InputError(f"{path}: {len(wrong)} patch ids read as numbers or as empty: {wrong[0]!r}; add a letter")
        return table["patch_id"].tolist()
    paths = table["path"].tolist()
    names = [PurePosixPath(one).with_suffix("").as_posix() for one in paths]
    return paths if bad(names) or len(set(names)) < len(names) else names


def _shares(cells: pd.DataFrame, entry: Dataset, path: Path) -> tuple[list[str], np.ndarray]:
    """The classes, and the share of each in each patch (N, K), NaN where there is no number."""
    if "class" in cells:
        occurring = cells.loc[cells["class"] != "", "class"]
        classes = images.choose_classes(occurring, entry, f"the classes in {path}")
        labels = pd.Index(classes).get_indexer(cells["class"])
        shares = np.eye(len(classes) + 1)[labels][:, : len(classes)]  # of other labels, -1, all are 0
        return classes, np.where(labels[:, None] < 0, np.nan, shares)
    columns = [name for name in cells if name not in ("path", *POSITION, *TEXTS)]
    if entry.classes is None and not columns:
        raise InputError(f"{path}: has no column class, nor a column for each class with its share; add one of them")
    classes = images.choose_classes(columns, entry, f"the columns of {path}")
    classes = classes if entry.classes else columns
    numbers = to_numbers(cells[classes])
    if texts := [name for name in classes if numbers[name].isna().all()]:
        raise InputError(
            f"{path}: columns without a number: {few(texts)}; every column besides path, {', '.join(POSITION + TEXTS)} "
            "is taken for the share of a class: remove these, or list the others as classes in the dataset's entry"
        )
    shares = numbers.to_numpy()
    sums = shares.sum(axis=1)
    if (percent := np.abs(sums - 100) < 100 * SHARE_TOLERANCE).sum() > len(sums) / 2:
        example = cells["path"][percent].iloc[0]
        raise InputError(
            f"{path}: the shares of {percent.sum()} of {len(sums)} patches, for example {example}, add up to 100, like "
            "percent, not to 1; divide them by 100"
        )
    return classes, shares


def _dates(cells: pd.Series, path: Path) -> list[str]:
    """Dates as YYYYMMDD, '' where there is none."""
    matches = [DATE.fullmatch(text) for text in cells]
    if wrong := [text for text, match in zip(cells, matches, strict=True) if text and not match]:
        raise InputError(f"{path}: {len(wrong)} dates are not like 2020-06-04, for example {wrong[0]!r}; correct them")
    return ["".join(match.groups()[:3]) if match else "" for match in matches]


def _splits(cells: pd.DataFrame, path: Path) -> list[str]:
    if "split" not in cells:
        raise InputError(f"split by files: {path} has no column split; add it, or split by another method")
    names = cells["split"].str.strip().str.casefold().replace(WORDS)
    if wrong := cells.loc[~names.isin([*SPLITS, ""]), "split"].tolist():
        raise InputError(f"{path}: {len(wrong)} splits are none of {', '.join(SPLITS)}, for example {wrong[0]!r}")
    return names.tolist()


def read_patches(folder: Path, channels: Sequence[str], features: Sequence[str], entry: Dataset) -> Patches:
    """The images in a table; see `Layout.read_patches`."""
    images.check_features(features)
    path = _find_table(folder.resolve())
    root = path.parent
    names = _columns(path)
    if names >= BIGEARTHNET and "path" not in names:
        raise InputError(
            f"{path}: lists several labels a patch, as BigEarthNet v2 does, but here a patch has one label, or a share "
            "of each class; write a table with path and class, or path and a column a class (ben-ge has such shares)"
        )
    cells = read_cells(path)
    check_columns(cells, ["path", *meant(cells, POSITION, TEXTS)], path)
    cells["path"] = [re.sub(r"^(\./)+", "", one.strip()) for one in cells["path"]]
    _check_paths(cells, path)
    present = {one.as_posix() for one in images.list_files(root)}
    files = [one for one in cells["path"] if one in present]
    if not files:
        raise InputError(f"{path}: none of its {len(cells)} files is there, for example {cells['path'][0]}; check path")
    classes, shares = _shares(cells, entry, path)
    found = images.look_at_some(root, files)
    stored = images.channels_of(found, channels, entry, files[0])
    table = images.new_table(_ids(cells, path), cells["path"].tolist(), stored)
    add_problem(table, cells["path"].isin(files), f"its file, listed in {path.name}, is missing")
    if "class" in cells:
        add_problem(table, cells["class"] != "", f"its class in {path.name} is empty")
    warnings = []
    if without := sorted(one for one in present.difference(cells["path"]) if images.is_image(PurePosixPath(one))):
        warnings.append(f"{len(without)} images, for example {without[0]}, are not in {path.name}")
    if "class" in cells and entry.classes:
        unlisted = sorted(set(cells["class"]).difference(["", *classes]))
        if unlisted:
            kept = cells["class"].isin(["", *classes])
            cells, table, shares = cells[kept].reset_index(drop=True), table[kept].reset_index(drop=True), shares[kept]
            warnings.append(f"{len(unlisted)} classes of {path.name} are none of the entry: {few(unlisted)}")
    add_labels(table, shares, "class")
    sums = shares.sum(axis=1)
    if (low := (sums < 1 - SHARE_TOLERANCE) & (table["problem"] == "").to_numpy()).any():
        example = table["patch_id"][low].iloc[0]
        warnings.append(
            f"in {low.sum()} of {len(low)} patches, for example {example} ({sums[low][0]:.3g}), the shares add up to "
            "less than 1"
        )
    if "lon" in cells:
        table[list(POSITION)] = to_numbers(cells[list(POSITION)]).to_numpy()
    if "date" in cells:
        table["date"] = _dates(cells["date"], path)
    if entry.split.method == "files":
        table["split"] = _splits(cells, path)
    warnings += images.rare(table, classes)
    size = images.patch_size(found, entry, files[0])
    return Patches(
        root.name, root, stored, [], table, list(classes), size, images.metres_per_pixel(found), entry.level, warnings
    )

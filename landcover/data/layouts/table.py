"""The layout of a table beside its images: a row for each image.

<root>/<any>.csv or .parquet, with the columns
    path: of the image, relative to the table; or of a folder of single bands, <path>/<folder>_<band>.tif;
    class: its name; or else, for each class, a column with its share of the patch, 0 to 1;
    patch_id, lon and lat (degrees), date, split (train, val, test): optional.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from landcover.config import NO_NAMES, Dataset, is_class_name
from landcover.constants import BANDS, METRES_PER_PIXEL
from landcover.data import images
from landcover.data.layout import Patches
from landcover.data.raster import Channel
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
from landcover.errors import CHOICES, InputError, few

TABLES = (".csv", ".parquet")
POSITION, TEXTS = ("lon", "lat"), ("class", "patch_id", "date", "split")
SEPARATORS = re.compile("[,;\t]")  # only the first is accepted, but a table with another must not pass for no table
BIGEARTHNET = {"patch_id", "labels"}  # columns of its metadata.parquet
TAKEN = (
    f"every column besides path, {', '.join(POSITION + TEXTS)} is taken for the share of a class: remove these, or "
    "list the others as classes in the dataset's entry"
)
DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(T.*| .*)?")
# Ids that CSV readers give back as they are, though they look like numbers.
WHOLE = re.compile(r"0|[1-9]\d{0,17}", re.ASCII)


class Files(NamedTuple):
    """The images of a table's rows."""

    channels: list[Channel]
    names: dict[str, list[str]]  # of the files, by channel
    problems: list[str]  # of each row, '' if it has a file of the first channel
    stray: list[str]  # images, or folders of images, that the table does not list
    size: int  # side of a patch in pixels
    metres_per_pixel: float


def needed(path: PurePosixPath, channels: Collection[str]) -> bool:
    """Whether the pipeline reads this member of an archive: a table or an image."""
    return images.is_image(path) or (path.suffix.lower() in TABLES and images.is_visible(path))


def _columns(path: Path) -> set[str]:
    """The names in a table's header, in lower case; none if it is damaged."""
    try:
        if path.suffix.lower() == ".parquet":
            return {name.casefold() for name in pyarrow.parquet.read_schema(path).names}
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return {name.strip().strip('"').casefold() for name in SEPARATORS.split(file.readline())}
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
        remedy = "leave one in the source" if tables else "add it: a CSV or Parquet file of path and class"
        raise InputError(f"{folder}: needs one table with a column path, has {names}; {remedy}")
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
    if entry.classes is None and len(columns) < 2:
        only = f"; if {columns[0]} is the class, call it class" if columns else "; add one of them"
        raise InputError(f"{path}: has no column class, nor a column for each class with its share{only}")
    if bad := [repr(name) for name in columns if entry.classes is None and not is_class_name(name)]:
        raise InputError(f"{path}: columns that cannot be classes: {few(bad)}; {TAKEN}")
    classes = images.choose_classes(columns, entry, f"the columns of {path}")
    classes = classes if entry.classes else columns
    numbers = to_numbers(cells[classes])
    if texts := [name for name in classes if numbers[name].isna().all()]:
        raise InputError(f"{path}: columns without a number: {few(texts)}; {TAKEN}")
    shares = numbers.to_numpy()
    sums = shares.sum(axis=1)
    if (percent := np.abs(sums - 100) < 100 * SHARE_TOLERANCE).sum() > len(sums) / 2:
        example = cells["path"][percent].iloc[0]
        raise InputError(
            f"{path}: the shares of {percent.sum()} of {len(sums)} patches, for example {example}, add up to 100, like "
            "percent, not to 1; divide them by 100"
        )
    if (many := sums > 1 + SHARE_TOLERANCE).sum() > len(sums) / 2:
        raise InputError(
            f"{path}: the shares of {many.sum()} of {len(sums)} patches, for example {cells['path'][many].iloc[0]} "
            f"({sums[many][0]:.6g}), add up to more than 1, over the columns {few(classes, CHOICES)}; divide them "
            f"by the whole, or if some are no shares: {TAKEN}"
        )
    return classes, shares


def _positions(cells: pd.DataFrame, path: Path) -> np.ndarray:
    """Longitudes and latitudes, float64 (N, 2), NaN where there is none."""
    texts = cells[list(POSITION)].apply(lambda column: column.str.strip())
    numbers = to_numbers(texts)
    wrong = (numbers.isna() & (texts != "")).any(axis=1)
    if wrong.any():
        example = ", ".join(texts[wrong].iloc[0])
        raise InputError(
            f"{path}: lon or lat is no number in {wrong.sum()} rows, for example {example!r}; write degrees as 9.25"
        )
    return numbers.to_numpy()


def _dates(cells: pd.Series, path: Path) -> list[str]:
    """Dates as YYYYMMDD, '' where there is none."""
    matches = [DATE.fullmatch(text) for text in cells]
    if wrong := [text for text, match in zip(cells, matches, strict=True) if text and not match]:
        raise InputError(f"{path}: {len(wrong)} dates are not like 2020-06-04, for example {wrong[0]!r}; correct them")
    return ["".join(match.groups()[:3]) if match else "" for match in matches]


def _advise(path: Path) -> None:
    """Refuse the table of BigEarthNet v2, which has many labels per patch, and say how to go on."""
    names, lists = _columns(path), False
    if path.suffix.lower() == ".parquet":
        lists = any(pyarrow.types.is_nested(kind) for kind in pyarrow.parquet.read_schema(path).types)
    if lists or (names >= BIGEARTHNET and "path" not in names):
        raise InputError(
            f"{path}: lists several labels per patch, as BigEarthNet v2 does, but here a patch has one label, or a "
            "share of each class; write a table with path (the patch's folder) and class, or with a column for each "
            "class with its share, as ben-ge has it"
        )


def _read(path: Path) -> pd.DataFrame:
    """The cells of the table, with paths that are known to be safe."""
    if path.suffix.lower() == ".csv":
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            header = file.readline()
        if "," not in header and (other := SEPARATORS.search(header)):
            raise InputError(f"{path}: separates columns with {other[0]!r}; save it with commas, and numbers like 9.25")
    cells = read_cells(path)
    check_columns(cells, ["path", *meant(cells, POSITION, TEXTS)], path)
    if "class" in cells:
        cells["class"] = cells["class"].str.strip()
    cells["path"] = [re.sub(r"^(\./)+|/$", "", one.strip()) for one in cells["path"]]
    _check_paths(cells, path)
    return cells


def _files(cells: pd.DataFrame, path: Path, channels: Sequence[str], entry: Dataset) -> Files:
    """What the rows' images are.

    Raises:
        InputError: there is none, or they do not hold the channels.
    """
    root = path.parent
    present = [one for one in images.list_files(root) if images.is_image(one)]
    paths = cells["path"].tolist()
    folders = {one.parent.as_posix() for one in present}
    by_band = bool(set(paths) & folders)
    listed = {one: one.parent.as_posix() if by_band else one.as_posix() for one in present}
    stray = sorted(set(listed.values()).difference(paths))

    endings = {one.with_suffix("").as_posix(): one.suffix for one in present}  # .tif, or .TIF

    def name(one: str, band: str) -> str:
        stem = f"{one}/{PurePosixPath(one).name}_{band}"
        return stem + endings.get(stem, ".tif") if by_band else one

    names = {channel: [name(one, channel) for one in paths] for channel in channels}
    files = {one.as_posix() for one in present}
    first = [one for one in names[channels[0]] if one in files]
    if not first:
        other = f", but {present[0]} is" if present else ""
        raise InputError(
            f"{path}: none of its {len(paths)} files is there, for example {names[channels[0]][0]}{other}; correct path"
        )
    header = images.typical_header(root, first)
    size = images.patch_size(header, entry, first[0])
    if by_band:
        stored = [Channel(channel, header.dtype, BANDS[channel], scale=entry.scale) for channel in channels]
        size = entry.patch_size or size * BANDS[channels[0]] // METRES_PER_PIXEL
        header = header._replace(metres_per_pixel=None)
    else:
        stored = images.channels_of(header, channels, entry, first[0])
    whole, part = f"its file, listed in {path.name}, is missing", f"{channels[0]} is missing"
    problems = [
        "" if file in files else part if one in folders else whole
        for one, file in zip(paths, names[channels[0]], strict=True)
    ]
    return Files(stored, names, problems, stray, size, images.metres_per_pixel(header))


def read_patches(folder: Path, channels: Sequence[str], features: Sequence[str], entry: Dataset) -> Patches:
    """The images in a table; see `Layout.read_patches`."""
    images.check_inputs(channels, features)
    path = _find_table(folder.resolve())
    _advise(path)
    cells = _read(path)
    files = _files(cells, path, channels, entry)
    classes, shares = _shares(cells, entry, path)
    table = images.new_table(_ids(cells, path), cells["path"].tolist(), [])
    table = table.assign(**{name: np.array(names, object) for name, names in files.names.items()})
    table["problem"] = files.problems
    warnings = []
    if files.stray:
        warnings.append(f"{len(files.stray)} images, for example {files.stray[0]}, are not in {path.name}")
    if "class" in cells:
        add_problem(table, cells["class"] != "", f"its class in {path.name} is empty")
        kept = cells["class"].isin(["", *classes])
        if not kept.all():
            others = sorted(set(cells["class"][~kept]))
            warnings.append(f"{(~kept).sum()} rows of {path.name} have none of the entry's classes: {few(others)}")
        cells, table, shares = cells[kept].reset_index(drop=True), table[kept].reset_index(drop=True), shares[kept]
    add_labels(table, shares, "class")
    sums = shares.sum(axis=1)
    low = (sums < 1 - SHARE_TOLERANCE) & (table["problem"] == "").to_numpy()
    if low.any():
        example = f"{table['patch_id'][low].iloc[0]} ({sums[low][0]:.3g})"
        warnings.append(
            f"in {low.sum()} of {len(low)} patches, for example {example}, the shares add up to less than 1"
        )
    if "lon" in cells:
        table[list(POSITION)] = _positions(cells, path)
    if "date" in cells:
        table["date"] = _dates(cells["date"], path)
    if entry.split.method == "files":
        if "split" not in cells:
            raise InputError(f"split by files: {path} has no column split; add it, or split by another method")
        table["split"] = cells["split"]
    warnings += images.rare(table, classes, entry)
    facts = {"metres_per_pixel": files.metres_per_pixel, "level": entry.level, "warnings": warnings}
    facts["shares"] = None if "class" in cells else shares
    return Patches(path.parent.name, path.parent, files.channels, [], table, list(classes), files.size, **facts)

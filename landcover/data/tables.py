"""The tables of an unpacked dataset: read strictly, and joined by patch id."""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from landcover.constants import CLASSES, DATE, PATCH_ID, TILE
from landcover.data import offsets
from landcover.errors import CHOICES, InputError, few

FRACTION_TOLERANCE = 0.01  # by which the rounded fractions of a patch may exceed 1 in sum
# As numpy and spreadsheets write numbers; float() would also accept spaces, 1_000, nan, infinity and non-ASCII digits.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_text(path: Path) -> str:
    """The text of a table or list.

    Raises:
        ValueError: it is not text.
    """
    text = path.read_text(encoding="utf-8-sig")
    if "\0" in text:  # a hole in a damaged file would join the halves of two rows
        raise ValueError("it contains a zero byte")
    return text


def _check_shape(text: str, path: Path, columns: Collection[str]) -> list[str]:
    """Check each row, since pandas pads short rows and tolerates stray quotes; return the header.

    Raises:
        InputError: the header lacks or repeats a column, or a row has a different number of cells.
        csv.Error: it is not CSV.
    """
    rows = csv.reader(io.StringIO(text), strict=True)
    header = next(rows, [])
    if not header:
        raise csv.Error("it has no header")
    if missing := [column for column in columns if column not in header]:
        found = few([*map(repr, header)], CHOICES)
        raise InputError(f"{path}: has no column {', '.join(missing)} among {found}; separate columns with commas")
    if repeated := [repr(name) for name, count in Counter(header).items() if count > 1]:
        raise InputError(f"{path}: duplicate columns: {few(repeated)}; keep one of each")
    # Blank lines are not rows.
    if ragged := [f"{rows.line_num} ({len(row)})" for row in rows if row and len(row) != len(header)]:
        raise InputError(f"{path}: lines that do not have {len(header)} cells like the header: {few(ragged)}; fix them")
    return header


def read_table(
    path: Path, columns: Collection[str], optional: Collection[str] = (), texts: Collection[str] = ()
) -> pd.DataFrame:
    """Some columns of a table, indexed by patch_id; other columns are ignored.

    Args:
        columns: numeric columns, float64, NaN where a cell is not a number.
        optional: more numeric columns, all NaN if the table lacks them.
        texts: text columns, all '' if the table lacks them.

    Raises:
        InputError: there is no such table, or it is damaged, or its patch ids are malformed or repeated.
    """
    if not path.exists():
        raise InputError(f"{path}: not found; the archive is not in the ben-ge layout")
    if not path.is_file():
        raise InputError(f"{path}: is not a file; put the CSV table there")
    wanted = ["patch_id", *columns]
    try:
        text = read_text(path)
        header = _check_shape(text, path, wanted)
        # Columns with misspelt names, or some but not all optional columns, must not count as absent.
        spelt = {name.strip().casefold() for name in header} | set(optional if set(optional) & set(header) else ())
        if lacking := [column for column in (*optional, *texts) if column in spelt and column not in header]:
            found = few([*map(repr, header)], CHOICES)
            raise InputError(f"{path}: has no column {', '.join(lacking)} among {found}; separate columns with commas")
        wanted += [column for column in (*optional, *texts) if column in header]
        table = pd.read_csv(io.StringIO(text), usecols=wanted, dtype=object, keep_default_na=False)
    except (csv.Error, ValueError) as error:  # pandas' own are ValueErrors
        raise InputError(f"{path}: is not a CSV table: {error}; download it again") from None
    table = table.set_index("patch_id").reindex(columns=[*columns, *optional, *texts], fill_value="")
    if table.empty:
        raise InputError(f"{path}: has no rows; download it again")
    if malformed := [repr(patch_id) for patch_id in table.index if not PATCH_ID.fullmatch(patch_id)]:
        raise InputError(f"{path}: invalid patch ids: {few(malformed)}; expected <acquisition>_<h>_<v>")
    if len(repeated := table.index[table.index.duplicated()].unique()):
        raise InputError(f"{path}: duplicate patch ids: {few(repeated)}; remove the duplicates")
    numbers = table[[*columns, *optional]]
    numbers = numbers.apply(lambda cells: cells.where(cells.str.fullmatch(NUMBER), np.nan).astype(float))
    return numbers.join(table[list(texts)])


def read_tables(root: Path, classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """Join the labels to the meta table, by patch_id, in the meta table's row order.

    The label is the class with the largest fraction; ties go to the first in the order of `classes`, as with the
    notebook's argmax.

    Args:
        classes: columns of the label table.

    Returns:
        One row per patch: `patch_id`, `lon`, `lat` (degrees; NaN in all rows if the meta table lacks them), `label`
        (0 ... K - 1, -1 where there is none), `majority_fraction`, `tied` (whether another class is as large),
        `problem` (why the patch cannot be used, or ''), `date` (YYYYMMDD) and `tile` (MGRS), '' if ids lack them, and
        `offset` (from `offsets.by_product`, by the meta table's `processing_baseline` or by the id).

    Raises:
        InputError: a table is missing, is not a table, lacks or repeats a column, has rows whose length differs from
            the header's, or has malformed or repeated patch ids.
    """
    meta = read_table(
        root / f"{root.name}_meta.csv", [], optional=["lon", "lat"], texts=["patch_id_s1", "processing_baseline"]
    )
    placeless = meta[["lon", "lat"]].isna().all(axis=None)  # the table has no such columns
    cover = read_table(root / f"{root.name}_esaworldcover.csv", classes)
    told = "WorldCover" if tuple(classes) == CLASSES else "label"
    known = meta.index.isin(cover.index)
    fractions = cover.reindex(meta.index).to_numpy()  # (N, K)

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
            ~placeless & ~((table["lon"].abs() <= 180) & (table["lat"].abs() <= 90)),
        ],
        [
            f"has no row in the {told} table",
            f"a {told} fraction is not a number",
            f"a {told} fraction is negative, or their sum exceeds 1",
            f"all {told} fractions are zero",
            "its lon and lat in the meta table are not a position on Earth",
        ],
        default="",
    )
    table.loc[table["problem"] != "", ["label", "tied"]] = -1, False
    table["date"] = table["patch_id"].str.extract(DATE, expand=False).fillna("")
    table["tile"] = table.pop("patch_id_s1").str.extract(TILE, expand=False).fillna("")
    table["offset"] = offsets.by_product(table["patch_id"], table.pop("processing_baseline"))
    return table

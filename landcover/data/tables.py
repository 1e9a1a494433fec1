"""Tables and lists of a dataset, read strictly, and the labels in them."""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from landcover.errors import CHOICES, InputError, few

SHARE_TOLERANCE = 0.01  # by which the rounded shares of a patch may exceed 1 in sum
# As numpy and spreadsheets write numbers; float() would also accept spaces, 1_000, nan, infinity and non-ASCII digits.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def _read_text(path: Path) -> str:
    text = path.read_text(encoding="utf-8-sig")
    if "\0" in text:  # a hole in a damaged file would join the halves of two rows
        raise ValueError("it contains a zero byte")
    return text


def read_list(path: Path) -> list[str]:
    """The patch ids in a file, one per line, with no header.

    Raises:
        InputError: it is not such a list.
    """
    try:
        lines = [",".join(row).strip() for row in csv.reader(io.StringIO(_read_text(path)), strict=True)]
    except (csv.Error, ValueError) as error:
        raise InputError(f"{path}: is not a text file of patch ids: {error}; download it again") from None
    return [line for line in lines if line]


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
    _check_columns(header, columns, path)
    if repeated := [repr(name) for name, count in Counter(header).items() if count > 1]:
        raise InputError(f"{path}: duplicate columns: {few(repeated)}; keep one of each")
    # Blank lines are not rows.
    if ragged := [f"{rows.line_num} ({len(row)})" for row in rows if row and len(row) != len(header)]:
        raise InputError(f"{path}: lines that do not have {len(header)} cells like the header: {few(ragged)}; fix them")
    return header


def _check_columns(header: list[str], columns: Collection[str], path: Path) -> None:
    if missing := [column for column in columns if column not in header]:
        present = few([*map(repr, header)], CHOICES)
        raise InputError(f"{path}: has no column {', '.join(missing)} among {present}; separate columns with commas")


def read_table(
    path: Path, columns: Collection[str], optional: Collection[str] = (), texts: Collection[str] = ()
) -> pd.DataFrame:
    """Some columns of a table, indexed by patch_id; other columns are ignored.

    Args:
        columns: numeric columns, float64, NaN where a cell is not a number.
        optional: more numeric columns, all NaN if the table lacks them.
        texts: text columns, all '' if the table lacks them.

    Raises:
        InputError: there is no such table, or it is damaged, or its patch ids are repeated.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'is not a file' if path.exists() else 'not found'}; put the CSV table there")
    wanted = ["patch_id", *columns]
    try:
        text = _read_text(path)
        header = _check_shape(text, path, wanted)
        # Columns with misspelt names, or some but not all optional columns, must not count as absent.
        spelt = {name.strip().casefold() for name in header} | set(optional if set(optional) & set(header) else ())
        _check_columns(header, [column for column in (*optional, *texts) if column in spelt], path)
        wanted += [column for column in (*optional, *texts) if column in header]
        table = pd.read_csv(io.StringIO(text), usecols=wanted, dtype=object, keep_default_na=False)
    except (csv.Error, ValueError) as error:  # pandas' own are ValueErrors
        raise InputError(f"{path}: is not a CSV table: {error}; download it again") from None
    table = table.set_index("patch_id").reindex(columns=[*columns, *optional, *texts], fill_value="")
    if table.empty:
        raise InputError(f"{path}: has no rows; download it again")
    if len(repeated := table.index[table.index.duplicated()].unique()):
        raise InputError(f"{path}: duplicate patch ids: {few(repeated)}; remove the duplicates")
    numbers = table[[*columns, *optional]]
    numbers = numbers.apply(lambda cells: cells.where(cells.str.fullmatch(NUMBER), np.nan).astype(float))
    return numbers.join(table[list(texts)])


def add_problem(table: pd.DataFrame, sound: pd.Series | np.ndarray, why: str) -> None:
    """Note in the column `problem` why some patches cannot be used, unless another reason is there.

    Args:
        sound: bool (N,), False for these patches.
    """
    table.loc[~sound & (table["problem"] == ""), "problem"] = why


def add_labels(table: pd.DataFrame, shares: np.ndarray, name: str) -> None:
    """Add the columns `label`, `majority_fraction` and `tied`, and problems, from the share of each class.

    The label is the class with the largest share; ties go to the first class, as with the notebook's argmax.

    Args:
        shares: float64 (N, K), 0 to 1, NaN where there is no number.
        name: of their source, for messages.
    """
    numbers = np.isfinite(shares).all(axis=1)
    filled = np.where(numbers[:, None], shares, 0)
    largest = filled.max(axis=1)
    add_problem(table, numbers, f"a {name} fraction is not a number")
    possible = (filled >= 0).all(axis=1) & (filled.sum(axis=1) <= 1 + SHARE_TOLERANCE)
    add_problem(table, possible, f"a {name} fraction is negative, or their sum exceeds 1")
    add_problem(table, largest > 0, f"all {name} fractions are zero")
    good = (table["problem"] == "").to_numpy()
    table["label"] = np.where(good, filled.argmax(axis=1), -1)
    table["majority_fraction"] = largest
    table["tied"] = good & ((filled == largest[:, None]).sum(axis=1) > 1)


def check_positions(table: pd.DataFrame, source: str) -> None:
    """Note as a problem what is no position on Earth, unless `lon` and `lat` are NaN in all rows: unknown.

    Args:
        source: of the positions, for messages.
    """
    position = table[["lon", "lat"]]
    on_earth = (position["lon"].abs() <= 180) & (position["lat"].abs() <= 90)
    add_problem(
        table, on_earth | position.isna().all(axis=None), f"its lon and lat in {source} are not a position on Earth"
    )

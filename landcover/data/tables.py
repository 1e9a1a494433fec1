"""Tables and lists of a dataset, read strictly, and the labels in them."""

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from landcover.errors import CHOICES, InputError, few

SEPARATORS = re.compile(r"[;\t|]")  # of columns, other than the comma
REVIEW = ("patch_id", "self_confidence")  # columns by which a label review is known
SHARE_TOLERANCE = 0.01  # by which the rounded shares of a patch may exceed 1 in sum
# As numpy and spreadsheets write numbers; float() would also accept spaces, 1_000, nan, infinity and non-ASCII digits.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_list(path: Path) -> list[str]:
    """The patch ids in a file, one per line, with no header.

    Raises:
        InputError: it is not such a list.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file of patch ids: {error}; download it again") from None
    return [name for line in lines if (name := line.strip().strip('"'))]


def read_review(path: Path) -> list[str] | None:
    """The patch ids in a label review, as evaluate writes it; None if a file is no such table.

    Raises:
        InputError: it is damaged.
    """
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        header = file.readline().strip().split(",")
    return read_cells(path)["patch_id"].tolist() if set(REVIEW) <= set(header) else None


def check_columns(
    table: pd.DataFrame, columns: Collection[str], path: Path, absent: str = "add what is missing"
) -> None:
    """Raise an InputError if a table lacks columns, or has no rows.

    Args:
        absent: what to do about columns that are not there in another spelling.
    """
    if missing := [column for column in columns if column not in table]:
        present = few([*map(repr, table)], CHOICES)
        other = [repr(name) for name in table if name.strip().casefold() in missing]
        remedy = f"write {few(other)} in small letters, without spaces" if other else absent
        if len(table.columns) == 1 and SEPARATORS.search(table.columns[0]):
            remedy = "separate columns with commas"
        raise InputError(f"{path}: has no column {', '.join(missing)} among {present}; {remedy}")
    if table.empty:
        raise InputError(f"{path}: has no rows; add some, or get it again")


def meant(table: pd.DataFrame, together: Collection[str], others: Collection[str]) -> list[str]:
    """The optional columns that a table must have: misspelt ones, or some but not all of a group, are not absent."""
    spelt = {name.strip().casefold() for name in table} | set(together if set(together) & set(table) else ())
    return [column for column in (*together, *others) if column in spelt]


def read_cells(path: Path) -> pd.DataFrame:
    """All columns of a CSV or Parquet table, its cells as text.

    Raises:
        InputError: there is no such table, or it is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'is not a file' if path.exists() else 'not found'}; put the table there")
    kind = "Parquet" if path.suffix.lower() == ".parquet" else "CSV"
    try:
        if kind == "Parquet":
            table = pd.read_parquet(path).reset_index(drop=True)
            return table.astype(object).where(table.notna(), "").map(str)
        table = pd.read_csv(path, dtype=object, keep_default_na=False, encoding="utf-8-sig").fillna("")
        if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first column for names of rows
            raise ValueError("its rows have more cells than its header")
        return table
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not in UTF-8 (byte {error.start}); save it as CSV in UTF-8") from None
    except (ValueError, OSError) as error:  # pandas' own and pyarrow's are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: is not a {kind} table: {reason}; correct it, or get it again") from None


def to_numbers(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells as float64, NaN where they are not numbers."""
    return cells.apply(lambda column: column.where(column.str.fullmatch(NUMBER), np.nan).astype(float))


def read_table(
    path: Path,
    columns: Collection[str],
    optional: Collection[str] = (),
    texts: Collection[str] = (),
    absent: str = "add what is missing",
) -> pd.DataFrame:
    """Some columns of a table, indexed by patch_id; other columns are ignored.

    Args:
        columns: numeric columns, float64, NaN where a cell is not a number.
        optional: more numeric columns, all NaN if the table lacks them.
        texts: text columns, all '' if the table lacks them.
        absent: as for `check_columns`.

    Raises:
        InputError: there is no such table, or it is damaged, or its patch ids are repeated.
    """
    table = read_cells(path)
    check_columns(table, ["patch_id", *columns, *meant(table, optional, texts)], path, absent)
    table = table.set_index("patch_id").reindex(columns=[*columns, *optional, *texts], fill_value="")
    if len(repeated := table.index[table.index.duplicated()].unique()):
        raise InputError(f"{path}: duplicate patch ids: {few(repeated)}; remove the duplicates")
    return to_numbers(table[[*columns, *optional]]).join(table[list(texts)])


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

    Raises:
        InputError: lon and lat are exchanged in many rows.
    """
    lon, lat = table["lon"].abs(), table["lat"].abs()
    swapped = (lat > 90) & (lat <= 180) & (lon <= 90)
    if swapped.sum() > len(table) / 2:
        example = table[swapped].iloc[0]
        raise InputError(
            f"{source}: lat is beyond 90 degrees in {swapped.sum()} of {len(table)} rows, for example "
            f"{example['lat']:g} of {example['patch_id']}; exchange lon and lat"
        )
    on_earth = (lon <= 180) & (lat <= 90)
    add_problem(
        table,
        on_earth | table[["lon", "lat"]].isna().all(axis=None),
        f"its lon and lat in {source} are not a position on Earth",
    )

"""data/tensors/index.csv, the patch in each row of the tensors, and data/folds.csv, what folds do with the patches."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from landcover.constants import SPLITS

INDEX = "index.csv"
ROLES = ("train", "val", "test", "left_out")  # of a patch in a fold


def digest(lines: pd.Series) -> str:
    """The SHA-256 of the lines, in whatever order."""
    return hashlib.sha256("\n".join(lines.sort_values()).encode()).hexdigest()


class Index(NamedTuple):
    """The index of one split, or of several."""

    patch_ids: np.ndarray  # str (N,)
    majority_fractions: np.ndarray  # float64 (N,), the share of the patch that its class covers
    lon: np.ndarray  # float64 (N,), degrees; NaN if the meta table lacks them
    lat: np.ndarray  # likewise


def in_order(patches: pd.DataFrame) -> pd.DataFrame:
    """The patches split by split, in the order of the shards' rows; `row` counts within a split."""
    patches = patches.assign(row=patches.groupby("split").cumcount())
    return patches.sort_values("split", key=lambda names: names.map(SPLITS.index), kind="stable")


def write_index(directory: Path, patches: pd.DataFrame) -> None:
    """Write the index: one row per patch, as `in_order` has them."""
    columns = ["split", "row", "patch_id", "label", "majority_fraction", "lon", "lat"]
    patches[columns].to_csv(directory / INDEX, index=False, lineterminator="\n")


def load_index(directory: Path, *splits: str) -> Index:
    """Read the index's rows of these splits, which are in the order of SPLITS."""
    table = pd.read_csv(directory / INDEX)
    table = table[table["split"].isin(splits)]
    lon, lat = (table[name].to_numpy(np.float64) for name in ("lon", "lat"))
    return Index(table["patch_id"].to_numpy(str), table["majority_fraction"].to_numpy(), lon, lat)


def split_of_each(directory: Path, *splits: str) -> np.ndarray:
    """The split of each patch of these splits, str (N,)."""
    names = pd.read_csv(directory / INDEX)["split"]
    return names[names.isin(splits)].to_numpy(str)


def rows_by_split(directory: Path, *splits: str) -> dict[str, np.ndarray]:
    """The rows of each of these splits, int64, in the tensors of them together."""
    names = split_of_each(directory, *splits)
    return {split: np.flatnonzero(names == split) for split in splits}


@dataclass(frozen=True)
class Folds:
    """A cross-validation with k folds: what each fold does with each of N patches, in the order of the index."""

    splits: tuple[str, ...]  # whose patches these are, all of them
    patch_ids: np.ndarray  # str (N,)
    numbers: np.ndarray  # int64 (N,), the fold that tests each patch, from 1
    places: np.ndarray | None  # int64 (N,), from 0; None if unknown
    roles: np.ndarray  # str (k, N), of ROLES

    @property
    def count(self) -> int:
        return len(self.roles)

    @cached_property
    def sha256(self) -> str:
        """Of the assignment of the patches to folds."""
        return digest(pd.Series(self.patch_ids) + " " + pd.Series(self.numbers.astype(str)))

    def rows(self, fold: int, role: str) -> np.ndarray:
        """The patches with a role in a fold, int64: rows of this table, and of the tensors of its splits together."""
        return np.flatnonzero(self.roles[fold - 1] == role)

    def trials(self) -> list[dict[str, np.ndarray]]:
        """By fold, the rows of its train, val and test patches."""
        return [{role: self.rows(fold, role) for role in SPLITS} for fold in range(1, self.count + 1)]


def load_folds(path: Path) -> Folds | None:
    """Read data/folds.csv; None if there are no folds."""
    table = pd.read_csv(path)
    if not len(table):
        return None
    places = None if table["place"].isna().all() else table["place"].to_numpy(np.int64)
    roles = table.filter(regex=r"^role_\d+$").to_numpy(str).T
    splits = tuple(table["split"].unique())
    return Folds(splits, table["patch_id"].to_numpy(str), table["fold"].to_numpy(np.int64), places, roles)

"""Which patch is in which split, and what leaks from one split to another."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from landcover.ground import benge, params
from landcover.ground.benge import SPLITS
from landcover.ground.errors import InputError

LEAKAGE_DISTANCES = (1, 2, 5)  # patches, by the longer of the two offsets: 1 is the 8-neighbourhood


def by_order(split: params.Order, table: pd.DataFrame, root: Path) -> np.ndarray:
    wanted = split.train + split.val + split.test
    if wanted > len(table):
        raise InputError(
            f"split by order: {split.train} + {split.val} + {split.test} = {wanted} patches asked for, "
            f"{len(table)} in {root.name}; lower train, val or test of the dataset's split"
        )
    return np.repeat([*SPLITS, ""], [split.train, split.val, split.test, len(table) - wanted]).astype(object)


def by_files(table: pd.DataFrame, root: Path) -> np.ndarray:
    assigned = pd.Series("", index=table["patch_id"], dtype=object)
    problems = []
    for split in SPLITS:
        name = f"{root.name}_{split}.csv"
        path = next((p for p in (root / "splits" / name, root / name) if p.is_file()), None)
        if path is None:
            problems.append(f"{root.name} has no {name}; split by order or by tile instead")
            continue
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                lines = [",".join(row).strip() for row in csv.reader(file, strict=True)]
        except (csv.Error, UnicodeDecodeError) as error:
            problems.append(f"{path}: is not a text of patch ids: {error}; fetch it anew")
            continue
        ids = pd.Index([line for line in lines if line], dtype=object)
        known = ids[ids.isin(assigned.index)]
        taken = known[(assigned[known] != "").to_numpy() | known.duplicated()].unique()
        if len(ids) == 0:
            problems.append(f"{path}: lists no patch; fetch it anew")
        if len(unknown := ids.difference(known)):
            problems.append(f"{path}: not in the meta table: {', '.join(map(repr, unknown))}; check the split file")
        if len(taken):
            problems.append(f"{path}: patch ids in more than one place: {', '.join(taken)}; keep one of each")
        assigned[known] = split
    if problems:
        raise InputError(f"split by files: {'; '.join(problems)}")
    return assigned.to_numpy()


def by_tile(split: params.Tile, table: pd.DataFrame, root: Path) -> np.ndarray:
    acquisition = positions(table["patch_id"])["acquisition"].to_numpy()
    names, sizes = np.unique(acquisition, return_counts=True)
    if len(names) < len(SPLITS):
        raise InputError(f"split by tile: {root.name} has {len(names)} acquisitions, 3 are needed; split by order")
    assigned = dict.fromkeys(names, "train")
    free = list(np.random.default_rng(split.seed).permutation(len(names)))
    # Fill test, then val: take the next acquisition while that brings the split nearer to its share.
    for held, share in (("test", split.test), ("val", split.val)):
        wanted, have = share * len(table), 0
        for tile in list(free):
            leaves_enough = len(free) > (2 if held == "test" else 1)
            if leaves_enough and (have == 0 or abs(have + sizes[tile] - wanted) < abs(have - wanted)):
                assigned[names[tile]] = held
                have += sizes[tile]
                free.remove(tile)
    return np.array([assigned[name] for name in acquisition], object)


def assign(split: params.Split, table: pd.DataFrame, root: Path) -> np.ndarray:
    """The split of each row of the table, or '' for none; object (N,).

    Raises:
        InputError: the table, or the dataset's own lists, cannot be split so.
    """
    match split:
        case params.Order():
            return by_order(split, table, root)
        case params.Files():
            return by_files(table, root)
        case params.Tile():
            return by_tile(split, table, root)


def positions(patch_ids: pd.Series) -> pd.DataFrame:
    """Read from each patch id its `acquisition` and its place in it, `column` and `row`, in patches."""
    found = patch_ids.str.extract(f"^{benge.PATCH_ID.pattern}$")
    return found.astype({"column": int, "row": int})


def neighbours(patch_ids: pd.Series, others: pd.Series, distance: int) -> np.ndarray:
    """Whether each patch has one of `others` of its own acquisition within `distance` patches; bool (N,)."""
    here, there = positions(patch_ids), positions(others)
    near = np.zeros(len(here), bool)
    by_acquisition = there.groupby("acquisition")
    for acquisition, rows in here.reset_index(drop=True).groupby("acquisition"):
        if acquisition in by_acquisition.groups:
            grid = by_acquisition.get_group(acquisition)[["column", "row"]].to_numpy()
            # Mark the others on a grid, padded by the distance, and look whether the window around a patch is empty,
            # by the corners of a summed-area table: linear in the patches, for ben-ge's half million too.
            places = rows[["column", "row"]].to_numpy()
            low = np.minimum(grid.min(0), places.min(0)) - distance
            size = np.maximum(grid.max(0), places.max(0)) - low + distance + 1
            marked = np.zeros(size + 1, int)
            marked[tuple((grid - low + 1).T)] = 1
            area = marked.cumsum(0).cumsum(1)
            (top, left), (bottom, right) = (places - low - distance).T, (places - low + distance + 1).T
            count = area[bottom, right] - area[top, right] - area[bottom, left] + area[top, left]
            near[rows.index] = count > 0
    return near


def leakage(patches: pd.DataFrame) -> dict[str, Any]:
    """Count the test patches that have a train patch of the same acquisition nearby.

    Args:
        patches: columns `patch_id` and `split`.

    Returns:
        For each distance of LEAKAGE_DISTANCES the number of such patches and their share of the test split.
    """
    test = patches.loc[patches["split"] == "test", "patch_id"]
    train = patches.loc[patches["split"] == "train", "patch_id"]
    found = {}
    for distance in LEAKAGE_DISTANCES:
        count = int(neighbours(test, train, distance).sum())
        found[f"within_{distance}"] = {"test_patches": count, "share": count / len(test)}
    return found

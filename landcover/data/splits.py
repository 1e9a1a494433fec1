"""The assignment of patches to splits, and the leakage between splits."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from landcover import config
from landcover.constants import CLASSES, PATCH_SIZE, SPLITS
from landcover.data import places
from landcover.data.tables import read_list
from landcover.errors import InputError


class Assignment(NamedTuple):
    """The split of each patch, and facts for reviewers about how the splits were made."""

    splits: np.ndarray  # object (N,): one of SPLITS, or '' for none
    facts: dict[str, Any]


def by_order(split: config.Order, table: pd.DataFrame, name: str) -> Assignment:
    """The first rows of the table for train, the next for val, the next for test.

    Raises:
        InputError: there are too few.
    """
    wanted = split.train + split.val + split.test
    if wanted > len(table):
        raise InputError(
            f"split by order: {split.train} + {split.val} + {split.test} = {wanted} patches requested, "
            f"but {name} has {len(table)}; lower train, val or test in the dataset's split"
        )
    splits = np.repeat([*SPLITS, ""], [split.train, split.val, split.test, len(table) - wanted])
    return Assignment(splits.astype(object), {})


def excluded(names: list[str], lists_dir: Path, table: pd.DataFrame) -> np.ndarray:
    """Whether a list excludes the patch in each row of the table; bool (N,).

    Raises:
        InputError: a list is missing or invalid.
    """
    listed: set[str] = set()
    for name in names:
        path = lists_dir / name
        if not path.is_file():
            raise InputError(f"{path}: no such list of patches to exclude; create it with one patch id per line")
        listed.update(read_list(path))
    return table["patch_id"].isin(listed).to_numpy()


def draw_groups(counts: np.ndarray, shares: dict[str, float], seed: int, *, every_class: bool) -> np.ndarray:
    """Assign whole groups of patches to splits, stratified by class as far as whole groups allow.

    Groups are assigned one by one, large ones first and otherwise in the order drawn with `seed`, to the split that
    lacks their classes most.

    Args:
        counts: patches by group and class, int (G, K).
        shares: of all patches, by split.
        every_class: first assign a group of each occurring class to each split, rare classes first.

    Returns:
        The split of each group, object (G,).
    """
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-np.floor(np.log2(counts[order].sum(1).clip(1))), kind="stable")]
    # Each class counts as one, and so do all patches together.
    held = np.column_stack([counts, counts.sum(1)])
    held = held / held.sum(0).clip(1)
    goal = np.array(list(shares.values()))[:, None]
    have = np.zeros((len(shares), held.shape[1]))
    splits = np.full(len(counts), -1)

    def put(group: int, split: int) -> None:
        splits[group] = split
        have[split] += held[group]

    if every_class:
        occurs = (counts > 0).sum(0)
        for label in [label for label in np.argsort(occurs, kind="stable") if occurs[label]]:
            for split in np.argsort(goal[:, 0], kind="stable"):
                if have[split, label] == 0:
                    free = [group for group in order if splits[group] < 0 and counts[group, label]]
                    if free:
                        put(free[0], split)
    left = [group for group in order if splits[group] < 0]
    for number, group in enumerate(left):
        empty = [split for split in range(len(shares)) if have[split, -1] == 0]
        choice = empty if len(left) - number <= len(empty) else range(len(shares))
        put(group, min(choice, key=lambda split: float((have[split] - goal[split]) @ held[group])))
    return np.array(list(shares), object)[splits]


def _groups(split: config.Place, table: pd.DataFrame, name: str) -> np.ndarray:
    """The number of the group of each patch, int (N,)."""
    if table[["lon", "lat"]].isna().any(axis=None):  # the buffer between tiles needs them, too
        raise InputError(f"split by place: {name} has no lon and lat of its patches; split by order or files")
    if split.groups == "block":
        return places.blocks(table, split.block_km)
    if (table["tile"] == "").any():
        raise InputError(f"split by place: {name} does not name the tiles of its patches; set groups: block")
    return pd.factorize(table["tile"])[0]


def by_place(split: config.Place, table: pd.DataFrame, name: str, classes: Sequence[str]) -> Assignment:
    """Split by whole blocks of ground, or tiles, regardless of dates, with a buffer between the splits.

    Patches with a problem, for example without a position or label, are put in train.

    Raises:
        InputError: there are too few groups, or a split lacks a class that it must have.
    """
    sound = (table["problem"] == "").to_numpy()
    used = table[sound]
    groups = _groups(split, used, name)
    count = groups.max(initial=-1) + 1
    if count < len(SPLITS):
        raise InputError(
            f"split by place: {name} has {count} {split.groups}s, but {len(SPLITS)} are needed; lower block_km"
        )
    counts = np.zeros((count, len(classes)), int)
    np.add.at(counts, (groups, used["label"]), 1)
    shares = {"train": 1 - split.val - split.test, "val": split.val, "test": split.test}
    drawn = draw_groups(counts, shares, split.seed, every_class=split.every_class)
    assigned = drawn[groups]
    left_out = {}
    # Patches too near a held-out patch are left out: train patches near test and val, val patches near test.
    for part, held in (("val", ["test"]), ("train", ["test", "val"])):
        here, there = np.flatnonzero(assigned == part), np.isin(assigned, held)
        near = places.nearest_km(used.iloc[here], used[there], split.buffer_km) < split.buffer_km
        assigned[here[near]] = ""
        left_out[part] = int(near.sum())
    splits = np.full(len(table), "train", object)
    splits[sound] = assigned
    lost = dict(_lost_classes(splits, table["label"].to_numpy(), classes))
    if lost and split.every_class:
        lacks = "; ".join(f"{part} has no {', '.join(classes)}" for part, classes in lost.items())
        raise InputError(
            f"split by place: {lacks}; lower block_km or buffer_km, try another seed, or set every_class: false"
        )
    used_groups = {part: int((drawn == part).sum()) for part in SPLITS}
    return Assignment(splits, {"groups": used_groups, "left_out_by_buffer": left_out, "lost_classes": lost})


def _lost_classes(splits: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """For each split that lacks some, the classes that occur elsewhere."""
    occurring = set(labels[labels >= 0])
    for name in SPLITS:
        if lacking := sorted(occurring - set(labels[splits == name])):
            yield name, [classes[label] for label in lacking]


def assign(split: config.Split, table: pd.DataFrame, name: str, classes: Sequence[str] = CLASSES) -> Assignment:
    """Put each patch into a split.

    Args:
        table: as in `Patches`; with the dataset's own split, if that is the method.
        name: of the dataset, for messages.
        classes: the class of each label in the table.

    Raises:
        InputError: the table does not allow this split.
    """
    match split:
        case config.Order():
            return by_order(split, table, name)
        case config.Files():
            return Assignment(table["split"].to_numpy(), {})
        case config.Place():
            return by_place(split, table, name, classes)


def leakage(patches: pd.DataFrame, patch_size: float = PATCH_SIZE) -> dict[str, dict[str, Any]] | None:
    """Count the test and val patches that have a train patch nearby, on the ground, on any date.

    Args:
        patches: columns `split`, `lon`, `lat` and `date`.
        patch_size: side in pixels of 10 m.

    Returns:
        For test and val, by the keys of places.distances, the number of such patches and their share; None if positions
        are unknown.
    """
    if patches[["lon", "lat"]].isna().any(axis=None):
        return None
    train, leaks = patches[patches["split"] == "train"], {}
    distances = places.distances(patch_size)
    for name in ("test", "val"):
        part = patches[patches["split"] == name]
        km = places.nearest_km(part, train, max(distances.values()))
        near = {what: km <= limit for what, limit in distances.items()}
        other = places.has_other_date(part[near["same_ground"]], train, distances["same_ground"])
        counts = {"same_ground_other_date": int(other.sum())} | {what: int(each.sum()) for what, each in near.items()}
        leaks[name] = {what: {"patches": count, "share": count / len(part)} for what, count in counts.items()}
    return leaks

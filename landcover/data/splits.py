"""The assignment of patches to splits, what makes a split doubtful, and the leakage between splits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from landcover import config
from landcover.constants import CLASSES, PATCH_SIZE, SPLITS, readable
from landcover.data import places
from landcover.data.problems import tell
from landcover.data.tables import read_list, read_review
from landcover.errors import InputError, few


@dataclass(frozen=True)
class Facts:
    """How a split was made, for reviewers.

    Attributes:
        unused: patches that the split does not ask for.
        groups: for a split by place, the number of blocks or tiles, by split.
        left_out_by_buffer: for a split by place, patches too near a held-out patch, by split.
    """

    unused: int = 0
    groups: dict[str, int] | None = None
    left_out_by_buffer: dict[str, int] | None = None


OTHER_NAMES = {"validation": "val", "valid": "val", "training": "train"}  # of splits


class Assignment(NamedTuple):
    """The split of each patch, and how it was made."""

    splits: np.ndarray  # object (N,): one of SPLITS, or '' for none
    facts: Facts = Facts()


def largest_remainder(total: int, weights: Sequence[Fraction | int]) -> np.ndarray:
    """Divide a number of patches in proportion to weights; int64 (K,), whose sum is `total`.

    Each part is its exact quota rounded down or up: what is left after rounding down goes to the largest remainders,
    and of equal ones to the first (the method of Hare and Niemeyer).
    """
    whole = sum(map(Fraction, weights))
    quotas = [total * Fraction(weight) / whole for weight in weights]
    parts = np.array([int(quota) for quota in quotas])
    by_remainder = sorted(range(len(quotas)), key=lambda part: parts[part] - quotas[part])
    parts[by_remainder[: total - parts.sum()]] += 1
    return parts


def _shares(split: config.Order | config.Random) -> list[Fraction]:
    """The shares of train, test and val, exactly as in params.yaml, where 0.1 is a tenth.

    In the order in which they get what rounding leaves over: a class without a test patch would not be measured.
    """
    val, test = Fraction(str(split.val)), Fraction(str(split.test))
    return [1 - test - val, test, val]


def by_order(split: config.Order, table: pd.DataFrame, name: str) -> Assignment:
    """The first rows of the table for train, the next for val, the next for test.

    Raises:
        InputError: there are too few.
    """
    if isinstance(split.train, float):
        train, test, val = largest_remainder(len(table), _shares(split))
    else:
        train, val, test = split.train, split.val, split.test
    wanted = train + val + test
    if wanted > len(table):
        raise InputError(
            f"split by order: {train} + {val} + {test} = {wanted} patches requested, "
            f"but {name} has {len(table)}; lower train, val or test in the dataset's split, or give shares"
        )
    unused = int(len(table) - wanted)
    return Assignment(np.repeat([*SPLITS, ""], [train, val, test, unused]).astype(object), Facts(unused))


def by_random(split: config.Random, table: pd.DataFrame, name: str, classes: Sequence[str]) -> Assignment:
    """Draw patches within each class, wherever they lie.

    With shares, each class is divided by them. With numbers, each number is divided over the classes in proportion to
    their patches. Test and val do not depend on `train`. Patches with a problem, for example without a label, are put
    in train.

    Raises:
        InputError: there are too few patches.
    """
    sound = (table["problem"] == "").to_numpy()
    labels = np.where(sound, table["label"], -1)
    sizes = np.bincount(labels[sound], minlength=len(classes))
    if isinstance(split.val, float):
        train, test, val = np.transpose([largest_remainder(size, _shares(split)) for size in sizes.tolist()])
    else:
        if split.val + split.test >= sizes.sum():
            raise InputError(
                f"split by random: {split.val} val and {split.test} test patches leave none of {name}'s {sizes.sum()} "
                "for training; lower val or test in the dataset's split, or give shares"
            )
        test = largest_remainder(split.test, sizes.tolist())
        val = largest_remainder(split.val, (sizes - test).tolist())
        train = sizes - test - val  # by class, as are the others
    rng = np.random.default_rng(split.seed)
    splits = np.full(len(table), "train", object)
    for label, counts in enumerate(zip(test, val, train, strict=True)):
        splits[rng.permutation(np.flatnonzero(labels == label))] = np.repeat(["test", "val", "train"], counts)
    if isinstance(split.train, int):
        _limit_train(splits, labels, split.train, split.method, rng)
    return Assignment(splits, Facts(unused=int((splits == "").sum())))


def _limit_train(splits: np.ndarray, labels: np.ndarray, count: int, method: str, rng: np.random.Generator) -> None:
    """Keep so many train patches, drawn within each class in proportion to its patches; set the others to ''.

    Args:
        labels: int (N,), -1 for patches with a problem, which stay.

    Raises:
        InputError: there are fewer.
    """
    train = np.where(splits == "train", labels, -1)
    sizes = np.bincount(train[train >= 0])
    if count > sizes.sum():
        raise InputError(
            f"split by {method}: {count} train patches requested, but {sizes.sum()} are left besides val and test; "
            "lower train in the dataset's split"
        )
    for label, kept in enumerate(largest_remainder(count, sizes.tolist())):
        splits[rng.permutation(np.flatnonzero(train == label))[kept:]] = ""


def by_files(table: pd.DataFrame, name: str) -> Assignment:
    """The dataset's own split: names in SPLITS or OTHER_NAMES, or nothing for patches to leave out.

    Raises:
        InputError: the dataset has other names.
    """
    own = table["split"].str.strip().str.lower().replace(OTHER_NAMES)
    if len(unknown := table.loc[~own.isin([*SPLITS, ""]), "split"].value_counts()):
        listed = few([f"{other!r} ({count} patches)" for other, count in unknown.items()])
        raise InputError(
            f"split by files: {name} has splits named {listed}; name them {', '.join(SPLITS)}, or leave them empty"
        )
    return Assignment(own.to_numpy(object), Facts(unused=int((own == "").sum())))


def excluded(names: list[str], lists_dir: Path, table: pd.DataFrame) -> np.ndarray:
    """Whether a list excludes the patch in each row of the table; bool (N,).

    A label review leaves out no test patch: it holds what a network says, which test patches are to judge.

    Args:
        table: with columns `patch_id` and `split`.

    Raises:
        InputError: a list is missing or invalid.
    """
    listed: set[str] = set()
    reviewed: set[str] = set()
    for name in names:
        path = lists_dir / name
        if not path.is_file():
            raise InputError(f"{path}: no such list of patches to exclude; create it with one patch id per line")
        review = read_review(path)
        if review is None:
            listed.update(read_list(path))
        else:
            reviewed.update(review)
    ids = table["patch_id"]
    return (ids.isin(listed) | (ids.isin(reviewed) & (table["split"] != "test"))).to_numpy()


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
        raise InputError(
            f"split by place: {name} has no lon and lat of its patches; name a table of positions in its entry, or "
            "split by random or order"
        )
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
        found = f"{count} {split.groups}{'s' if count != 1 else ''}"
        remedy = "lower block_km" if split.groups == "block" else "set groups: block"
        raise InputError(f"split by place: {name} has {found}, but {len(SPLITS)} are needed; {remedy}")
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
    labels = np.where(sound, table["label"], -1)
    lost = dict(_lost_classes(splits, labels, classes))
    if lost and split.every_class:
        lacks = "; ".join(f"{part} has no {', '.join(classes)}" for part, classes in lost.items())
        raise InputError(
            f"split by place: {lacks}; lower block_km or buffer_km, try another seed, or leave these classes out"
        )
    if split.train is not None:
        _limit_train(splits, labels, split.train, split.method, np.random.default_rng(split.seed))
    unused = int((splits == "").sum()) - sum(left_out.values())
    return Assignment(splits, Facts(unused, {part: int((drawn == part).sum()) for part in SPLITS}, left_out))


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
        InputError: the table does not allow this split, or a split gets no patch.
    """
    match split:
        case config.Order():
            made = by_order(split, table, name)
        case config.Files():
            made = by_files(table, name)
        case config.Random():
            made = by_random(split, table, name, classes)
        case config.Place():
            made = by_place(split, table, name, classes)
    counts = {part: int((made.splits == part).sum()) for part in SPLITS}
    if empty := [part for part, count in counts.items() if not count]:
        bad = table.loc[table["problem"] != "", ["patch_id", "problem"]].to_numpy()
        if len(bad) > len(table) / 2:  # which is the reason
            raise InputError(f"{len(bad)} of {name}'s {len(table)} patches are bad: {tell(dict(bad))}; correct them")
        present = ", ".join(f"{count} {part}" for part, count in counts.items() if count) or "none"
        raise InputError(
            f"split by {split.method}: no {' and no '.join(empty)} patch among {name}'s {len(table)} ({present}); "
            f"{IF_EMPTY[split.method]}"
        )
    return made


def mix_classes(table: pd.DataFrame) -> pd.DataFrame:
    """The same patches, those of each split in a random order if they are sorted by class, as folders of classes are.

    Training that does not shuffle visits them in this order: it would learn one class after another, and end with the
    last. With folds, it visits the patches of all splits. Rows are sorted if their class changes less than a tenth as
    often as in a random order.

    Args:
        table: with columns `split` and `label`.
    """
    order = np.arange(len(table))
    for split in table["split"].unique():
        rows = np.flatnonzero(table["split"] == split)
        labels = table["label"].to_numpy()[rows]
        shares = np.unique_counts(labels).counts / len(labels)
        if np.count_nonzero(np.diff(labels)) < len(labels) * (1 - (shares**2).sum()) / 10:
            order[rows] = np.random.default_rng(0).permutation(rows)
    return table.iloc[order]


# What to do if a split has no patch, or if train lacks a class that is tested.
IF_EMPTY = {
    "order": "raise its share, or add patches",
    "random": "raise its share, or add patches",
    "place": "lower block_km or buffer_km, or try another seed",
    "files": "assign some patches to it in the dataset's files, or split with method: random",
}
IF_UNTRAINED = {
    "order": "if rows are sorted by class, split with method: random",
    "random": "raise train, lower test, or leave the class out",
    "place": "lower block_km or buffer_km, try another seed, or set every_class: true",
    "files": "correct the dataset's files, or split with method: random",
}


def warnings(split: config.Split, table: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """What makes results of this split meaningless or doubtful, worst first.

    Args:
        table: the patches that are used, with columns `split`, `label` and `tied`.
        classes: the class of each label in the table.

    Raises:
        InputError: a split that this project draws has a class in test that train lacks.
    """
    counts = {part: np.bincount(table.loc[table["split"] == part, "label"], minlength=len(classes)) for part in SPLITS}
    texts = []
    untrained = np.flatnonzero((counts["train"] == 0) & (counts["test"] > 0))
    if len(untrained):
        lacking = few([f"{readable(classes[label])} ({counts['test'][label]})" for label in untrained])
        text = (
            f"{counts['test'][untrained].sum()} of {counts['test'].sum()} test patches have classes without a train "
            f"patch, so no network can get them right: {lacking}; {IF_UNTRAINED[split.method]}"
        )
        if split.method in ("random", "place"):
            raise InputError(f"split by {split.method}: {text}")
        texts.append(text)
    tied = int(table["tied"].sum())
    if tied > len(table) / 2:
        texts.append(
            f"{tied} of {len(table)} labels are ties: two or more classes have the same share of the patch, and the "
            "first in the list of classes is taken; give shares that differ, or one class per patch"
        )
    total = sum(counts.values())
    scarce = np.flatnonzero((total > 0) & (np.minimum.reduce(list(counts.values())) == 0))
    if split.method == "random" and len(scarce):
        listed = few([f"{readable(classes[label])} ({total[label]})" for label in scarce])
        texts.append(
            f"{len(scarce)} of {np.count_nonzero(total)} classes have too few patches to be in each split: {listed}; "
            "add patches, or leave the classes out"
        )
    return texts


def leakage(patches: pd.DataFrame, patch_size: float = PATCH_SIZE) -> dict[str, dict[str, Any]] | None:
    """Count the test and val patches that have a train patch nearby, on the ground, on any date.

    Args:
        patches: columns `split`, `lon`, `lat` and `date`.
        patch_size: side in pixels of 10 m.

    Returns:
        For test and val, by the keys of places.distances and, unless no date is known, `same_ground_other_date`, the
        number of such patches and their share; None if positions are unknown.
    """
    if patches[["lon", "lat"]].isna().any(axis=None):
        return None
    train, leaks = patches[patches["split"] == "train"], {}
    distances, dated = places.distances(patch_size), (patches["date"] != "").any()
    for name in ("test", "val"):
        part = patches[patches["split"] == name]
        km = places.nearest_km(part, train, max(distances.values()))
        near = {what: km <= limit for what, limit in distances.items()}
        if dated:
            near["same_ground_other_date"] = places.has_other_date(
                part[near["same_ground"]], train, distances["same_ground"]
            )
        counts = {what: int(each.sum()) for what, each in near.items()}
        leaks[name] = {what: {"patches": count, "share": count / len(part)} for what, count in counts.items()}
    return leaks

"""The patches that are fixed, or broken, from one side of a comparison to the other: tables and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from landcover import constants
from landcover.constants import SPLITS
from landcover.data.index import load_index
from landcover.data.tensors import load_split
from landcover.errors import InputError
from landcover.evaluation import confusion
from landcover.evaluation.predictions import Predictions, complete
from landcover.evaluation.slices import ELSEWHERE, LEAST_PLACES, Slice
from landcover.report import maps, plots, sheets, verdicts

LISTED = 30  # patches listed on the page; the tables count all of them
THUMBNAILS = 12
SHEETS = {  # the column of the wrong class, and what a caption shows
    "fixed": ("before", "below each patch: its class, then the class predicted before"),
    "broken": ("after", "below each patch: its class, then the class predicted after"),
}
CHANGES = ["fixed", "broken"]

Rows = list[dict[str, Any]]


def pair(before: Predictions, after: Predictions) -> pd.DataFrame:
    """The predictions of both sides for the same patches, one row per patch, sorted by patch_id.

    Columns: `patch_id`, `actual`, `before`, `after` (classes, by the vote of the seeds), and CHANGES (bool); as far as
    they are known `place`, `lon`, `lat` and `majority_fraction`, else None.
    """
    before, after = complete(before, after)
    right, right_after = before.voted == before.actual, after.voted == after.actual
    table = {"patch_id": before.patch_ids, "actual": before.actual, "before": before.voted, "after": after.voted}
    table |= {"fixed": ~right & right_after, "broken": right & ~right_after}
    lon, lat = (None, None) if after.positions is None else after.positions.T
    known = {"place": after.places, "lon": lon, "lat": lat, "majority_fraction": after.majority_fractions}
    return pd.DataFrame(table | known)


def matrices(paired: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The confusion matrices before and after, and the classes that occur in them, WorldCover's in its order."""
    occurring = set(paired[["actual", "before", "after"]].to_numpy().ravel())
    classes = [name for name in constants.CLASSES if name in occurring] + sorted(occurring - set(constants.CLASSES))
    actual, before, after = (pd.Index(classes).get_indexer(paired[name]) for name in ("actual", "before", "after"))
    return *(confusion.confusion_matrix(actual, side, len(classes)) for side in (before, after)), classes


def by_class(paired: pd.DataFrame) -> Rows:
    """The classes with test patches, the most frequent first."""
    before, after, classes = matrices(paired)
    f1 = {
        f"F1 {when}": confusion.per_class(side, classes)["f1"] for when, side in (("before", before), ("after", after))
    }
    table = pd.DataFrame({"class": [constants.readable(name) for name in classes], "support": before.sum(1)} | f1)
    table = table[table["support"] > 0]
    return table.sort_values("support", ascending=False, kind="stable").to_dict("records")


def slice_rows(slices: Sequence[Slice]) -> Rows:
    """A table of slices: counts of patches, and the change of accuracy where it has an interval."""

    def name(one: Slice) -> str:
        if one.by == "class":
            return constants.readable(one.name)
        return f"elsewhere, in blocks with fewer than {LEAST_PLACES} places" if one.name == ELSEWHERE else one.name

    rows = [
        {
            "by": one.by,
            "slice": name(one),
            "patches": one.patches,
            "places": one.places,
            "fixed": one.fixed,
            "broken": one.broken,
            "accuracy, after minus before (95% interval)": verdicts.change(one.verdict) if one.verdict else None,
            "p, by Holm": None if one.p is None else verdicts.p_value(one.p).removeprefix("p = ").removeprefix("p "),
        }
        for one in slices
    ]
    known = any(one.places for one in slices)
    return [{key: value for key, value in row.items() if known or key != "places"} for row in rows]


def purest(paired: pd.DataFrame, change: str) -> pd.DataFrame:
    """The rows of the patches that are 'fixed' or 'broken', the purest first."""
    return paired[paired[change]].sort_values("majority_fraction", ascending=False, kind="stable")


def listed(paired: pd.DataFrame, change: str) -> tuple[int, Rows]:
    """The number of patches that are 'fixed' or 'broken', and rows for the purest of them."""
    patches = purest(paired, change)
    pure = paired["majority_fraction"].isna().any() or (paired["majority_fraction"] == 1).all()
    rows = [
        {"patch": f"`{patch['patch_id']}`"}
        | {column: constants.readable(patch[column]) for column in ("actual", "before", "after")}
        | ({} if pure else {"purity": patch["majority_fraction"]})
        for patch in patches.head(LISTED).to_dict("records")
    ]
    return len(patches), rows


def draw_sheets(
    paired: pd.DataFrame, folder: Path, tensors_dir: Path, colours: Mapping[str, str], *, synthetic: bool
) -> dict[str, str]:
    """Draw the fixed and the broken patches, and return links to the pictures; none where the tensors are not here."""
    try:
        index, split = load_index(tensors_dir, *SPLITS), load_split(tensors_dir, *SPLITS, gigabytes=0)
    except (FileNotFoundError, InputError):
        return {}  # a clone that has not pulled the data gets a page without pictures of patches
    if not set(paired["patch_id"]) <= set(index.patch_ids):
        return {}
    rows = {patch_id: row for row, patch_id in enumerate(index.patch_ids)}
    *_, classes = matrices(paired)
    links = {}
    for change, (wrong, caption) in SHEETS.items():
        patches = purest(paired, change)
        shown = patches.head(THUMBNAILS)
        if len(shown):
            names = shown[["actual", wrong]].to_numpy().tolist()
            images = split.images[shown["patch_id"].map(rows).to_numpy()]
            title = f"{change.capitalize()}: {len(shown)} of {len(patches)} patches, the purest"
            content = (images, split.bands, classes, names, title, caption)
            options = {"metres_per_pixel": split.metres_per_pixel, "colours": colours}
            plots.draw(folder / f"{change}.png", synthetic, sheets.sheet, *content, **options)
            links[change] = f"{quote(folder.name)}/{change}.png"
    return links


def draw_map(paired: pd.DataFrame, folder: Path, *, synthetic: bool) -> str | None:
    """Draw where patches were fixed and broken, and return a link to the picture; None if positions are unknown."""
    if paired["lon"].isna().all() or not paired[CHANGES].any(axis=None):
        return None
    plots.draw(folder / "changes.png", synthetic, maps.changes, paired)
    return f"{quote(folder.name)}/changes.png"

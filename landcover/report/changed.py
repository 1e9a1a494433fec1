"""The test patches that are fixed, or broken, from one single run to another: tables and pictures."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from landcover import constants
from landcover.data.index import load_index
from landcover.data.tensors import load_split
from landcover.errors import InputError
from landcover.evaluation import confusion, results
from landcover.evaluation.predictions import Predictions
from landcover.report import plots, sheets

LISTED = 30  # patches listed on the page; the tables count all of them
THUMBNAILS = 12
SHEETS = {  # the column of the wrong class, and what a caption shows
    "fixed": ("before", "below each patch: its class, then the class predicted before"),
    "broken": ("after", "below each patch: its class, then the class predicted after"),
}
COUNTS = ["correct before", "correct after", "fixed", "broken"]

Rows = list[dict[str, Any]]


def pair(before: Predictions, after: Predictions) -> pd.DataFrame:
    """The predictions of two single runs for the same patches, one row per patch, sorted by patch_id.

    Columns: `patch_id`, `actual`, `before`, `after` (classes), and COUNTS (bool).
    """
    (one,), (other,) = before.predicted, after.predicted
    right, right_after = one == before.actual, other == before.actual
    columns = {"patch_id": before.patch_ids, "actual": before.actual, "before": one, "after": other}
    counts = (right, right_after, ~right & right_after, right & ~right_after)
    return pd.DataFrame(columns | dict(zip(COUNTS, counts, strict=True)))


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
    table = table.join(paired.groupby("actual")[COUNTS[2:]].sum().reindex(classes).reset_index(drop=True))
    table = table[table["support"] > 0].astype(dict.fromkeys(COUNTS[2:], int))
    return table.sort_values("support", ascending=False, kind="stable").to_dict("records")


def by_purity(paired: pd.DataFrame) -> Rows:
    """The ranges of the column `majority_fraction` that have patches."""
    ranges = pd.Categorical.from_codes(results.purity_range(paired["majority_fraction"]), results.PURITY_RANGES)
    groups = paired.groupby(ranges, observed=True)[COUNTS]
    table = groups.sum()
    table.insert(0, "patches", groups.size())
    return table.rename_axis("purity").reset_index().to_dict("records")


def purest(paired: pd.DataFrame, change: str) -> pd.DataFrame:
    """The rows of the patches that are 'fixed' or 'broken', the purest first."""
    return paired[paired[change]].sort_values("majority_fraction", ascending=False)


def listed(paired: pd.DataFrame, change: str) -> tuple[int, Rows]:
    """The number of patches that are 'fixed' or 'broken', and rows for the purest of them."""
    patches = purest(paired, change)
    rows = [
        {"patch": f"`{patch['patch_id']}`"}
        | {column: constants.readable(patch[column]) for column in ("actual", "before", "after")}
        | {"purity": patch["majority_fraction"]}
        for patch in patches.head(LISTED).to_dict("records")
    ]
    return len(patches), rows


def draw_sheets(paired: pd.DataFrame, folder: Path, tensors_dir: Path, *, synthetic: bool) -> dict[str, str]:
    """Draw the fixed and the broken patches, and return links to the pictures; none where the tensors are not here."""
    try:
        index, split = load_index(tensors_dir, "test"), load_split(tensors_dir, "test", gigabytes=0)
    except (FileNotFoundError, InputError):
        return {}  # a clone that has not pulled the data gets a page without pictures of patches
    if set(index.patch_ids) != set(paired["patch_id"]):
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
            title = f"{change.capitalize()}: {len(patches)} patches, purest first"
            content = (images, split.bands, classes, names, title, caption)
            plots.draw(
                folder / f"{change}.png", synthetic, sheets.sheet, *content, metres_per_pixel=split.metres_per_pixel
            )
            links[change] = f"{quote(folder.name)}/{change}.png"
    return links

"""The comparison page and its pictures."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from landcover import constants, files
from landcover.data.index import load_index
from landcover.data.tensors import load_split
from landcover.errors import InputError, redact
from landcover.evaluation import confusion, metrics
from landcover.evaluation.predictions import BASELINES, Predictions
from landcover.evaluation.scores import LOWER_IS_BETTER
from landcover.evaluation.sides import Side, flatten, grown_leakage, stale_parameters
from landcover.report import markdown, plots, sheets

PICTURES = {
    "confusion_matrix_normalized.png": "Confusion matrix",
    "reliability.png": "Reliability",
    "errors.png": "Most confident errors",
}
WIDE = ("errors.png",)  # one below the other, since two side by side would not fit a page
METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "nll": "negative log-likelihood of the test patches (nats)",
    "brier": "Brier score",
}
LISTED = 30  # changed patches listed on the page; the tables count all of them
THUMBNAILS = 12
SHEETS = {  # the column of the wrong class, and what a caption shows
    "fixed": ("predicted", "below each patch: its class, then the class predicted before"),
    "broken": ("after", "below each patch: its class, then the class predicted after"),
}
CURVES = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")  # columns of history.csv
FEW_PLACES = 10  # with fewer, an interval over places is rough

Rows = list[dict[str, Any]]
Compared = dict[str, Any]  # as judgement.comparison.compare returns


def verdict(compared: Compared) -> str:
    """The first line of the page."""
    places = f" in {compared['places']} places" if compared["places"] else ""
    patches = f"the same {compared['patches']} test patches{places}"
    if compared["verdict"] == "no difference":
        return f"**No difference**: every prediction is the same, on {patches}."
    found, name = compared["metrics"][compared["metric"]], compared["metric"]
    if name in ("accuracy", "macro_f1"):
        change = markdown.points(found["difference"], found["low"], found["high"])
    else:
        change = f"{found['difference']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"
    what = f"{METRICS[name]} {change}, 95% interval, {markdown.p_value(found['p'])}, on {patches}"
    before, after = compared["seeds"].values()
    if compared["scope"] == "two runs":
        scope = "This verdict is about these two runs, not the two configurations: other seeds may reverse it."
    else:
        runs = [f"{count} seeds" if count > 1 else "one run" for count in (before, after)]
        scope = f"Means over {runs[0]} before and {runs[1]} after; the interval includes the variation between seeds."
    return f"**{compared['verdict'].capitalize()}**: {what}. {scope}"


def _warnings(compared: Compared) -> list[str]:
    """What limits how far the verdict can be trusted."""
    told, places = [], compared["places"]
    if places == 1:
        told.append("All test patches lie in one place. The intervals apply to this place only.")
    elif places is not None and places < FEW_PLACES:
        told.append(
            f"The test patches lie in only {places} places. The intervals allow for this and are wide; adding places "
            "would narrow them more than adding patches."
        )
    if 1 in (counts := compared["seeds"].values()) and max(counts) > 1:
        told.append("One side has a single run. It is assumed to vary between seeds as much as the other side does.")
    for name in compared["losses"]:
        if name != compared["metric"]:
            told.append(f"The {METRICS[name]} is significantly worse.")
    return told


def _metric_rows(compared: Compared) -> Rows:
    return [
        {
            "test metric": METRICS[name] + (", lower is better" if name in LOWER_IS_BETTER else ""),
            "before": found["before"],
            "after": found["after"],
            "change": f"{found['difference']:+.3f}",
            "95% interval": f"{found['low']:+.3f} to {found['high']:+.3f}",
            "p": markdown.p_value(found["p"]).removeprefix("p = ").removeprefix("p "),
            "verdict": found["verdict"],
        }
        for name, found in compared["metrics"].items()
    ]


def _calibration_rows(base: Side, head: Side) -> Rows:
    """The calibration error of the single runs, and how much of it is chance."""
    rows = []
    for when, side in (("before", base), ("after", head)):
        test = side.metrics["test"]
        by_chance = test.get("ece_by_chance", {})
        rows.append(
            {
                "expected calibration error (ECE)": when,
                "single run": test["ece"],
                "by chance, on average": by_chance.get("mean"),
                "by chance, exceeded in one case in twenty": by_chance.get("high"),
            }
        )
    return rows


def _baseline_rows(against: dict[str, dict[str, Any]]) -> Rows:
    """Each side compared with the baselines, from `against_baselines` by 'before' and 'after'."""

    def text(found: dict[str, Any] | None) -> str | None:
        if found is None:
            return None
        return f"{found['verdict']}: {markdown.points(found['difference'], found['low'], found['high'])}"

    return [
        {"accuracy compared with": words} | {when: text(found.get(name)) for when, found in against.items()}
        for name, words in BASELINES.items()
        if any(name in found for found in against.values())
    ]


def _below_baseline(against: dict[str, dict[str, Any]]) -> list[str]:
    """The baselines that the head is significantly worse than."""
    return [BASELINES[name] for name, found in against["after"].items() if found["verdict"] == "worse"]


def _seed_rows(before: Predictions, after: Predictions) -> Rows:
    """The accuracy of each seed."""

    def by_seed(side: Predictions) -> pd.Series:
        return pd.Series((side.predicted == side.actual).mean(1), index=[str(seed) for seed in side.seeds])

    sides = {"before": by_seed(before), "after": by_seed(after)}
    seeds = dict.fromkeys([*sides["before"].index, *sides["after"].index])
    rows = [{"seed": seed} | {when: side.get(seed) for when, side in sides.items()} for seed in seeds]
    rows.append({"seed": "**mean**"} | {when: side.mean() for when, side in sides.items()})
    return [*rows, {"seed": "standard deviation"} | {when: side.std() for when, side in sides.items()}]


def _changes(base: Side, head: Side) -> dict[str, Any]:
    """The parameters that differ, the stages that ran again, and what both networks cost."""
    before, after = flatten(base.params), flatten(head.params)

    def code(params: dict[str, Any], key: str) -> str:
        return f"`{redact(str(params.get(key, '-')))}`"

    stages = [side.lock["stages"] for side in (base, head)]
    reran = [name for name in stages[1] if stages[0].get(name) != stages[1][name]]
    return {
        "parameters": [
            {"parameter": f"`{key}`", "before": code(before, key), "after": code(after, key)}
            for key in sorted(before | after)
            if key not in before or key not in after or before[key] != after[key]
        ],
        "reran": reran + [f"{name} (removed)" for name in stages[0] if name not in stages[1]],
        "costs": [
            {"cost": name} | {when: side.metrics.get("model", {}).get(name)
                              for when, side in (("before", base), ("after", head))}
            for name in ("parameters", "epochs", "device")
        ],
    }  # fmt: skip


def _both(before: Predictions, after: Predictions) -> pd.DataFrame:
    """The predictions of two single runs, with `fixed` and `broken`; one row per test patch."""
    (one,), (other,) = before.predicted, after.predicted
    both = pd.DataFrame({"patch_id": before.patch_ids, "actual": before.actual, "predicted": one, "after": other})
    right, right_after = both["actual"] == both["predicted"], both["actual"] == both["after"]
    return both.assign(right=right, right_after=right_after, fixed=~right & right_after, broken=right & ~right_after)


def _matrices(both: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The confusion matrices before and after, and the classes that occur in them, WorldCover's in its order."""
    found = set(both[["actual", "predicted", "after"]].to_numpy().ravel())
    classes = [name for name in constants.CLASSES if name in found] + sorted(found - set(constants.CLASSES))
    actual, before, after = (pd.Index(classes).get_indexer(both[name]) for name in ("actual", "predicted", "after"))
    matrices = [confusion.confusion_matrix(actual, side, len(classes)) for side in (before, after)]
    return *matrices, classes


def _by_class(both: pd.DataFrame) -> Rows:
    *matrices, classes = _matrices(both)
    f1 = [dict(zip(classes, confusion.class_f1(matrix), strict=True)) for matrix in matrices]
    sums = both.groupby("actual").agg(support=("fixed", "size"), fixed=("fixed", "sum"), broken=("broken", "sum"))
    rows = [
        {
            "class": constants.readable(name),
            "support": int(sums.loc[name, "support"]),
            "F1 before": float(f1[0][name]),
            "F1 after": float(f1[1][name]),
            "fixed": int(sums.loc[name, "fixed"]),
            "broken": int(sums.loc[name, "broken"]),
        }
        for name in classes
        if name in sums.index
    ]
    return sorted(rows, key=lambda row: -row["support"])


def _by_purity(both: pd.DataFrame) -> Rows:
    purity = pd.Categorical.from_codes(metrics.purity_range(both["majority_fraction"]), metrics.PURITY_RANGES)
    return [
        {
            "purity": name,
            "patches": len(part),
            "correct before": int(part["right"].sum()),
            "correct after": int(part["right_after"].sum()),
            "fixed": int(part["fixed"].sum()),
            "broken": int(part["broken"].sum()),
        }
        for name, part in both.groupby(purity, observed=True)
    ]


def _listed(both: pd.DataFrame, what: str) -> tuple[int, Rows]:
    """The number of patches fixed or broken, and rows for the purest of them."""
    chosen = both[both[what]].sort_values("majority_fraction", ascending=False)
    rows = [
        {
            "patch": f"`{patch.patch_id}`",
            "actual": constants.readable(patch.actual),
            "before": constants.readable(patch.predicted),
            "after": constants.readable(patch.after),
            "purity": patch.majority_fraction,
        }
        for patch in chosen.head(LISTED).itertuples()
    ]
    return len(chosen), rows


def _draw_sheets(
    both: pd.DataFrame, classes: list[str], folder: Path, tensors_dir: Path, *, synthetic: bool
) -> dict[str, str]:
    """Draw the fixed and broken patches if the tensors of this test split are here; return the pictures' paths."""
    try:
        index, split = load_index(tensors_dir, "test"), load_split(tensors_dir, "test", gigabytes=0)
    except (FileNotFoundError, InputError):
        return {}  # a clone that has not pulled the data gets a page without pictures of patches
    if set(index.patch_ids) != set(both["patch_id"]):
        return {}
    rows = {patch_id: row for row, patch_id in enumerate(index.patch_ids)}
    found = {}
    for what, (wrong, told) in SHEETS.items():
        shown = both[both[what]].sort_values("majority_fraction", ascending=False).head(THUMBNAILS)
        if len(shown):
            captions = shown[["actual", wrong]].to_numpy().tolist()
            images = split.images[shown["patch_id"].map(rows).to_numpy()]
            title = f"{what.capitalize()}: {both[what].sum()} patches, purest first"
            content = (images, split.bands, classes, captions, title, told)
            plots.draw(folder / f"{what}.png", synthetic, sheets.sheet, *content)
            found[what] = f"{quote(folder.name)}/{what}.png"
    return found


def _draw_curves(base: Side, head: Side, folder: Path, *, synthetic: bool) -> str | None:
    """Draw both revisions' learning curves on the same axes, if both have a history; return the picture's path."""
    path, histories = folder / "learning_curves.png", []
    for side in (base, head):
        if not side.revision.has("reports/history.csv"):
            return None
        histories.append(side.revision.csv("reports/history.csv"))
        if not set(CURVES) <= set(histories[-1]):
            return None
    before, after = histories
    plots.draw(path, synthetic, plots.learning_curves, after, before)
    return f"{quote(folder.name)}/{path.name}"


def _synthetic(side: Side) -> bool:
    """Whether this project generated the side's data."""
    match side.params:
        case {"dataset": str(name), "datasets": dict(entries)}:
            entry = entries.get(name)
            return isinstance(entry, dict) and entry.get("source") in constants.SAMPLES
    return False


def _copy_pictures(base: Side, head: Side, folder: Path) -> Rows:
    """Copy both revisions' own pictures to the folder; `title`, `wide`, and paths `before` and `after`, or None."""
    found = []
    for name, title in PICTURES.items():
        paths: dict[str, Any] = {"title": title, "wide": name in WIDE}
        for when, side in (("before", base), ("after", head)):
            path = folder / f"{when}_{name}"
            paths[when] = None
            if side.revision.has(f"reports/{name}"):
                with files.replacing(path) as part:
                    part.write_bytes(side.revision.read(f"reports/{name}"))
                paths[when] = f"{quote(folder.name)}/{path.name}"
        found.append(paths)
    return found


def _common(base: Side, head: Side) -> dict[str, Any]:
    """What a reader must know before the figures, whether comparable or not."""
    return {
        "base": str(base.revision),
        "head": str(head.revision),
        "synthetic": _synthetic(base) or _synthetic(head),
        "stale": {str(side.revision): names for side in (base, head) if (names := stale_parameters(side))},
        "leaks": grown_leakage(base, head),
        "other_training_data": base.data["labels_sha256"]["train"] != head.data["labels_sha256"]["train"],
        **_changes(base, head),
    }


def not_comparable(reasons: list[str]) -> str:
    """The first line of a page without a verdict."""
    return f"**Not comparable**: {'; '.join(reasons)}. No verdict is given."


def incomparable_page(reasons: list[str], base: Side, head: Side) -> str:
    """The page for two sides whose test figures cannot be compared."""
    scores = [
        {"test metric": name, "before": base.metrics["test"].get(name), "after": head.metrics["test"].get(name)}
        for name in ("accuracy", "macro_f1", "nll", "n")
    ]
    return markdown.render("incomparable.md", verdict=not_comparable(reasons), scores=scores, **_common(base, head))


def tables_page(compared: Compared, names: tuple[str, str], before: Predictions, after: Predictions) -> str:
    """The page for two tables of predictions, without pictures."""
    classes = []
    if compared["scope"] == "two runs":
        classes = _by_class(_both(before, after))
    return markdown.render(
        "tables.md",
        names=names,
        verdict=verdict(compared),
        cautions=_warnings(compared),
        metric_rows=_metric_rows(compared),
        seed_rows=_seed_rows(before, after) if compared["scope"] == "configurations" else [],
        class_rows=classes,
    )


def comparison_page(compared: Compared, base: Side, head: Side, folder: Path, tensors_dir: Path) -> str:
    """The page for two comparable sides; its pictures are written to `folder`.

    Args:
        compared: with `baselines` by 'before' and 'after', as `against_baselines` returns them.
    """
    against = compared["baselines"]
    both = _both(base.run, head.run).assign(majority_fraction=base.table["majority_fraction"])
    *matrices, classes = _matrices(both)
    common = _common(base, head)
    path = folder / "confusion_difference.png"
    plots.draw(path, common["synthetic"], plots.confusion_difference, *matrices, classes)
    seeds = compared["scope"] == "configurations"
    return markdown.render(
        "comparison.md",
        verdict=verdict(compared),
        cautions=_warnings(compared),
        below=_below_baseline(against),
        without_seeds=not seeds and compared["verdict"] != "no difference",
        epochs=head.metrics.get("model", {}).get("epochs"),
        decided_by=METRICS[compared["metric"]],
        metric_rows=_metric_rows(compared),
        calibration_rows=_calibration_rows(base, head),
        baseline_rows=_baseline_rows(against),
        seeds=seeds,
        seed_rows=_seed_rows(base.predictions, head.predictions) if seeds else [],
        class_rows=_by_class(both),
        purity_rows=_by_purity(both),
        changed={what: _listed(both, what) for what in ("fixed", "broken")},
        sheets=_draw_sheets(both, classes, folder, tensors_dir, synthetic=common["synthetic"]),
        confusion_difference=f"{quote(folder.name)}/confusion_difference.png",
        curves=_draw_curves(base, head, folder, synthetic=common["synthetic"]),
        pictures=_copy_pictures(base, head, folder),
        **common,
    )

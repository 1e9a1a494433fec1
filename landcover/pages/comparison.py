"""The page of a comparison, and its pictures."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from landcover.dataset.index import load_index
from landcover.dataset.tensors import load_split
from landcover.ground import benge, files
from landcover.ground.errors import InputError
from landcover.judgement import confusion, metrics
from landcover.judgement.predictions import LABELS, to_labels
from landcover.judgement.sides import (
    METRICS,
    Side,
    by_seeds,
    compare,
    equal,
    flatten,
    grown_leakage,
    seed_labels,
    stale_parameters,
)
from landcover.judgement.verdict import judge
from landcover.pages import markdown, plots

PICTURES = {
    "confusion_matrix_normalized.png": "Confusion matrix",
    "learning_curves.png": "Learning curves",
    "reliability.png": "Reliability",
    "errors.png": "The most confident errors",
}
LISTED = 30  # changed patches that the page lists; the tables count them all
THUMBNAILS = 15

Rows = list[dict[str, Any]]
Compared = dict[str, dict[str, float]]


def verdict(compared: Compared, base: Side, head: Side) -> str:
    """The first line of the page."""
    leaked = " **Leakage grew**, see below." if grown_leakage(base, head) else ""
    if equal(base, head):
        return f"**No difference**: every prediction is the same.{leaked}"
    found = compared["accuracy"]
    if by_seeds(base, head):
        before, after = (side.seeds["seed"].nunique() for side in (base, head))
        test = f"means over {before} seeds before and {after} after, whose noise is in the interval"
    else:
        test = f"McNemar's exact test, {markdown.p_value(found['p'])}"
    points = markdown.points(found["difference"], found["low"], found["high"])
    name = judge(found).capitalize()
    patches = f"over the same {len(base.predictions)} test patches"
    return f"**{name}**: accuracy {points}, 95 % interval, {patches}; {test}.{leaked}"


def _matrix(side: Side) -> np.ndarray:
    actual, predicted = (to_labels(side.predictions[column]) for column in ("actual", "predicted"))
    return confusion.confusion_matrix(actual, predicted, len(LABELS))


def _metric_rows(compared: Compared, base: Side, head: Side) -> Rows:
    def row(name: str, before: float, after: float, found: dict[str, float] | None) -> dict[str, Any]:
        interval = f"{found['low']:+.3f} to {found['high']:+.3f}" if found else None
        change = f"{after - before:+.3f}"
        return {"test metric": name, "before": before, "after": after, "change": change, "95 % interval": interval}

    rows, single = [], compared
    if by_seeds(base, head):
        single = compare(base._replace(seeds=None), head._replace(seeds=None))
        labels = to_labels(base.predictions["actual"])
        for name, metric in (("accuracy", confusion.accuracy), ("macro_f1", confusion.macro_f1)):
            before, after = (
                np.mean([metric(confusion.confusion_matrix(labels, one, len(LABELS))) for one in seed_labels(side)])
                for side in (base, head)
            )
            rows.append(row(f"**{name}, mean over seeds**", before, after, compared[name]))
    for name in METRICS:
        rows.append(row(name, *(side.metrics["test"][name] for side in (base, head)), single.get(name)))
    return rows


def _seed_rows(base: Side, head: Side) -> Rows:
    def signed(value: float) -> str | None:
        return None if np.isnan(value) else f"{value:+.3f}"

    labels = to_labels(base.predictions["actual"])
    before, after = (
        pd.Series((seed_labels(side) == labels).mean(1), index=np.sort(side.seeds["seed"].unique()))
        for side in (base, head)
    )
    rows = [
        {"seed": str(seed), "before": row.before, "after": row.after, "change": signed(row.after - row.before)}
        for seed, row in pd.DataFrame({"before": before, "after": after}).iterrows()
    ]
    rows.append({"seed": "**mean**", "before": before.mean(), "after": after.mean(),
                 "change": signed(after.mean() - before.mean())})  # fmt: skip
    paired = (after - before).dropna()  # of the seeds that both sides have
    spread = f"{paired.std():.3f}" if len(paired) > 1 else None
    rows.append({"seed": "standard deviation", "before": before.std(), "after": after.std(), "change": spread})
    return rows


def _changes(base: Side, head: Side) -> dict[str, Any]:
    """The parameters that differ, the stages that reran, and what both networks cost."""
    before, after = flatten(base.params), flatten(head.params)
    stages = [side.lock["stages"] for side in (base, head)]
    reran = [name for name in stages[1] if stages[0].get(name) != stages[1][name]]
    return {
        "parameters": [
            {"parameter": f"`{key}`", "before": f"`{before.get(key, '-')}`", "after": f"`{after.get(key, '-')}`"}
            for key in sorted(before | after)
            if key not in before or key not in after or before[key] != after[key]
        ],
        "reran": reran + [f"{name} (removed)" for name in stages[0] if name not in stages[1]],
        "costs": [
            {"cost": name} | {when: side.metrics.get("model", {}).get(name)
                              for when, side in (("before", base), ("after", head))}
            for name in ("parameters", "epochs")
        ],
    }  # fmt: skip


def _both(base: Side, head: Side) -> pd.DataFrame:
    """The predictions of both sides, with `fixed` and `broken`; a row a test patch."""
    both = base.predictions.assign(after=head.predictions["predicted"])
    right, right_after = both["actual"] == both["predicted"], both["actual"] == both["after"]
    return both.assign(right=right, right_after=right_after, fixed=~right & right_after, broken=right & ~right_after)


def _by_class(both: pd.DataFrame, base: Side, head: Side) -> Rows:
    before, after = (confusion.class_f1(_matrix(side)) for side in (base, head))
    sums = both.groupby("actual").agg(support=("fixed", "size"), fixed=("fixed", "sum"), broken=("broken", "sum"))
    rows = [
        {
            "class": benge.readable(name),
            "support": int(sums.loc[name, "support"]),
            "F1 before": float(before[label]),
            "F1 after": float(after[label]),
            "fixed": int(sums.loc[name, "fixed"]),
            "broken": int(sums.loc[name, "broken"]),
        }
        for name, label in LABELS.items()
        if name in sums.index
    ]
    return sorted(rows, key=lambda row: -row["support"])


def _by_purity(both: pd.DataFrame) -> Rows:
    purity = pd.Categorical.from_codes(metrics.purity_range(both["majority_fraction"]), metrics.PURITY_RANGES)
    return [
        {
            "purity": name,
            "patches": len(part),
            "right before": int(part["right"].sum()),
            "right after": int(part["right_after"].sum()),
            "fixed": int(part["fixed"].sum()),
            "broken": int(part["broken"].sum()),
        }
        for name, part in both.groupby(purity, observed=True)
    ]


def _listed(both: pd.DataFrame, what: str) -> tuple[int, Rows]:
    """How many patches are fixed, or broken, and rows of the purest of them."""
    chosen = both[both[what]].sort_values("majority_fraction", ascending=False)
    rows = [
        {
            "patch": f"`{patch.patch_id}`",
            "actual": benge.readable(patch.actual),
            "before": benge.readable(patch.predicted),
            "after": benge.readable(patch.after),
            "purity": patch.majority_fraction,
        }
        for patch in chosen.head(LISTED).itertuples()
    ]
    return len(chosen), rows


def _draw_sheets(both: pd.DataFrame, folder: Path, tensors_dir: Path) -> dict[str, str]:
    """Draw the patches fixed and broken, if the tensors of this test split lie here; their paths by what they are."""
    try:
        index, split = load_index(tensors_dir, "test"), load_split(tensors_dir, "test", gigabytes=0)
    except (FileNotFoundError, InputError):
        return {}  # in a clone that has not pulled the data, the page goes without pictures of patches
    if set(index.patch_ids) != set(both["patch_id"]):
        return {}
    rows = {patch_id: row for row, patch_id in enumerate(index.patch_ids)}
    sheets = {}
    for what in ("fixed", "broken"):
        shown = both[both[what]].sort_values("majority_fraction", ascending=False).head(THUMBNAILS)
        if len(shown):
            captions = [
                f"is {benge.readable(patch.actual)} ({patch.majority_fraction:.0%})\n"
                f"was taken for {benge.readable(patch.predicted)}\nnow for {benge.readable(patch.after)}"
                for patch in shown.itertuples()
            ]
            images = split.images[shown["patch_id"].map(rows).to_numpy()]
            figure = plots.patches(images, split.bands, captions, f"{what.capitalize()} patches")
            plots.save(figure, folder / f"{what}.png")
            sheets[what] = f"{quote(folder.name)}/{what}.png"
    return sheets


def _copy_pictures(base: Side, head: Side, folder: Path) -> list[dict[str, str | None]]:
    """Both revisions' own pictures, copied to the folder: `title`, and the paths `before` and `after` or None."""
    found = []
    for name, title in PICTURES.items():
        paths: dict[str, str | None] = {}
        for when, side in (("before", base), ("after", head)):
            path = folder / f"{when}_{name}"
            paths[when] = None
            if side.revision.has(f"reports/{name}"):
                with files.replacing(path) as part:
                    part.write_bytes(side.revision.read(f"reports/{name}"))
                paths[when] = f"{quote(folder.name)}/{path.name}"
        found.append({"title": title} | paths)
    return found


def _common(base: Side, head: Side) -> dict[str, Any]:
    """What a reader must know before the figures, comparable or not."""
    return {
        "base": str(base.revision),
        "head": str(head.revision),
        "stale": {str(side.revision): names for side in (base, head) if (names := stale_parameters(side))},
        "leaks": grown_leakage(base, head),
        "other_training_data": base.data["labels_sha256"]["train"] != head.data["labels_sha256"]["train"],
        **_changes(base, head),
    }


def incomparable_page(reasons: list[str], base: Side, head: Side) -> str:
    """The page of two sides whose test figures cannot be compared."""
    scores = [
        {"test metric": name, "before": base.metrics["test"][name], "after": head.metrics["test"][name]}
        for name in ("accuracy", "macro_f1", "nll", "n")
    ]
    return markdown.render("incomparable.md", reasons=reasons, scores=scores, **_common(base, head))


def comparison_page(compared: Compared, base: Side, head: Side, folder: Path, tensors_dir: Path) -> str:
    """The page of two comparable sides; its pictures are written to `folder`."""
    both = _both(base, head)
    difference = plots.confusion_difference(_matrix(base), _matrix(head), benge.CLASSES)
    plots.save(difference, folder / "confusion_difference.png")
    seeds = by_seeds(base, head)
    return markdown.render(
        "comparison.md",
        verdict=verdict(compared, base, head),
        seeds=seeds,
        without_seeds=[str(side.revision) for side in (base, head) if side.seeds is None and not equal(base, head)],
        metric_rows=_metric_rows(compared, base, head),
        seed_rows=_seed_rows(base, head) if seeds else [],
        class_rows=_by_class(both, base, head),
        purity_rows=_by_purity(both),
        changed={what: _listed(both, what) for what in ("fixed", "broken")},
        sheets=_draw_sheets(both, folder, tensors_dir),
        confusion_difference=f"{quote(folder.name)}/confusion_difference.png",
        pictures=_copy_pictures(base, head, folder),
        **_common(base, head),
    )

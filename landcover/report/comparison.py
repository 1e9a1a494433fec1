"""The comparison page and its pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from landcover import files
from landcover.errors import redact
from landcover.evaluation.comparison import Answer, Comparison, Verdict
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.planning import POWER
from landcover.evaluation.predictions import BASELINE_LABELS, Predictions
from landcover.evaluation.reports import Paired, Reports, grown_leakage, stale
from landcover.evaluation.slices import LEAST_PLACES, slices
from landcover.evaluation.staleness import flatten
from landcover.report import changed, markdown, plots
from landcover.report.changed import Rows
from landcover.report.gate import Gate
from landcover.report.palette import class_colours
from landcover.report.verdicts import (
    answer,
    change,
    direction,
    evidence,
    largest_loss,
    p_value,
    plan_rows,
    power,
)

PICTURES = {
    "confusion_matrix_normalized.png": "Confusion matrix",
    "reliability.png": "Reliability",
    "errors.png": "Most confident errors",
}
WIDE = ("errors.png",)  # one below the other, since two side by side would not fit a page
CURVES = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")  # columns of history.csv
FEW_PLACES = 10  # with fewer, an interval over places is rough


def verdict_lines(compared: Comparison, note: str | None = None) -> str:
    """The verdict, which is the first line of the page, and below it its evidence and what the test can detect.

    Args:
        note: why these patches are compared and not others.
    """
    patches = f"the same {compared.patches} {'' if compared.folds else 'test '}patches"
    patches += f" in {compared.places} place{'s' * (compared.places > 1)}" if compared.places else ""
    patches += f", tested in {compared.folds} folds" if compared.folds else ""
    if compared.verdict == Answer.SAME:
        return f"**No difference**: every prediction is the same, on {patches}."
    decisive = compared.decisive
    what = f"{METRICS[compared.metric].label} {change(decisive)}, 95% interval, {p_value(decisive.p)}"
    before, after = (f"{count} seeds" if count > 1 else "one run" for count in compared.seeds.values())
    if compared.folds:
        counts = {count * compared.folds for count in compared.seeds.values()}
        networks = f"by {' and '.join(map(str, sorted(counts)))} networks" + " on each side" * (len(counts) == 1)
        ground = " on new ground" if compared.whole_places else ""
        scope = f"This verdict is about the configurations{ground}, {networks}, not about a model file."
    elif compared.scope == "two runs":
        scope = "This verdict is about these two runs, not the two configurations: other seeds may reverse it."
    else:
        scope = f"Means over {before} before and {after} after; the interval includes the variation between seeds."
    words = answer(decisive)
    doubt = f" A loss of up to {largest_loss(decisive)} is not ruled out." * (compared.verdict == Answer.UNDECIDED)
    lines = [f"**{words[0].upper()}{words[1:]}**: {what}, on {patches}.{doubt} {scope}", evidence(decisive)]
    if decisive.standard_error and compared.verdict in (Answer.UNDECIDED, Answer.NOT_WORSE):
        lines.append(power(decisive))
    return "\n\n".join([*lines, *([note] if note else [])])


def gate_lines(gate: Gate) -> str:
    """The gate's word, which comes before all else where it is asked for."""
    notes = " ".join(f"{note[:1].upper()}{note[1:]}." for note in gate.notes)
    word = f"**Gate: {'passed' if gate.passed else 'failed'}**, {gate.reason}."
    return f"{word}\n\n{notes}" if notes else word


def stale_line(stale: Sequence[str]) -> str:
    """The first line of a page on reports that are not of their revision."""
    return f"**Stale**: {'; '.join(stale)}. No verdict is given: run `dvc repro` there."


def _cautions(compared: Comparison, *, same_target: bool = True) -> list[str]:
    """What limits how far the verdict can be trusted."""
    cautions, places, seeds = [], compared.places, compared.seeds.values()
    if not same_target:
        cautions.append(
            "One side was trained on the largest class, the other on shares (`train.target`). Likelihoods and "
            "calibration errors of labels do not compare; accuracy, cross-entropy to the shares and their root mean "
            "squared error do."
        )
    if compared.folds and not compared.whole_places:
        why = "Where the patches lie is not known" if places is None else "Places lie in several folds"
        cautions.append(
            f"{why}, so neighbours may be in different folds: a network is then tested beside the patches that it was "
            "trained on. This flatters both sides, and nothing is said about new ground."
        )
    if places == 1:
        cautions.append("All test patches lie in one place. The intervals apply to this place only.")
    elif places is not None and places < FEW_PLACES:
        cautions.append(
            f"The test patches lie in only {places} places. The intervals allow for this and are wide; adding places "
            "would narrow them more than adding patches."
        )
    if min(seeds) == 1 < max(seeds):
        cautions.append("One side has a single seed. It is assumed to vary as much between seeds as the other does.")
    losses = [METRICS[name].label for name in compared.losses if name != compared.metric]
    return cautions + [f"The {label} is worse." for label in losses]


def _metric_rows(compared: Comparison) -> Rows:
    return [
        {
            "metric": direction(METRICS[name]),
            "before": one.before,
            "after": one.after,
            "change": f"{one.difference:+.3f}",
            "95% interval": f"{one.low:+.3f} to {one.high:+.3f}",
            "p": p_value(one.p).removeprefix("p = ").removeprefix("p "),
            "verdict": answer(one),
        }
        for name, one in compared.metrics.items()
    ]


def _calibration_rows(base: Reports, head: Reports) -> Rows:
    """The calibration error of the single runs, and how much of it is chance."""
    return [
        {
            "expected calibration error (ECE)": when,
            "single run": test["ece"],
            "by chance, on average": test.get("ece_by_chance", {}).get("mean"),
            "by chance, exceeded in one case in twenty": test.get("ece_by_chance", {}).get("high"),
        }
        for when, test in (("before", base.metrics["test"]), ("after", head.metrics["test"]))
    ]


def _baseline_rows(against: dict[str, dict[str, Verdict]]) -> Rows:
    """Each side compared with the baselines; `against` has the verdicts by 'before' and 'after'."""
    return [
        {"accuracy compared with": words}
        | {when: f"{answer(one)}: {change(one)}" if (one := of.get(name)) else None for when, of in against.items()}
        for name, words in BASELINE_LABELS.items()
        if any(name in verdicts for verdicts in against.values())
    ]


def _seed_rows(before: Predictions, after: Predictions) -> Rows:
    """The accuracy of each seed."""

    def by_seed(side: Predictions) -> pd.Series:
        return pd.Series((side.predicted == side.actual).mean(1), index=[str(seed) for seed in side.seeds])

    one, other = by_seed(before), by_seed(after)
    rows = [(seed, one.get(seed), other.get(seed)) for seed in dict.fromkeys([*one.index, *other.index])]
    rows += [("**mean**", one.mean(), other.mean()), ("standard deviation", one.std(), other.std())]
    return [dict(zip(("seed", "before", "after"), row, strict=True)) for row in rows]


def _fold_rows(before: Predictions, after: Predictions) -> Rows:
    """The accuracy in each fold, as a mean over seeds."""
    table = pd.DataFrame({"fold": after.folds, "places": after.places, "patches": 1})
    for when, side in (("before", before), ("after", after)):
        table[when] = (side.predicted == side.actual).mean(0)
    rows = table.groupby("fold").agg({"patches": "sum", "places": "nunique", "before": "mean", "after": "mean"})
    rows = rows.drop(columns=[] if after.places is not None else "places")
    return rows.reset_index().to_dict("records")


def _changes(base: Reports, head: Reports) -> dict[str, Any]:
    """The parameters that differ, the stages that ran again, and what both networks cost."""
    before, after = flatten(base.params), flatten(head.params)

    def code(params: dict[str, Any], key: str) -> str:
        return f"`{redact(str(params.get(key, '-')))}`"

    costs = [side.metrics.get("model", {}) for side in (base, head)]
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
            {"cost": name, "before": costs[0].get(name), "after": costs[1].get(name)}
            for name in ("parameters", "epochs", "device")
        ],
    }


def colours_of(side: Reports) -> dict[str, str]:
    """The colours of all classes of the dataset, as in the report, where some may not occur in the test split."""
    entry = side.params.get("datasets", {}).get(side.data.get("dataset"), {})
    return class_colours([row["class"] for row in side.data.get("classes", [])], entry.get("colours"))


def _draw_curves(base: Reports, head: Reports, folder: Path, *, synthetic: bool) -> str | None:
    """Draw both revisions' learning curves on the same axes, if both have a history; return the picture's path."""
    sides = [side.revision for side in (base, head)]
    if not all(side.has("reports/history.csv") for side in sides):
        return None
    before, after = (side.csv("reports/history.csv") for side in sides)
    if not set(CURVES) <= set(before) & set(after):
        return None
    path = folder / "learning_curves.png"
    plots.draw(path, synthetic, plots.learning_curves, after, before)
    return f"{quote(folder.name)}/{path.name}"


def _copy_pictures(base: Reports, head: Reports, folder: Path) -> Rows:
    """Copy both revisions' own pictures to the folder; `title`, `wide`, and paths `before` and `after`, or None."""
    pictures = []
    for name, title in PICTURES.items():
        paths: dict[str, Any] = {"title": title, "wide": name in WIDE}
        for when, side in (("before", base), ("after", head)):
            path = folder / f"{when}_{name}"
            paths[when] = None
            if side.revision.has(f"reports/{name}"):
                with files.replacing(path) as part:
                    part.write_bytes(side.revision.read(f"reports/{name}"))
                paths[when] = f"{quote(folder.name)}/{path.name}"
        pictures.append(paths)
    return pictures


def _common(base: Reports, head: Reports) -> dict[str, Any]:
    """What a reader must know before the figures, whether comparable or not."""
    return {
        "base": str(base.revision),
        "head": str(head.revision),
        "synthetic": any(side.data.get("synthetic") for side in (base, head)),
        "leaks": grown_leakage(base, head),
        "other_training_data": base.data["labels_sha256"]["train"] != head.data["labels_sha256"]["train"],
        **_changes(base, head),
    }


def not_comparable(reasons: Sequence[str]) -> str:
    """The first line of a page without a verdict."""
    return f"**Not comparable**: {'; '.join(reasons)}. No verdict is given."


def incomparable_page(
    reasons: Sequence[str],
    against: dict[str, dict[str, Verdict]],
    margin: tuple[str, Verdict] | None,
    base: Reports,
    head: Reports,
) -> str:
    """The page for two sides whose test figures cannot be compared.

    Args:
        against: each side compared with the baselines, by 'before' and 'after'.
        margin: the best common baseline, and the verdict on the difference of the sides' margins over it.
    """
    figures = {name: metric.label for name, metric in METRICS.items()} | {"n": "patches"}
    scores = [
        {"test metric": words, "before": base.metrics["test"].get(name), "after": head.metrics["test"].get(name)}
        for name, words in figures.items()
    ]
    sides = stale(base, head)
    return markdown.render(
        "incomparable.md",
        verdict=stale_line(sides) if sides else not_comparable(reasons),
        scores=scores,
        baseline_rows=_baseline_rows(against),
        margin=margin
        and {"over": BASELINE_LABELS[margin[0]], "answer": answer(margin[1]), "change": change(margin[1])},
        **_common(base, head),
    )


def _takes(compared: Comparison) -> dict[str, Any]:
    """What it takes to detect a difference, for a verdict that is undecided."""
    undecided = compared.verdict in (Answer.UNDECIDED, Answer.NOT_WORSE)
    rows = plan_rows(compared.decisive, min(compared.seeds.values())) if undecided else []
    return {"rows": rows, "places": compared.places, "power": f"{POWER:.0%}"}


def _slices(before: Predictions, after: Predictions) -> dict[str, Any]:
    """The table of slices; none if no patch is fixed or broken."""
    found = slices(before, after)
    changes = any(one.fixed or one.broken for one in found)
    return {
        "slice_rows": changed.slice_rows(found) if changes else [],
        "has_purity": any(one.by == "purity" for one in found),
        "judged_slices": sum(one.verdict is not None for one in found),
        "least_places": LEAST_PLACES,
    }


def tables_page(compared: Comparison, names: tuple[str, str], before: Predictions, after: Predictions) -> str:
    """The page for two tables of predictions, without pictures."""
    return markdown.render(
        "tables.md",
        names=names,
        verdict=verdict_lines(compared),
        cautions=_cautions(compared),
        metric_rows=_metric_rows(compared),
        seed_rows=_seed_rows(before, after) if max(compared.seeds.values()) > 1 else [],
        fold_rows=_fold_rows(before, after) if compared.folds else [],
        **_takes(compared),
        class_rows=changed.by_class(changed.pair(before, after)),
        **_slices(before, after),
    )


def comparison_page(
    compared: Comparison,
    paired: Paired,
    against: dict[str, dict[str, Verdict]],
    base: Reports,
    head: Reports,
    tensors_dir: Path,
    folder: Path,
) -> str:
    """The page for two comparable sides; its pictures are written to `folder`.

    Args:
        against: each side compared with the baselines, by 'before' and 'after'.
    """
    patches = changed.pair(paired.before, paired.after)
    common, sides = _common(base, head), stale(base, head)
    path, synthetic = folder / "confusion_difference.png", common["synthetic"]
    colours = colours_of(head)
    plots.draw(path, synthetic, plots.confusion_difference, *changed.matrices(patches), colours)
    seeds = max(compared.seeds.values()) > 1
    return markdown.render(
        "comparison.md",
        verdict=stale_line(sides) if sides else verdict_lines(compared, paired.note),
        cautions=_cautions(compared, same_target=base.target == head.target),
        below=[BASELINE_LABELS[name] for name, one in against["after"].items() if one.verdict == "worse"],
        of_two_runs=compared.scope == "two runs" and compared.verdict != Answer.SAME,
        epochs=head.metrics.get("model", {}).get("epochs"),
        decided_by=METRICS[compared.metric].label,
        metric_rows=_metric_rows(compared),
        calibration_rows=_calibration_rows(base, head),
        baseline_rows=_baseline_rows(against),
        seeds=seeds,
        seed_rows=_seed_rows(paired.before, paired.after) if seeds else [],
        folds=compared.folds,
        fold_rows=_fold_rows(paired.before, paired.after) if compared.folds else [],
        **_takes(compared),
        map=changed.draw_map(patches, folder, synthetic=synthetic),
        class_rows=changed.by_class(patches),
        **_slices(paired.before, paired.after),
        changed={change: changed.listed(patches, change) for change in changed.SHEETS},
        sheets=changed.draw_sheets(patches, folder, tensors_dir, colours, synthetic=synthetic),
        confusion_difference=f"{quote(folder.name)}/confusion_difference.png",
        curves=_draw_curves(base, head, folder, synthetic=synthetic),
        pictures=_copy_pictures(base, head, folder),
        **common,
    )

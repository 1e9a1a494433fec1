"""Is this experiment better?  two revisions' reports -> one Markdown page

    python -m stages.compare [--base REV] [--head REV] [--output FILE.md] [--fail-on-regression]

By hand, outside the DAG, without network or token. A revision is a commit, a branch, an experiment, or `workspace`.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd

from stages import benge, cli, files, markdown, metrics, plots, predictions, splits, tensors
from stages.errors import InputError
from stages.params import Evaluation, validate
from stages.predictions import LABELS, to_labels
from stages.revision import WORKSPACE, Revision, merge_base

REGRESSION = 3  # exit codes, apart from 1 for bad input
NOT_COMPARABLE = 4

PICTURES = {
    "confusion_matrix_normalized.png": "Confusion matrix",
    "learning_curves.png": "Learning curves",
    "reliability.png": "Reliability",
    "errors.png": "The most confident errors",
}
LISTED = 30  # changed patches that the page lists; the tables count them all
THUMBNAILS = 15
METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "nll", "ece")


class Side(NamedTuple):
    """What one revision says."""

    revision: Revision
    data: dict[str, Any]
    metrics: dict[str, Any]
    params: dict[str, Any]
    lock: dict[str, Any]
    predictions: pd.DataFrame  # in the order of patch_id
    seeds: pd.DataFrame | None  # predictions of the repetition, if there are two seeds or more


def read(revision: Revision) -> Side:
    """Read one side, and look at all that the comparison uses, so that what is amiss is told at once.

    Raises:
        InputError: a file is missing or is not what the pipeline writes.
    """
    table, seeds = revision.csv("reports/predictions.csv"), None
    if revision.has("reports/seed_predictions.csv"):
        seeds = revision.csv("reports/seed_predictions.csv")
    names = ("reports/data.json", "reports/metrics.json")
    data, scores = (revision.json(name) for name in names)
    params, lock = (revision.yaml(name) for name in ("params.yaml", "dvc.lock"))
    try:
        for column in ("actual", "predicted"):
            to_labels(table[column])
        table = table.sort_values("patch_id", ignore_index=True)
        table["majority_fraction"] = table["majority_fraction"].astype(float)
        for fact in ("membership_sha256", "labels_sha256"):
            data[fact]["train"], data[fact]["test"]
        for distance in splits.LEAKAGE_DISTANCES:
            float(data["leakage"][f"within_{distance}"]["share"])
        for name in METRICS:
            float(scores["test"][name])
        int(data["patches"]["test"]), dict(lock["stages"]), dict(params["evaluate"])
        if seeds is not None and seeds["seed"].nunique() < 2:
            seeds = None
        if seeds is not None:
            predictions.by_seed(seeds, table["patch_id"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{revision}: its reports are not what this pipeline writes ({reason}); run dvc repro"
        ) from None
    except InputError as error:
        raise InputError(f"{revision}: {error}") from None
    return Side(revision, data, scores, params, lock, table, seeds)


def incomparable(base: Side, head: Side) -> list[str]:
    """Why the test figures of two sides cannot be compared; empty if they can."""
    reasons = []
    for fact, what in (("membership_sha256", "are not the same patches"), ("labels_sha256", "have other labels")):
        if base.data[fact]["test"] != head.data[fact]["test"]:
            count = [side.data["patches"]["test"] for side in (base, head)]
            reasons.append(f"the test splits {what} ({count[0]} patches before, {count[1]} after)")
            break
    for side in (base, head):
        if len(side.predictions) != side.data["patches"]["test"]:
            reasons.append(f"reports/predictions.csv of {side.revision} is not of its test split; run dvc repro there")
    if not reasons and not base.predictions[["patch_id", "actual"]].equals(head.predictions[["patch_id", "actual"]]):
        reasons.append("reports/predictions.csv is of other patches, or of other labels, than on the other side")
    return reasons


def grown_leakage(base: Side, head: Side) -> list[str]:
    """At which distances more of the test split than before has a train patch nearby."""
    grown = []
    for distance in splits.LEAKAGE_DISTANCES:
        before, after = (side.data["leakage"][f"within_{distance}"]["share"] for side in (base, head))
        if after > before:
            grown.append(f"within {distance}: {before:.1%} before, {after:.1%} after")
    return grown


def seed_labels(side: Side) -> np.ndarray:
    return predictions.by_seed(side.seeds, side.predictions["patch_id"])


def compare(base: Side, head: Side) -> dict[str, dict[str, float]]:
    """Head minus base of accuracy and macro F1: over seeds where both sides have them, else of the single runs."""
    labels = to_labels(base.predictions["actual"])
    if by_seeds(base, head):
        before, after = seed_labels(base), seed_labels(head)
    else:
        before, after = (to_labels(side.predictions["predicted"]) for side in (base, head))
    settings = validate("evaluate", Evaluation, head.params["evaluate"])
    return metrics.compare(labels, before, after, len(LABELS), **settings.model_dump())


def equal(base: Side, head: Side) -> bool:
    """Whether the two sides predict the same, with each seed too."""
    if not base.predictions.equals(head.predictions):
        return False
    if base.seeds is None or head.seeds is None:
        return base.seeds is None and head.seeds is None
    return base.seeds.reset_index(drop=True).equals(head.seeds.reset_index(drop=True))


def by_seeds(base: Side, head: Side) -> bool:
    """Whether the verdict is on the seeds of both sides."""
    return base.seeds is not None and head.seeds is not None


def verdict(compared: dict[str, dict[str, float]], base: Side, head: Side) -> str:
    """The first line of the page."""
    leaked = " **Leakage grew**, see below." if grown_leakage(base, head) else ""
    if equal(base, head):
        return f"**No difference**: every prediction is the same.{leaked}"
    found = compared["accuracy"]
    if by_seeds(base, head):
        before, after = (side.seeds["seed"].nunique() for side in (base, head))
        test = f"mean over {before} seeds before and {after} after, whose noise is in the interval"
    else:
        test = f"McNemar's exact p = {found['p']:.2g}"
    points = markdown.points(found["difference"], found["low"], found["high"])
    name = metrics.judge(found).capitalize()
    patches = f"over the same {len(base.predictions)} test patches"
    return f"**{name}**: accuracy {points}, 95 % interval, {patches}; {test}.{leaked}"


def caution(base: Side, head: Side) -> list[str]:
    """What the verdict does not know of the seed."""
    if equal(base, head) or by_seeds(base, head):
        return []
    lacking = [f"{side.revision}" for side in (base, head) if side.seeds is None]
    return [f"No repetition over seeds in {' and '.join(lacking)}: luck with the seed is not in the verdict. "
            "To have it there, set `repeat.seeds` on both sides."]  # fmt: skip


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def metrics_section(compared: dict[str, dict[str, float]], base: Side, head: Side) -> str:
    def row(name: str, before: float, after: float, found: dict[str, float] | None) -> dict[str, Any]:
        interval = f"{found['low']:+.3f} to {found['high']:+.3f}" if found else None
        change = f"{after - before:+.3f}"
        return {"test metric": name, "before": before, "after": after, "change": change, "95 % interval": interval}

    single = compared
    rows = []
    if by_seeds(base, head):
        single = compare(base._replace(seeds=None), head._replace(seeds=None))
        labels = to_labels(base.predictions["actual"])
        for name, metric in (("accuracy", metrics.accuracy), ("macro_f1", metrics.macro_f1)):
            before, after = (
                np.mean([metric(metrics.confusion_matrix(labels, one, len(LABELS))) for one in seed_labels(side)])
                for side in (base, head)
            )
            rows.append(row(f"**{name}, mean over seeds**", before, after, compared[name]))
    for name in METRICS:
        rows.append(row(name, *(side.metrics["test"][name] for side in (base, head)), single.get(name)))
    text = f"""## Metrics

{markdown.table(rows)}

Of NLL and ECE, less is better. Intervals come from a paired bootstrap over the test patches."""
    if by_seeds(base, head):
        text += f" Without the word seeds, a row is of the runs with `train.seed`.\n\n{seeds_table(base, head)}"
    return text


def signed(value: float) -> str | None:
    return None if np.isnan(value) else f"{value:+.3f}"


def seeds_table(base: Side, head: Side) -> str:
    labels = to_labels(base.predictions["actual"])
    shares = {}
    for when, side in (("before", base), ("after", head)):
        accuracies = (seed_labels(side) == labels).mean(1)
        shares[when] = pd.Series(accuracies, index=np.sort(side.seeds["seed"].unique()))
    rows = [
        {"seed": str(seed), "before": row.before, "after": row.after, "change": signed(row.after - row.before)}
        for seed, row in pd.DataFrame(shares).iterrows()
    ]
    before, after = shares.values()
    rows.append({"seed": "**mean**", "before": before.mean(), "after": after.mean(),
                 "change": signed(after.mean() - before.mean())})  # fmt: skip
    paired = (after - before).dropna()  # of the seeds that both sides have
    spread = f"{paired.std():.3f}" if len(paired) > 1 else None
    rows.append({"seed": "deviation", "before": before.std(), "after": after.std(), "change": spread})
    return f"### Accuracy by seed\n\n{markdown.table(rows)}"


def changes_section(base: Side, head: Side) -> str:
    before, after = flatten(base.params), flatten(head.params)
    rows = [
        {"parameter": f"`{key}`", "before": f"`{before.get(key, '-')}`", "after": f"`{after.get(key, '-')}`"}
        for key in sorted(before | after)
        if key not in before or key not in after or before[key] != after[key]
    ]
    stages = [side.lock["stages"] for side in (base, head)]
    reran = [name for name in stages[1] if stages[0].get(name) != stages[1][name]]
    reran += [f"{name} (removed)" for name in stages[0] if name not in stages[1]]
    costs = [
        {"cost": name, "before": side_costs[0], "after": side_costs[1]}
        for name in ("parameters", "epochs")
        for side_costs in [[side.metrics.get("model", {}).get(name) for side in (base, head)]]
    ]
    return f"""## What changed

{markdown.table(rows) if rows else "No parameter."}

Stages that reran: {", ".join(reran) or "none"}.

{markdown.table(costs)}"""


def by_group(groups: pd.Series, right_before: pd.Series, right_after: pd.Series, name: str) -> list[dict[str, Any]]:
    """Rows of support, accuracy before and after, patches fixed and broken, a group each."""
    table = pd.DataFrame({"group": groups, "before": right_before, "after": right_after})
    return [
        {
            name: group,
            "patches": len(part),
            "right before": int(part["before"].sum()),
            "right after": int(part["after"].sum()),
            "fixed": int((~part["before"] & part["after"]).sum()),
            "broken": int((part["before"] & ~part["after"]).sum()),
        }
        for group, part in table.groupby("group", observed=True)
    ]


def patches_section(base: Side, head: Side, sheets: dict[str, str]) -> str:
    """By class, by purity, and one by one: which patches were fixed and which broken."""
    both = base.predictions.assign(after=head.predictions["predicted"])
    right = both["actual"] == both["predicted"]
    right_after = both["actual"] == both["after"]
    confusions = [
        metrics.confusion_matrix(to_labels(both["actual"]), to_labels(both[column]), len(LABELS))
        for column in ("predicted", "after")
    ]
    f1 = [metrics.class_f1(confusion) for confusion in confusions]
    classes = pd.Categorical(both["actual"], benge.CLASSES)
    rows = []
    for row in by_group(classes, right, right_after, "class"):
        label = LABELS[row["class"]]
        scores = {"F1 before": float(f1[0][label]), "F1 after": float(f1[1][label])}
        rows.append({"class": benge.readable(row["class"]), "support": row["patches"], **scores,
                     "fixed": row["fixed"], "broken": row["broken"]})  # fmt: skip
    rows.sort(key=lambda row: -row["support"])
    purity = pd.Categorical.from_codes(metrics.purity_range(both["majority_fraction"]), metrics.PURITY_RANGES)
    single = "" if not by_seeds(base, head) else "Of the runs with `train.seed`, as all below.\n\n"
    parts = [
        f"## By class\n\n{single}{markdown.table(rows)}",
        "## By purity\n\nThe share of the patch that its class covers.\n\n"
        + markdown.table(by_group(purity, right, right_after, "purity")),
    ]
    for title, chosen in (("Fixed", ~right & right_after), ("Broken", right & ~right_after)):
        listed = both[chosen].sort_values("majority_fraction", ascending=False)
        rows = [
            {
                "patch": f"`{patch.patch_id}`",
                "actual": benge.readable(patch.actual),
                "before": benge.readable(patch.predicted),
                "after": benge.readable(patch.after),
                "purity": patch.majority_fraction,
            }
            for patch in listed.head(LISTED).itertuples()
        ]
        more = f"\n\n... and {len(listed) - LISTED} more." if len(listed) > LISTED else ""
        absent = "No thumbnails: the tensors of this test split are not here; run `dvc repro`.\n\n"
        picture = f"![{title} patches]({sheets[title]})\n\n" if title in sheets else absent
        body = f"{picture}{markdown.table(rows)}{more}" if rows else "None."
        parts.append(f"## {title}: {len(listed)} patches\n\n{body}")
    return "\n\n".join(parts)


def draw_sheets(base: Side, head: Side, folder: Path, tensors_dir: Path) -> dict[str, str]:
    """Draw the patches fixed and broken, if the tensors of this test split lie here; their paths by title."""
    try:
        index, split = tensors.load_index(tensors_dir, "test"), tensors.load_split(tensors_dir, "test")
    except (FileNotFoundError, InputError):
        return {}  # in a clone that has not pulled the data, the page goes without pictures of patches
    both = base.predictions.assign(after=head.predictions["predicted"])
    if set(index.patch_ids) != set(both["patch_id"]):
        return {}
    rows = {patch_id: row for row, patch_id in enumerate(index.patch_ids)}
    right, right_after = both["actual"] == both["predicted"], both["actual"] == both["after"]
    sheets = {}
    for title, chosen in (("Fixed", ~right & right_after), ("Broken", right & ~right_after)):
        shown = both[chosen].sort_values("majority_fraction", ascending=False).head(THUMBNAILS)
        if len(shown):
            captions = [
                f"is {benge.readable(patch.actual)} ({patch.majority_fraction:.0%})\n"
                f"was taken for {benge.readable(patch.predicted)}\nnow for {benge.readable(patch.after)}"
                for patch in shown.itertuples()
            ]
            images = split.images[shown["patch_id"].map(rows).to_numpy()]
            figure = plots.patches(images, split.bands, captions, f"{title} patches")
            plots.save(figure, folder / f"{title.lower()}.png")
            sheets[title] = f"{quote(folder.name)}/{title.lower()}.png"
    return sheets


def pictures_section(base: Side, head: Side, folder: Path) -> str:
    """Both revisions' own pictures, side by side, and the difference of the confusion matrices."""
    confusions = [
        metrics.confusion_matrix(
            to_labels(side.predictions["actual"]), to_labels(side.predictions["predicted"]), len(LABELS)
        )
        for side in (base, head)
    ]
    plots.save(plots.confusion_difference(*confusions, benge.CLASSES), folder / "confusion_difference.png")
    parts = [
        "## Pictures",
        f"![Difference of the confusion matrices]({quote(folder.name)}/confusion_difference.png)",
    ]
    for name, title in PICTURES.items():
        cells = []
        for when, side in (("before", base), ("after", head)):
            path = folder / f"{when}_{name}"
            if side.revision.has(f"reports/{name}"):
                with files.replacing(path) as part:
                    part.write_bytes(side.revision.read(f"reports/{name}"))
                cells.append(f"![{title} {when}]({quote(folder.name)}/{path.name})")
            else:
                cells.append("none")
        parts.append(f"| {title} before | after |\n| --- | --- |\n| {cells[0]} | {cells[1]} |")
    return "\n\n".join(parts)


def stale_parameters(side: Side) -> list[str]:
    """Parameters whose value in params.yaml is not the one that a stage ran with, by dvc.lock."""
    written = flatten(side.params)
    ran = [stage.get("params", {}).get("params.yaml", {}) for stage in side.lock["stages"].values()]
    return sorted({key for used in ran for key, value in flatten(used).items() if written.get(key) != value})


def warnings(base: Side, head: Side) -> list[str]:
    """What a reader must know before the figures."""
    found = []
    for side in (base, head):
        if stale := stale_parameters(side):
            names = ", ".join(f"`{name}`" for name in stale)
            found.append(f"> **Not what ran**: in {side.revision}, {names} changed after the run; call `dvc repro`.")
    if leaks := grown_leakage(base, head):
        found.append(f"> **Leakage grew**: test patches with a train patch of their acquisition {'; '.join(leaks)}.")
    if base.data["labels_sha256"]["train"] != head.data["labels_sha256"]["train"]:
        found.append("> The train splits differ: this compares data and model together.")
    return found


def incomparable_page(reasons: list[str], base: Side, head: Side) -> str:
    scores = [
        {"test metric": name, "before": base.metrics["test"][name], "after": head.metrics["test"][name]}
        for name in ("accuracy", "macro_f1", "nll", "n")
    ]
    sections = [
        f"**Not comparable**: {'; '.join(reasons)}. So there is no verdict.",
        f"Base: {base.revision}. Head: {head.revision}.",
        *warnings(base, head),
        changes_section(base, head),
        markdown.table(scores),
        "Each on its own test split; the difference means nothing.",
    ]
    return "\n\n".join(sections) + "\n"


def page(compared: dict[str, dict[str, float]], base: Side, head: Side, pictures: Path, tensors_dir: Path) -> str:
    """The page of two comparable sides; its pictures are written to the folder `pictures`."""
    sheets = draw_sheets(base, head, pictures, tensors_dir)
    sections = [
        verdict(compared, base, head),
        f"Base: {base.revision}. Head: {head.revision}.",
        *warnings(base, head),
        *caution(base, head),
        metrics_section(compared, base, head),
        changes_section(base, head),
        patches_section(base, head, sheets),
        pictures_section(base, head, pictures),
    ]
    return "\n\n".join(sections) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the reports of two revisions on one Markdown page.")
    parser.add_argument("--base", help="revision to compare with; default: where HEAD left the main branch")
    parser.add_argument("--head", default=WORKSPACE, help="revision to judge; default: the workspace")
    parser.add_argument("--output", type=Path, default=Path("comparison.md"), help="default: comparison.md")
    parser.add_argument("--tensors", type=Path, default=Path("data/tensors"), help="where thumbnails come from")
    parser.add_argument(
        "--fail-on-regression",
        action="store_true",
        help=f"exit with {REGRESSION} if head is significantly worse or leakage grew",
    )
    given = parser.parse_args()
    if given.output.suffix != ".md":
        raise InputError(
            f"--output {given.output}: give a name that ends in .md; its pictures go to a folder beside it"
        )
    base, head = (read(Revision(name)) for name in (merge_base() if given.base is None else given.base, given.head))
    code = 0
    if reasons := incomparable(base, head):
        text, code = incomparable_page(reasons, base, head), NOT_COMPARABLE
    else:
        compared = compare(base, head)
        text = page(compared, base, head, given.output.with_suffix(""), given.tensors)
        worse = metrics.judge(compared["accuracy"]) == "worse"
        reasons = ["significantly worse"] * worse + [f"leakage grew {leak}" for leak in grown_leakage(base, head)]
        if given.fail_on_regression and reasons:
            print(f"regression: {'; '.join(reasons)}", file=sys.stderr)
            code = REGRESSION
    with files.replacing(given.output) as part:
        part.write_text(text)
    print(re.sub(r"\*\*", "", text.partition("\n")[0]))
    print(f"{given.output}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    cli.guard(main)

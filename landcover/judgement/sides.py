"""The two sides of a comparison: what the reports of two revisions say, and whether they can be compared."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from landcover.ground.errors import InputError
from landcover.ground.params import Evaluation, validate
from landcover.judgement import comparison, predictions
from landcover.judgement.leakage import NEARNESS, leakage_shares
from landcover.judgement.predictions import LABELS, to_labels
from landcover.judgement.revisions import Revision

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
        for share in leakage_shares(data).values():
            float(share)
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
    """How near more of the test split than before has a train patch."""
    grown = []
    before, after = (leakage_shares(side.data) for side in (base, head))
    for what in before:
        if what in after and after[what] > before[what]:
            grown.append(f"{NEARNESS[what]}: {before[what]:.1%} before, {after[what]:.1%} after")
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
    return comparison.compare(labels, before, after, len(LABELS), **settings.model_dump())


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


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def stale_parameters(side: Side) -> list[str]:
    """Parameters whose value in params.yaml is not the one that a stage ran with, by dvc.lock."""
    written = flatten(side.params)
    ran = [stage.get("params", {}).get("params.yaml", {}) for stage in side.lock["stages"].values()]
    return sorted({key for used in ran for key, value in flatten(used).items() if written.get(key) != value})

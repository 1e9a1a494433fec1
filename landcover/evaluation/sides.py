"""The two sides of a comparison: the reports of two revisions, and whether they can be compared."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from landcover.errors import InputError
from landcover.evaluation.comparison import against_baselines
from landcover.evaluation.leakage import NEARNESS, leakage_shares
from landcover.evaluation.predictions import Predictions, parse
from landcover.evaluation.revisions import Revision


class Side(NamedTuple):
    """The reports of one revision."""

    revision: Revision
    data: dict[str, Any]
    metrics: dict[str, Any]
    params: dict[str, Any]
    lock: dict[str, Any]
    table: pd.DataFrame  # predictions.csv, sorted by patch_id
    run: Predictions  # the same
    seeds: Predictions | None  # from repeat, if there are at least two seeds
    baselines: pd.DataFrame | None  # baseline_predictions.csv

    @property
    def predictions(self) -> Predictions:
        """What is compared: the runs over seeds if there are any, else the single run."""
        return self.run if self.seeds is None else self.seeds


def _predictions(revision: Revision, path: str) -> tuple[pd.DataFrame, Predictions | None]:
    table = revision.csv(path)
    try:
        return table, parse(table) if len(table) else None
    except InputError as error:
        raise InputError(f"{revision}: {path} {error}; run dvc repro") from None


def read(revision: Revision) -> Side:
    """Read one side and check everything that the comparison uses, so that errors are reported early.

    Raises:
        InputError: a file is missing or is not what the pipeline writes.
    """
    table, run = _predictions(revision, "reports/predictions.csv")
    seeds, baselines = None, None
    if revision.has("reports/seed_predictions.csv"):
        seeds = _predictions(revision, "reports/seed_predictions.csv")[1]
    if revision.has("reports/baseline_predictions.csv"):
        baselines = revision.csv("reports/baseline_predictions.csv")
    data, scores = (revision.json(f"reports/{name}.json") for name in ("data", "metrics"))
    params, lock = (revision.yaml(name) for name in ("params.yaml", "dvc.lock"))
    try:
        if run is None or len(run.seeds) > 1:
            raise ValueError("predictions.csv does not hold exactly one run")
        if seeds is not None and not np.array_equal(seeds.patch_ids, run.patch_ids):
            raise ValueError("seed_predictions.csv does not cover the patches of predictions.csv")
        table = table.assign(patch_id=table["patch_id"].astype(str)).sort_values("patch_id", ignore_index=True)
        table["majority_fraction"] = table["majority_fraction"].astype(float)
        for fact in ("membership_sha256", "labels_sha256"):
            data[fact]["train"], data[fact]["test"]
        for share in leakage_shares(data).values():
            float(share)
        float(scores["test"]["ece"])
        int(data["patches"]["test"]), dict(lock["stages"]), dict(params["evaluate"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{revision}: its reports are not what this pipeline writes ({reason}); run dvc repro"
        ) from None
    seeds = None if seeds is None or len(seeds.seeds) < 2 else seeds
    return Side(revision, data, scores, params, lock, table, run, seeds, baselines)


def beside_baselines(side: Side) -> dict[str, dict[str, Any]]:
    """The result of `against_baselines` for the side; empty if it has no baselines.

    Raises:
        InputError: its baselines cover other patches, or are not a valid table.
    """
    try:
        return {} if side.baselines is None else against_baselines(side.predictions, side.baselines)
    except InputError as error:
        raise InputError(f"{side.revision}: reports/baseline_predictions.csv {error}") from None


def other_patches(before: Predictions, after: Predictions) -> list[str]:
    """Why predictions cannot be compared; empty if they can."""
    if set(before.patch_ids) != set(after.patch_ids):
        return [f"the patches differ ({len(before.patch_ids)} before, {len(after.patch_ids)} after)"]
    if differing := int((before.actual != after.actual).sum()):
        return [f"{differing} of {len(before.patch_ids)} patches have a different actual class"]
    return []


def incomparable(base: Side, head: Side) -> list[str]:
    """Why the test figures of two sides cannot be compared; empty if they can."""
    reasons = []
    for fact, what in (("membership_sha256", "patches"), ("labels_sha256", "labels")):
        if base.data[fact]["test"] != head.data[fact]["test"]:
            count = [side.data["patches"]["test"] for side in (base, head)]
            reasons.append(f"the test splits have different {what} ({count[0]} patches before, {count[1]} after)")
            break
    for side in (base, head):
        if len(side.table) != side.data["patches"]["test"]:
            reasons.append(
                f"reports/predictions.csv of {side.revision} does not match its test split; run dvc repro there"
            )
    return reasons or other_patches(base.run, head.run)


def grown_leakage(base: Side, head: Side) -> list[str]:
    """The kinds of leakage that affect more of the test split than before, with both shares."""
    grown = []
    before, after = (leakage_shares(side.data) for side in (base, head))
    for what in before:
        if what in after and after[what] > before[what]:
            grown.append(f"{NEARNESS[what]}: {before[what]:.1%} before, {after[what]:.1%} after")
    return grown


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def stale_parameters(side: Side) -> list[str]:
    """Parameters whose value in params.yaml differs from the one in dvc.lock that a stage ran with.

    Of `datasets`, only the chosen entry counts.
    """
    written = flatten(side.params)
    ran = [stage.get("params", {}).get("params.yaml", {}) for stage in side.lock["stages"].values()]
    differ = {key for used in ran for key, value in flatten(used).items() if written.get(key) != value}
    chosen = f"datasets.{side.params.get('dataset')}."
    return sorted(key for key in differ if not key.startswith("datasets.") or key.startswith(chosen))

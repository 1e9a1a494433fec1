"""The reports of two revisions, and whether they can be compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from landcover.errors import InputError, few
from landcover.evaluation.comparison import Verdict, against_baselines, answer
from landcover.evaluation.intervals import Estimate, difference, independent
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import Predictions, mismatches, of_baseline, parse
from landcover.evaluation.revisions import Revision
from landcover.evaluation.staleness import changed_since_the_run

# The names of the distances in reports/data.json, and their labels on pages.
NEARNESS = {
    "same_ground": "on the same ground",
    "same_ground_other_date": "on the same ground, on a different date",
    "touching": "touching it",
    "within_3_km": "within 3 km",
    "within_6_km": "within 6 km",
}


@dataclass(frozen=True)
class Reports:
    """The reports of one revision, as their files hold them."""

    revision: Revision
    data: dict[str, Any]
    metrics: dict[str, Any]
    params: dict[str, Any]
    lock: dict[str, Any]
    table: pd.DataFrame  # predictions.csv, sorted by patch_id
    run: Predictions  # the same
    seeds: Predictions | None  # from repeat, if there are at least two seeds
    baselines: pd.DataFrame | None  # baseline_predictions.csv
    changed: list[str]  # since the stages ran; if anything is, the reports are stale

    @property
    def predictions(self) -> Predictions:
        """What is compared: the runs over seeds if there are any, else the single run."""
        return self.run if self.seeds is None else self.seeds

    def against_baselines(self) -> dict[str, Verdict]:
        """The verdicts on the accuracy compared with each baseline; empty if there are none.

        Raises:
            InputError: the baselines cover other patches, or are not a valid table.
        """
        try:
            return {} if self.baselines is None else against_baselines(self.predictions, self.baselines)
        except InputError as error:
            raise InputError(f"{self.revision}: reports/baseline_predictions.csv {error}") from None

    def margin(self, name: str) -> Estimate:
        """The accuracy minus that of a baseline."""
        accuracy, predictions = METRICS["accuracy"], self.predictions
        baseline = of_baseline(self.baselines, name, predictions)
        scores = accuracy.scores(baseline), accuracy.scores(predictions)
        return difference(*scores, predictions.places, predictions.folds, seedless=True)

    def leakage(self) -> dict[str, float]:
        """By the keys of NEARNESS, the share of test patches with a train patch that near; empty if unknown."""
        shares = (self.data.get("leakage") or {}).get("test", {})
        return {distance: float(shares[distance]["share"]) for distance in NEARNESS if distance in shares}


def _table(revision: Revision, path: str) -> tuple[pd.DataFrame, Predictions | None]:
    table = revision.csv(path)
    try:
        return table, parse(table) if len(table) else None
    except InputError as error:
        raise InputError(f"{revision}: {path} {error}; run dvc repro") from None


def read_reports(revision: Revision) -> Reports:
    """Read the reports and check everything that a comparison uses, so that errors come before any output.

    Raises:
        InputError: a file is missing or is not what the pipeline writes.
    """
    table, run = _table(revision, "reports/predictions.csv")
    seeds, baselines = None, None
    if revision.has("reports/seed_predictions.csv"):
        seeds = _table(revision, "reports/seed_predictions.csv")[1]
    if revision.has("reports/baseline_predictions.csv"):
        baselines = revision.csv("reports/baseline_predictions.csv")
    data, metrics = (revision.json(f"reports/{name}.json") for name in ("data", "metrics"))
    params, lock = (revision.yaml(name) for name in ("params.yaml", "dvc.lock"))
    try:
        if run is None or len(run.seeds) > 1:
            raise ValueError("predictions.csv does not hold exactly one run")
        if seeds is not None and not np.array_equal(seeds.patch_ids, run.patch_ids):
            raise ValueError("seed_predictions.csv does not cover the patches of predictions.csv")
        table = table.assign(patch_id=table["patch_id"].astype(str)).sort_values("patch_id", ignore_index=True)
        table["majority_fraction"] = table["majority_fraction"].astype(float)
        seeds = None if seeds is None or len(seeds.seeds) < 2 else seeds
        changed = changed_since_the_run(revision, lock, params)
        reports = Reports(revision, data, metrics, params, lock, table, run, seeds, baselines, changed)
        for fact in ("membership_sha256", "labels_sha256"):
            data[fact]["train"], data[fact]["test"]
        float(metrics["test"]["ece"]), reports.leakage()
        int(data["patches"]["test"]), dict(lock["stages"]), dict(params["evaluate"])
        return reports
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"its reports are not what this pipeline writes ({type(error).__name__}: {error})"
        raise InputError(f"{revision}: {reason}; run dvc repro") from None


def incomparable(base: Reports, head: Reports) -> list[str]:
    """Why the test figures of two revisions cannot be compared; empty if they can."""
    counts = [side.data["patches"]["test"] for side in (base, head)]
    reasons = [
        f"the test splits have different {what} ({counts[0]} patches before, {counts[1]} after)"
        for fact, what in (("membership_sha256", "patches"), ("labels_sha256", "labels"))
        if base.data[fact]["test"] != head.data[fact]["test"]
    ][:1]
    reasons += [
        f"reports/predictions.csv of {side.revision} does not match its test split; run dvc repro there"
        for side, count in zip((base, head), counts, strict=True)
        if len(side.table) != count
    ]
    return reasons or mismatches(base.run, head.run)


def grown_leakage(base: Reports, head: Reports) -> list[str]:
    """The kinds of leakage that affect more of the test split than before, with both shares."""
    after = head.leakage()
    return [
        f"{NEARNESS[distance]}: {share:.1%} before, {after[distance]:.1%} after"
        for distance, share in base.leakage().items()
        if after.get(distance, 0) > share
    ]


def stale(base: Reports, head: Reports) -> list[str]:
    """Which side's reports are not those of its code and parameters; empty if both are."""
    return [f"in {side.revision}, {few(side.changed)} changed after the run" for side in (base, head) if side.changed]


def margin(base: Reports, head: Reports, tolerance: float | None = None) -> tuple[str, Verdict] | None:
    """The best baseline that both sides have, and the verdict on the difference of their margins over it.

    The sides may have different test patches, so the margins are compared as independent ones, by Welch's formula.
    None if there is no common baseline.
    """
    both = [side.against_baselines() for side in (base, head)]
    common = sorted(set(both[0]) & set(both[1]))
    if not common:
        return None
    name = max(common, key=lambda name: sum(of[name].before for of in both))  # before: the baseline's own accuracy
    before, after = base.margin(name), head.margin(name)
    estimate = independent(after, before)
    low, high = estimate.interval()
    tolerance = METRICS["accuracy"].tolerance if tolerance is None else tolerance
    return name, Verdict(
        before=before.value,
        after=after.value,
        difference=estimate.value,
        low=low,
        high=high,
        p=estimate.p(),
        verdict=answer(low, high, tolerance),
        tolerance=tolerance,
        metric="accuracy",
        method="Welch's t-test of margins over a baseline, on different patches",
        standard_error=estimate.error,
        degrees_of_freedom=estimate.freedom,
        components=[],
    )

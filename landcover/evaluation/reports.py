"""The reports of two revisions, and whether they can be compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from landcover.data.index import INDEX
from landcover.data.places import PLACE_KM, gather
from landcover.errors import InputError, few
from landcover.evaluation.comparison import Verdict, answer
from landcover.evaluation.intervals import difference, independent
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import Predictions, mismatches, of_baselines, parse
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
    seeds: Predictions | None  # of the test split, if it was trained with at least two seeds
    folds: Predictions | None  # of all patches, each from a network that was not trained on it
    baselines: pd.DataFrame | None  # baseline_predictions.csv
    fold_baselines: pd.DataFrame | None  # fold_baseline_predictions.csv
    changed: list[str]  # since the stages ran; if anything is, the reports are stale

    @property
    def on_test(self) -> Predictions:
        """On the test split: the runs over seeds if there are any, else the single run."""
        return self.run if self.seeds is None else self.seeds

    @property
    def target(self) -> str:
        """What its network predicts, as `train.target` says; revisions without it know labels only."""
        return self.params.get("train", {}).get("target", "majority")

    def of_baselines(self, predictions: Predictions) -> dict[str, Predictions]:
        """Those of each baseline for the same patches; empty if there are none.

        Args:
            predictions: this side's, `on_test` or `folds`.

        Raises:
            InputError: the baselines cover other patches, or are not a valid table.
        """
        table, path = self.baselines, "reports/baseline_predictions.csv"
        if predictions.folds is not None:
            table, path = self.fold_baselines, "reports/fold_baseline_predictions.csv"
        try:
            return {} if table is None else of_baselines(table, predictions)
        except InputError as error:
            raise InputError(f"{self.revision}: {path} {error}") from None

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
    seeds = folds = None
    if revision.has("reports/seed_predictions.csv"):
        seeds = _table(revision, "reports/seed_predictions.csv")[1]
    if seeds is not None and seeds.folds is not None:
        seeds, folds = None, seeds
    baselines, fold_baselines = (
        revision.csv(path) if revision.has(path) else None
        for path in ("reports/baseline_predictions.csv", "reports/fold_baseline_predictions.csv")
    )
    data, metrics = (revision.json(f"reports/{name}.json") for name in ("data", "metrics"))
    params, lock = (revision.yaml(name) for name in ("params.yaml", "dvc.lock"))
    try:
        if run is None or len(run.seeds) > 1:
            raise ValueError("predictions.csv does not hold exactly one run")
        if seeds is not None and not np.array_equal(seeds.patch_ids, run.patch_ids):
            raise ValueError("seed_predictions.csv does not cover the patches of predictions.csv")
        table = table.assign(patch_id=table["patch_id"].astype(str)).sort_values("patch_id", ignore_index=True)
        seeds = None if seeds is None or len(seeds.seeds) < 2 else seeds
        tables = (run, seeds, folds, baselines, fold_baselines)
        changed = changed_since_the_run(revision, lock, params)
        reports = Reports(revision, data, metrics, params, lock, table, *tables, changed)
        for fact in ("membership_sha256", "labels_sha256"):
            data[fact]["train"], data[fact]["test"]
        float(metrics["test"]["ece"]), reports.leakage()
        int(data["patches"]["test"]), dict(lock["stages"]), dict(params["evaluate"])
        return reports
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"its reports are not what this pipeline writes ({type(error).__name__}: {error})"
        raise InputError(f"{revision}: {reason}; run dvc repro") from None


class Extent(NamedTuple):
    """What the dataset of a revision consists of."""

    patches: int  # of all splits
    places: int | None  # None if unknown


def extent(side: Reports, tensors_dir: Path) -> Extent:
    """All patches of a revision's dataset; their places are known if its tensors are here."""
    patches = sum(side.data["patches"].values())
    index = pd.read_csv(tensors_dir / INDEX, dtype={"patch_id": str}) if (tensors_dir / INDEX).is_file() else None
    if index is None or len(index) != patches or not set(side.run.patch_ids) <= set(index["patch_id"]):
        return Extent(patches, None)
    positions = index[["lon", "lat"]]
    return Extent(patches, None if positions.isna().any(axis=None) else int(gather(positions, PLACE_KM).max() + 1))


@dataclass(frozen=True)
class Paired:
    """The predictions of two revisions for the same patches, or the reasons why there are none."""

    before: Predictions | None = None
    after: Predictions | None = None
    note: str | None = None  # why it is the test split, although a side has folds
    reasons: tuple[str, ...] = ()


def pair(base: Reports, head: Reports) -> Paired:
    """Out-of-fold predictions where both sides have them for the same folds, else those for the same test split."""
    note = None
    if base.folds is not None and head.folds is not None:
        if not (reasons := mismatches(base.folds, head.folds)):
            return Paired(base.folds, head.folds)
        note = f"Both sides have folds, which cannot be compared: {reasons[0]}."
    elif base.folds is not None or head.folds is not None:
        note = f"Only {base.revision if head.folds is None else head.revision} has folds."
    if reasons := _incomparable(base, head):
        return Paired(note=note, reasons=tuple(reasons))
    if note:
        note += " So the common test split is compared, whose patches are far fewer."
    return Paired(base.on_test, head.on_test, note)


def _incomparable(base: Reports, head: Reports) -> list[str]:
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
    folds = base.folds is not None and head.folds is not None
    sides = [(side, side.folds if folds else side.on_test) for side in (base, head)]
    of_sides = [side.of_baselines(predictions) for side, predictions in sides]
    common = sorted(set(of_sides[0]) & set(of_sides[1]))
    if not common:
        return None
    accuracy = METRICS["accuracy"]
    name = max(common, key=lambda name: sum(accuracy.scores(of[name]).mean() for of in of_sides))
    before, after = (
        difference(accuracy.scores(of[name]), accuracy.scores(one), one.places, one.folds, seedless=True)
        for of, (_, one) in zip(of_sides, sides, strict=True)
    )
    estimate = independent(after, before)
    low, high = estimate.interval()
    tolerance = accuracy.tolerance if tolerance is None else tolerance
    return name, Verdict(
        before=before.value,
        after=after.value,
        difference=estimate.value,
        low=low,
        high=high,
        p=estimate.p(),
        verdict=answer(low, high, tolerance),
        tolerance=tolerance,
        metric=accuracy.name,
        method="Welch's t-test of margins over a baseline, on different patches",
        standard_error=estimate.error,
        degrees_of_freedom=estimate.freedom,
        components=[],
    )

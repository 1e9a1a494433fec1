"""The figures in metrics.json, baselines.json, seeds.json and headline.json, and the tables of predictions by seed."""

import itertools
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from landcover.data.index import ROLES, Folds, Index
from landcover.data.tensors import Split
from landcover.evaluation.calibration import ece, ece_by_chance
from landcover.evaluation.comparison import against_baselines, compare_scores
from landcover.evaluation.intervals import mean, share_interval
from landcover.evaluation.metrics import METRICS, SHARE, all_scores, means
from landcover.evaluation.predictions import OF_PATCH, OPTIONAL, REQUIRED, Predictions, of_baselines, parse, tabulate

PURITY_EDGES = (0, 0.5, 0.7, 0.9, 1)  # of the majority fraction
PURITY_RANGES = tuple(
    f"{low:.0%} to {high:.0%}" if low else f"below {high:.0%}" for low, high in itertools.pairwise(PURITY_EDGES)
)
# What repeat predicts: val, so that experiments can be chosen without test. With folds, both are of all their patches.
REPEATED = ("val", "test")
ENSEMBLE = ("accuracy", "nll")  # the metrics of an ensemble
SEED_COLUMNS = ["seed", *OF_PATCH, *REQUIRED, *OPTIONAL]


def purity_range(majority_fraction: np.ndarray) -> np.ndarray:
    """The index in PURITY_RANGES of the majority fraction of each patch; int (N,)."""
    return np.searchsorted(PURITY_EDGES[1:-1], majority_fraction, side="right")


def accuracy_by_purity(correct: np.ndarray, majority_fraction: np.ndarray) -> list[dict[str, float | int | str]]:
    """Accuracy with its 95% Wilson interval for the patches in each range of purity.

    Returns:
        Rows of `purity`, `n`, `accuracy`, `low`, `high`, for the ranges that have a patch.
    """
    rows, ranges = [], purity_range(majority_fraction)
    for number in np.unique(ranges):
        right = correct[ranges == number]
        row = {"purity": PURITY_RANGES[number], "n": len(right), "accuracy": float(right.mean())}
        rows.append(row | share_interval(right)._asdict())
    return rows


def of_run(table: pd.DataFrame, *, resamples: int, seed: int) -> dict[str, Any]:
    """The metrics of one run on one split with 95% intervals, and its calibration error.

    Args:
        table: as `predictions.tabulate` makes it.
        resamples, seed: for the calibration error by chance.
    """
    table = table.sort_values("patch_id")
    predictions, confidence = parse(table), table["confidence"].to_numpy()
    figures: dict[str, Any] = {}
    for name, value in means(predictions).items():
        low, high = METRICS[name].interval(predictions)
        figures |= {name: value, f"{name}_ci_low": low, f"{name}_ci_high": high}
    figures["ece"] = ece(predictions.predicted[0] == predictions.actual, confidence)
    by_chance = ece_by_chance(confidence, resamples=resamples, seed=seed)
    return figures | {"ece_by_chance": dict(zip(("mean", "high"), by_chance, strict=True)), "n": len(table)}


def differences_from(baselines: pd.DataFrame, predictions: Predictions, tolerance: float | None) -> dict[str, Any]:
    """The result of `against_baselines`, for a JSON file."""
    verdicts = against_baselines(predictions, of_baselines(baselines, predictions), tolerance)
    return {name: asdict(verdict) for name, verdict in verdicts.items()}


def headline(run: dict[str, Any], seeds: dict[str, Any]) -> dict[str, float]:
    """The few figures that DVC shows in its tables, to three decimals.

    Args:
        run: `test`, as `of_run` makes it, with `against`, the differences from the baselines; and `val`.
        seeds: as `of_seeds` makes it.

    Returns:
        `accuracy`, `macro_f1` and `nll` of the test split; `margin`, the accuracy minus that of the best baseline;
        `val_accuracy`; and, if other seeds or folds were trained, `mean_accuracy` and `mean_margin`, over seeds, on the
        test split or on all patches in folds.
    """
    test = run["test"]
    figures = {name: test[name] for name in ("accuracy", "macro_f1", "nll")}
    figures["margin"] = min(against["difference"] for against in test["against"].values())
    figures["val_accuracy"] = run["val"]["accuracy"]
    if seeds["seeds"]:
        figures["mean_accuracy"] = seeds["accuracy"]["mean"]
        figures["mean_margin"] = min(against["difference"] for against in seeds["against"].values())
    return {name: round(value, 3) for name, value in figures.items()}


# -- The same configuration with other seeds, and in folds


def tabulate_seeds(
    seeds: list[int],
    log_probabilities: dict[str, np.ndarray],
    splits: dict[str, Split],
    indices: dict[str, Index],
    folds: Folds | None = None,
    as_shares: dict[str, np.ndarray] | None = None,
) -> dict[str, pd.DataFrame]:
    """The predictions for each split from log-probabilities (S, N, K), per seed and patch; empty without seeds.

    With folds, `fold` is the one that tests the patch, in val, too, where the network is that of the fold before.

    Args:
        as_shares: as for `tabulate`, (S, N, K).
    """
    as_shares = as_shares or log_probabilities
    of_patch = {"fold": folds.numbers, "place": folds.places} if folds else dict.fromkeys(OF_PATCH)
    tables = {}
    for name in REPEATED:
        parts = [
            tabulate(splits[name], indices[name], *of_seed).assign(seed=seed, **of_patch)
            for seed, *of_seed in zip(seeds, log_probabilities.get(name, ()), as_shares.get(name, ()), strict=True)
        ]
        tables[name] = (pd.concat(parts) if parts else pd.DataFrame()).reindex(columns=SEED_COLUMNS)
    return tables


def of_folds(folds: Folds, split: Split, table: pd.DataFrame, locked: int) -> dict[str, Any]:
    """How the folds were made: their number and hash, and of each what it consists of and its accuracy over seeds.

    Args:
        split: the patches in the folds.
        table: their predictions, as `tabulate_seeds` makes it for test.
        locked: the number of test patches that are not in the folds.
    """
    accuracy = (table["predicted"] == table["actual"]).groupby(table["fold"]).mean()
    present = np.bincount(split.labels, minlength=len(split.classes)) > 0
    each = []
    for fold, roles in enumerate(folds.roles, 1):
        trained = np.bincount(split.labels[folds.rows(fold, "train")], minlength=len(split.classes)) > 0
        missing = [split.classes[label] for label in np.flatnonzero(present & ~trained)]
        counts = {role: int((roles == role).sum()) for role in ROLES}
        each.append({"fold": fold} | counts | {"missing": missing, "accuracy": float(accuracy[fold])})
    by = "class" if folds.places is None else "place"
    return {"count": folds.count, "sha256": folds.sha256, "by": by, "locked": locked, "each": each}


def of_seeds(
    tables: dict[str, pd.DataFrame], baselines: pd.DataFrame, tolerance: float | None = None
) -> dict[str, Any]:
    """For each metric the mean over seeds and, with two seeds or more, the standard deviation and 95% interval.

    The interval accounts for patches, places and seeds, and beside it is what it was computed from; with folds, there
    is one for a single seed, too. `val` has the same for the val split, and `against` has the differences from the
    baselines.

    Args:
        baselines: of the same patches.
        tolerance: of the accuracy; None: the metric's own.
    """
    if not len(tables["test"]):
        return {"seeds": 0}
    test, val = parse(tables["test"]), parse(tables["val"])
    figures = {"seeds": len(test.seeds)} | _over_seeds(test) | {"val": _over_seeds(val)}
    return figures | {"against": differences_from(baselines, test, tolerance)}


def _over_seeds(predictions: Predictions) -> dict[str, dict[str, Any]]:
    figures = {}
    for name, (scores,) in all_scores(predictions).items():
        estimate = mean(scores, predictions.places, predictions.folds)
        figures[name] = {"mean": estimate.value}
        if len(scores) > 1:
            figures[name] |= {"std": float(scores.mean(1).std(ddof=1))}
        if len(scores) > 1 or predictions.folds is not None:
            interval = METRICS[name].within_range(estimate.interval())
            if estimate.error == 0 and METRICS[name].unit == SHARE:  # all alike, as all right, is not certainty
                interval = share_interval(scores[0] > 0.5, predictions.places)
            figures[name] |= interval._asdict()
            figures[name] |= {"standard_error": estimate.error, "degrees_of_freedom": estimate.freedom}
            figures[name] |= {"components": [asdict(one) for one in estimate.components]}
    return figures


def of_ensemble(
    log_probabilities: dict[str, np.ndarray],
    splits: dict[str, Split],
    indices: dict[str, Index],
    tables: dict[str, pd.DataFrame],
) -> dict[str, Any]:
    """What the seeds' networks are worth together: the mean of their probabilities predicts.

    For each metric in ENSEMBLE: `value`, and its `difference` from the mean over these seeds, with a 95% interval over
    patches and places. `val` has the same for the val split.

    Args:
        log_probabilities: of each split, (S, N, K).
        tables: as `tabulate_seeds` makes them.
    """
    figures = {}
    for name in REPEATED:
        mixed = logsumexp(log_probabilities[name], axis=0, b=1 / len(log_probabilities[name]))
        single, together = parse(tables[name]), parse(tabulate(splits[name], indices[name], mixed))
        figures[name] = {}
        for metric in ENSEMBLE:
            before, after = (METRICS[metric].scores(one).mean(0, keepdims=True) for one in (single, together))
            gain = compare_scores(METRICS[metric], before, after, single.places, seedless=True)
            figures[name][metric] = {"value": gain.after} | {
                key: getattr(gain, key) for key in ("difference", "low", "high")
            }
    return figures["test"] | {"val": figures["val"]}

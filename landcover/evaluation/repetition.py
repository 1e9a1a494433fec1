"""The results of the same configuration with other seeds."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation.comparison import against_baselines, places_of
from landcover.evaluation.intervals import difference, mean
from landcover.evaluation.predictions import Predictions, parse, tabulate
from landcover.evaluation.scores import METRICS, scores

JUDGED = ("val", "test")  # val, so that experiments can be chosen without looking at test
TOGETHER = ("accuracy", "nll")  # what is told of an ensemble
COLUMNS = ["seed", "patch_id", "actual", "predicted", "p_actual", "brier", "lon", "lat"]


def tables(
    seeds: list[int], log_probabilities: dict[str, np.ndarray], splits: dict[str, Split], indices: dict[str, Index]
) -> dict[str, pd.DataFrame]:
    """The predictions for each split from log-probabilities (S, N, K), per seed and patch; empty without seeds."""
    found = {}
    for name in JUDGED:
        parts = [
            tabulate(splits[name], indices[name], one).assign(seed=seed)
            for seed, one in zip(seeds, log_probabilities.get(name, ()), strict=True)
        ]
        found[name] = pd.concat(parts)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)
    return found


def summary(predicted: dict[str, pd.DataFrame], baselines: pd.DataFrame) -> dict[str, Any]:
    """For each metric the mean over seeds and, with two seeds or more, the standard deviation and 95% interval.

    The interval accounts for patches, places and seeds. `val` has the same for the val split, and `against` has the
    differences from the baselines.
    """
    if not len(predicted["test"]):
        return {"seeds": 0}
    test, val = parse(predicted["test"]), parse(predicted["val"])
    found = {"seeds": len(test.seeds)} | {name: _over_seeds(test, name) for name in METRICS}
    found["val"] = {name: _over_seeds(val, name) for name in METRICS}
    return found | {"against": against_baselines(test, baselines)}


def _over_seeds(predictions: Predictions, metric: str) -> dict[str, float]:
    values = scores(predictions, metric)
    estimate = mean(values, places_of(predictions))
    if len(values) < 2:
        return {"mean": estimate.value}
    low, high = estimate.interval()
    return {"mean": estimate.value, "std": float(values.mean(1).std(ddof=1)), "low": low, "high": high}


def ensemble(
    log_probabilities: dict[str, np.ndarray],
    splits: dict[str, Split],
    indices: dict[str, Index],
    predicted: dict[str, pd.DataFrame],
) -> dict[str, Any]:
    """What the seeds' networks are worth together, of log-probabilities (S, N, K) and what `tables` makes of them.

    The mean of their probabilities predicts. For each metric in TOGETHER: `value`, and its `difference` from the mean
    over these seeds, with a 95% interval over patches and places. `val` has the same for the val split.
    """
    found = {}
    for name in JUDGED:
        mixed = logsumexp(log_probabilities[name], axis=0, b=1 / len(log_probabilities[name]))
        single, together = parse(predicted[name]), parse(tabulate(splits[name], indices[name], mixed))
        found[name] = {metric: _gain(single, together, metric) for metric in TOGETHER}
    return found["test"] | {"val": found["val"]}


def _gain(single: Predictions, together: Predictions, metric: str) -> dict[str, float]:
    before, after = scores(single, metric).mean(0, keepdims=True), scores(together, metric)
    gain = difference(before, after, places_of(single), fixed=True)
    low, high = gain.interval()
    return {"value": float(after.mean()), "difference": gain.value, "low": low, "high": high}

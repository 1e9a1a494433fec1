"""Differences between predictions for the same patches, with intervals and p-values."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from scipy.optimize import brentq

from landcover.data.places import gather
from landcover.errors import InputError
from landcover.evaluation.intervals import NORMAL, clustered, difference
from landcover.evaluation.predictions import BASELINES, Predictions, of_baseline
from landcover.evaluation.scores import METRICS, scores
from landcover.evaluation.verdict import judge

VERDICTS_BY = ("accuracy", "macro_f1", "nll")
GATED = ("accuracy", "nll")  # a significant loss in one of them is a regression, whichever metric decides
PLACE_KM = 50  # as the blocks of a split by place


def places_of(predictions: Predictions) -> np.ndarray | None:
    """The number of the place of each patch, int (N,), from 0; None if positions are unknown."""
    if predictions.positions is None:
        return None
    return gather(pd.DataFrame(predictions.positions, columns=["lon", "lat"]), PLACE_KM)


def mcnemar(fixed: int, broken: int) -> float:
    """McNemar's two-sided mid-p-value: do two classifiers have the same accuracy on the same patches?

    Args:
        fixed, broken: patches that only the second, and only the first, classifies correctly.

    Source: Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data: mid-p and asymptotic are
    better than exact conditional", BMC Medical Research Methodology 13, 2013.
    """
    coin = scipy.stats.binom(fixed + broken, 0.5)
    least = min(fixed, broken)
    return float(min(2 * coin.cdf(least) - coin.pmf(least), 1))


def tango(fixed: int, broken: int, count: int) -> tuple[float, float]:
    """The 95% score interval of the difference (fixed - broken) / count of two paired proportions.

    Source: Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17, 1998.
    """
    observed = (fixed - broken) / count

    def deviation(delta: float) -> float:
        """How many standard errors the observed difference is above delta."""
        linear = (2 * count - fixed + broken) * delta - fixed - broken
        square = linear**2 + 8 * count * broken * delta * (1 - delta)
        variance = (np.sqrt(max(square, 0)) - linear) / 2 + count * delta * (1 - delta)
        gap = fixed - broken - count * delta
        return gap / np.sqrt(variance) if variance > 0 else np.copysign(np.inf, gap) if gap else 0.0

    low = -1.0 if deviation(-1) < NORMAL else brentq(lambda delta: deviation(delta) - NORMAL, -1, observed)
    high = 1.0 if deviation(1) > -NORMAL else brentq(lambda delta: deviation(delta) + NORMAL, observed, 1)
    return float(low), float(high)


def compare_scores(
    metric: str, before: np.ndarray, after: np.ndarray, places: np.ndarray | None = None, *, fixed: bool = False
) -> dict[str, Any]:
    """After minus before for one metric, from scores (S, N) and (T, N) of the same patches.

    Args:
        fixed: a side with one row has no seed, like a logistic regression.

    Returns:
        `before`, `after`, `difference`, `low` and `high` of its 95% interval, `p`, and `verdict`.
    """
    found = difference(before, after, places, fixed=fixed)
    (low, high), p = found.interval(), found.p()
    if metric == "accuracy" and not clustered(places) and len(before) == len(after) == 1:
        # For single runs, the distribution of the difference is known, even with few patches.
        gained, lost = int((after > before).sum()), int((after < before).sum())
        (low, high), p = tango(gained, lost, before.shape[1]), mcnemar(gained, lost)
    elif metric == "accuracy" and found.value and not found.error:
        # All patches change alike. This is not certainty: treat each place as one patch.
        count = int(places.max() + 1) if clustered(places) else before.shape[1]
        gained, lost = (count, 0) if found.value > 0 else (0, count)
        (low, high), p = tango(gained, lost, count), mcnemar(gained, lost)
    facts = {"before": float(before.mean()), "after": float(after.mean()), "difference": found.value}
    facts |= {"low": low, "high": high, "p": p}
    return facts | {"verdict": judge(facts, metric)}


def same(before: Predictions, after: Predictions) -> bool:
    """Whether both make the same predictions, with the same probabilities if both have them."""
    if not np.array_equal(before.predicted, after.predicted):
        return False
    return before.p_actual is None or after.p_actual is None or np.array_equal(before.p_actual, after.p_actual)


def compare(before: Predictions, after: Predictions, metric: str = "accuracy") -> dict[str, Any]:
    """Compare the predictions `after` with those `before`, for the same patches.

    Args:
        metric: the metric that the verdict is based on.

    Returns:
        `verdict`: 'better', 'worse', 'within noise' or 'no difference'; `metric`; `scope`: 'two runs', or
        'configurations' if a side has several seeds; `seeds` of each side; `patches`; `places`, or None if unknown;
        `metrics`: the result of `compare_scores` for each metric available on both sides; `losses`: those of GATED that
        are significantly worse.

    Raises:
        InputError: a table lacks what the metric needs.
    """
    places = places_of(after) if after.positions is not None else places_of(before)
    sides = {name: (scores(before, name), scores(after, name)) for name in METRICS}
    found = {
        name: compare_scores(name, *both, places)
        for name, both in sides.items()
        if all(side is not None for side in both)
    }
    if metric not in found:
        raise InputError(f"the verdict by {metric} needs a column p_actual on both sides; choose accuracy")
    return {
        "verdict": "no difference" if same(before, after) else found[metric]["verdict"],
        "metric": metric,
        "scope": "two runs" if len(before.seeds) == len(after.seeds) == 1 else "configurations",
        "seeds": {"before": len(before.seeds), "after": len(after.seeds)},
        "patches": len(after.patch_ids),
        "places": None if places is None else int(places.max() + 1),
        "metrics": found,
        "losses": [name for name in GATED if name in found and found[name]["verdict"] == "worse"],
    }


def against_baselines(predictions: Predictions, baselines: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The accuracy minus that of each baseline on the same patches, as returned by `compare_scores`.

    Args:
        baselines: a baseline_predictions.csv; baselines that an older revision lacks are left out.
    """
    places, right = places_of(predictions), scores(predictions, "accuracy")
    return {
        name: compare_scores(
            "accuracy", scores(of_baseline(baselines, name, predictions), "accuracy"), right, places, fixed=True
        )
        for name in BASELINES
        if name in baselines
    }

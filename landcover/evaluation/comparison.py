"""Differences between predictions for the same patches: verdicts, and the evidence for them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats
from scipy.optimize import brentq

from landcover.errors import InputError
from landcover.evaluation.intervals import NORMAL, Component, Interval, clustered, difference
from landcover.evaluation.metrics import METRICS, SHARE, Metric, all_scores
from landcover.evaluation.predictions import BASELINES, Predictions, of_baseline

SCORE_TEST = "Tango's score test for paired proportions (McNemar's test)"
T_TEST = "paired t-test over patches"
CLUSTERED_T_TEST = "paired t-test with the cluster-robust variance CR2 over places"
WITH_SEEDS = ", with the variance between seeds"


@dataclass(frozen=True)
class Verdict:
    """What is said about the difference of one metric, after minus before, and the evidence for it."""

    before: float
    after: float
    difference: float
    low: float  # of the 95% interval
    high: float
    p: float  # of the same test: below 0.05 if the interval excludes 0
    verdict: str  # 'better' or 'worse' if the interval excludes 0, else 'within noise'
    metric: str
    method: str  # in words
    standard_error: float
    degrees_of_freedom: float | None  # None: of a normal distribution
    components: list[Component]  # what the squared standard error is made of; empty if it is 0


@dataclass(frozen=True)
class Comparison:
    """The comparison of predictions for the same patches."""

    verdict: str  # that of the decisive metric, or 'no difference' if all predictions are the same
    metric: str  # the decisive one
    scope: str  # 'two runs', or 'configurations' if a side has several seeds
    seeds: dict[str, int]  # of each side, by 'before' and 'after'
    patches: int
    places: int | None  # None if unknown
    metrics: dict[str, Verdict]  # for each metric that both sides have
    losses: list[str]  # the gated metrics that are significantly worse

    @property
    def decisive(self) -> Verdict:
        return self.metrics[self.metric]


def score_test(fixed: int, broken: int) -> float:
    """The two-sided p-value of the score test: do two classifiers have the same accuracy on the same patches?

    It is McNemar's test without correction, and agrees with the interval of `tango`.

    Args:
        fixed, broken: patches that only the second, and only the first, classifies correctly.

    Source: Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data: mid-p and asymptotic are
    better than exact conditional", BMC Medical Research Methodology 13, 2013.
    """
    return float(2 * scipy.stats.norm.sf(abs(fixed - broken) / np.sqrt(max(fixed + broken, 1))))


def tango(fixed: int, broken: int, count: int) -> Interval:
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
    return Interval(float(low), float(high))


def compare_scores(
    metric: Metric, before: np.ndarray, after: np.ndarray, places: np.ndarray | None = None, *, seedless: bool = False
) -> Verdict:
    """After minus before for one metric, from scores (S, N) and (T, N) of the same patches.

    Args:
        places: of the patches, int (N,), if known.
        seedless: a side with one row does not depend on a seed, like a logistic regression.
    """
    estimate = difference(before, after, places, seedless=seedless)
    (low, high), p = estimate.interval(), estimate.p()
    error, freedom, components = estimate.error, estimate.freedom, estimate.components
    method = CLUSTERED_T_TEST if clustered(places) else T_TEST
    if max(len(before), len(after)) > 1:
        method += WITH_SEEDS
    change = after.mean(0) - before.mean(0)  # (N,)
    of_two_runs = len(before) == len(after) == 1 and not clustered(places) and np.isin([before, after], (0, 1)).all()
    all_alike = estimate.value != 0 and error == 0  # this is not certainty: treat each place as one patch
    if metric.unit == SHARE and (of_two_runs or all_alike):
        # For single runs, the distribution of the difference is known, even with few patches.
        changes, source = (np.bincount(places, change), "places") if clustered(places) else (change, "patches")
        count, fixed, broken = len(changes), int((changes > 0).sum()), int((changes < 0).sum())
        (low, high), p = tango(fixed, broken, count), score_test(fixed, broken)
        method, error, freedom = SCORE_TEST, float(np.sqrt(fixed + broken) / count), None
        components = [Component(source, count, 1.0)] if error else []
    verdict = "within noise"
    if not low <= 0 <= high:
        verdict = "better" if (low > 0) == metric.higher_is_better else "worse"
    estimates = float(before.mean()), float(after.mean()), estimate.value, low, high, p
    return Verdict(*estimates, verdict, metric.name, method, error, freedom, components)


def compare(before: Predictions, after: Predictions, decisive: Metric = METRICS["accuracy"]) -> Comparison:
    """Compare the predictions `after` with those `before`, for the same patches.

    Raises:
        InputError: a table lacks what the decisive metric needs.
    """
    places = before.places if after.positions is None else after.places
    metrics = {name: compare_scores(METRICS[name], *both, places) for name, both in all_scores(before, after).items()}
    if decisive.name not in metrics:
        raise InputError(
            f"the verdict by {decisive.name} needs a column {decisive.column} on both sides; choose accuracy"
        )
    columns = ["predicted"] if before.p_actual is None or after.p_actual is None else ["predicted", "p_actual"]
    same = all(np.array_equal(getattr(before, name), getattr(after, name)) for name in columns)
    return Comparison(
        verdict="no difference" if same else metrics[decisive.name].verdict,
        metric=decisive.name,
        scope="two runs" if len(before.seeds) == len(after.seeds) == 1 else "configurations",
        seeds={"before": len(before.seeds), "after": len(after.seeds)},
        patches=len(after.patch_ids),
        places=None if places is None else int(places.max() + 1),
        metrics=metrics,
        losses=[name for name, one in metrics.items() if METRICS[name].gated and one.verdict == "worse"],
    )


def against_baselines(predictions: Predictions, baselines: pd.DataFrame) -> dict[str, Verdict]:
    """The verdict on the accuracy, compared with each baseline on the same patches.

    Args:
        baselines: a baseline_predictions.csv; baselines that an older revision lacks are left out.
    """
    accuracy, verdicts = METRICS["accuracy"], {}
    for name in BASELINES:
        if name in baselines:
            pair = (accuracy.scores(one) for one in (of_baseline(baselines, name, predictions), predictions))
            verdicts[name] = compare_scores(accuracy, *pair, predictions.places, seedless=True)
    return verdicts

"""Differences between predictions for the same patches: verdicts, and the evidence for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import scipy.stats
from scipy.optimize import brentq

from landcover.errors import InputError
from landcover.evaluation.intervals import NORMAL, Component, Interval, clustered, difference
from landcover.evaluation.metrics import METRICS, SHARE, Metric, all_scores
from landcover.evaluation.predictions import Predictions, complete

SCORE_TEST = "Tango's score test for paired proportions (McNemar's test)"
T_TEST = "paired t-test over patches"
CLUSTERED_T_TEST = "paired t-test with the cluster-robust variance CR2 over places"
WITH_SEEDS = ", with the variance between seeds"
# Of folds: the larger of two variances with one seed, their sum with more; see `intervals`.
OVER_FOLDS = "; the larger of this variance and that over folds"
WITH_NETWORKS = ", with 1.25 times the variance between seeds within a fold"


class Answer(StrEnum):
    """What the 95% interval of a gain, with the tolerance, says. The gain itself decides nothing."""

    BETTER = "better"
    WORSE = "worse"  # the loss may be as large as the tolerance
    SLIGHTLY_WORSE = "worse by less than the tolerance"
    EQUIVALENT = "equivalent"  # neither a gain nor a loss of the tolerance is possible
    NOT_WORSE = "undecided, not worse by the tolerance"
    UNDECIDED = "undecided"
    SAME = "no difference"  # of whole tables: every prediction is the same


def answer(low: float, high: float, tolerance: float, *, higher_is_better: bool = True) -> Answer:
    """The answer for the interval of a difference, after minus before; the tolerance is above 0."""
    if not higher_is_better:
        low, high = -high, -low
    if low > 0:
        return Answer.BETTER
    if high < 0:
        return Answer.SLIGHTLY_WORSE if low > -tolerance else Answer.WORSE
    if low > -tolerance:
        return Answer.EQUIVALENT if high < tolerance else Answer.NOT_WORSE
    return Answer.UNDECIDED


@dataclass(frozen=True)
class Verdict:
    """What is said about the difference of one metric, after minus before, and the evidence for it."""

    before: float
    after: float
    difference: float
    low: float  # of the 95% interval
    high: float
    p: float  # of the same test: below 0.05 if the interval excludes 0
    verdict: Answer
    tolerance: float  # the least difference that matters
    metric: str
    method: str  # in words
    standard_error: float
    degrees_of_freedom: float | None  # None: of a normal distribution
    components: list[Component]  # what the squared standard error is made of; empty if it is 0


@dataclass(frozen=True)
class Comparison:
    """The comparison of predictions for the same patches."""

    verdict: Answer  # that of the decisive metric, or SAME
    metric: str  # the decisive one
    scope: str  # 'two runs', or 'configurations' with several seeds or folds
    seeds: dict[str, int]  # of each side, by 'before' and 'after'
    folds: int | None  # None: both sides are tested on the test split
    whole_places: bool  # no place is known to lie in several folds, so that folds test new ground
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
    metric: Metric,
    before: np.ndarray,
    after: np.ndarray,
    places: np.ndarray | None = None,
    folds: np.ndarray | None = None,
    *,
    tolerance: float | None = None,
    seedless: bool = False,
) -> Verdict:
    """After minus before for one metric, from scores (S, N) and (T, N) of the same patches.

    Args:
        places, folds: of the patches, as in `intervals.difference`.
        tolerance: the least difference that matters; None: the metric's own.
        seedless: a side with one row does not depend on a seed, like a logistic regression.
    """
    tolerance = metric.tolerance if tolerance is None else tolerance
    estimate = difference(before, after, places, folds, seedless=seedless)
    (low, high), p = estimate.interval(), estimate.p()
    error, freedom, components = estimate.error, estimate.freedom, estimate.components
    method = CLUSTERED_T_TEST if clustered(places) else T_TEST
    several = max(len(before), len(after)) > 1
    if folds is not None:
        method += WITH_NETWORKS if several else OVER_FOLDS
    elif several:
        method += WITH_SEEDS
    change = after.mean(0) - before.mean(0)  # (N,)
    plain = not several and folds is None and not clustered(places)
    of_two_runs = plain and np.isin([before, after], (0, 1)).all()
    all_alike = error == 0  # this is not certainty: treat each place as one patch
    if metric.unit == SHARE and (of_two_runs or all_alike):
        # For single runs, the distribution of the difference is known, even with few patches.
        changes, source = (np.bincount(places, change), "places") if clustered(places) else (change, "patches")
        count, fixed, broken = len(changes), int((changes > 0).sum()), int((changes < 0).sum())
        (low, high), p = tango(fixed, broken, count), score_test(fixed, broken)
        method, error, freedom = SCORE_TEST, float(np.sqrt(fixed + broken) / count), None
        components = [Component(source, count, 1.0)] if error else []
    verdict = answer(low, high, tolerance, higher_is_better=metric.higher_is_better)
    estimates = float(before.mean()), float(after.mean()), estimate.value, low, high, p
    return Verdict(*estimates, verdict, tolerance, metric.name, method, error, freedom, components)


def compare(
    before: Predictions,
    after: Predictions,
    decisive: Metric = METRICS["accuracy"],
    tolerances: Mapping[str, float] | None = None,
    *,
    same_target: bool = True,
) -> Comparison:
    """Compare the predictions `after` with those `before`, for the same patches; if both have folds, for the same ones.

    Args:
        tolerances: by metric; those of other metrics are the list's.
        same_target: both sides predict the same, the class or the shares of all classes. If not, likelihoods of labels
            are left out: a network of shares gives a class the share that it expects, not the probability that it is
            the largest, so that its likelihood is low by design.

    Raises:
        InputError: a table lacks what the decisive metric needs, or the decisive metric is left out.
    """
    before, after = complete(before, after)
    places, folds = after.places, after.folds
    metrics = {
        name: compare_scores(METRICS[name], *both, places, folds, tolerance=(tolerances or {}).get(name))
        for name, both in all_scores(before, after).items()
        if same_target or not METRICS[name].of_labels
    }
    if decisive.of_labels and not same_target:
        raise InputError(
            f"the verdict by {decisive.name} is of labels, and one side was trained on shares (train.target); choose "
            "accuracy or cross_entropy"
        )
    if decisive.name not in metrics:
        raise InputError(
            f"the verdict by {decisive.name} needs a column {decisive.column} on both sides; choose accuracy"
        )
    columns = ["predicted"] if before.p_actual is None or after.p_actual is None else ["predicted", "p_actual"]
    same = all(np.array_equal(getattr(before, name), getattr(after, name)) for name in columns)
    return Comparison(
        verdict=Answer.SAME if same else metrics[decisive.name].verdict,
        metric=decisive.name,
        scope="two runs" if len(before.seeds) == len(after.seeds) == 1 and folds is None else "configurations",
        seeds={"before": len(before.seeds), "after": len(after.seeds)},
        folds=None if folds is None else len(np.unique(folds)),
        whole_places=folds is not None and places is not None and _nested(places, folds),
        patches=len(after.patch_ids),
        places=None if places is None else int(places.max() + 1),
        metrics=metrics,
        losses=[
            name
            for name, one in metrics.items()
            if one.verdict == Answer.WORSE and (METRICS[name].gated or name == decisive.name)
        ],
    )


def _nested(places: np.ndarray, folds: np.ndarray) -> bool:
    """Whether each place lies in one fold; both int (N,)."""
    return len(np.unique(np.stack([places, folds], axis=1), axis=0)) == len(np.unique(places))


def against_baselines(
    predictions: Predictions, baselines: Mapping[str, Predictions], tolerance: float | None = None
) -> dict[str, Verdict]:
    """The verdict on the accuracy, compared with each baseline on the same patches.

    Args:
        baselines: as `of_baselines` returns them.
        tolerance: of the accuracy; None: the metric's own.
    """
    accuracy, where = METRICS["accuracy"], (predictions.places, predictions.folds)
    return {
        name: compare_scores(
            accuracy, accuracy.scores(one), accuracy.scores(predictions), *where, tolerance=tolerance, seedless=True
        )
        for name, one in baselines.items()
    }

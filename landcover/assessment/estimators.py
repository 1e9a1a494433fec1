"""Estimates from a stratified random sample of points: accuracy of a map, area of each class, which map is better.

Every figure is a ratio of two population totals, so one estimator serves all: that of Stehman (2014), in which strata
need not be the classes of the map. Where they are, it equals the estimators of Olofsson et al. (2014).

Sources: Olofsson, Foody, Herold, Stehman, Woodcock and Wulder, "Good practices for estimating area and assessing
accuracy of land change", Remote Sensing of Environment 148, 2014. Stehman, "Estimating area and map accuracy for
stratified random sampling when the strata are different from the map classes", International Journal of Remote Sensing
35, 2014.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from landcover.evaluation.comparison import SCORE_TEST, Verdict, answer, score_test, tango
from landcover.evaluation.intervals import MOST_OF_A_SHARE, Component, Estimate, wilson
from landcover.evaluation.metrics import METRICS

UNKNOWN = -1  # the reference class of a point without a label, or the mapped class of one on nodata
LARGE = (
    0.05  # of a stratum in the sample, up to which the rest is as uncertain as all of it (Cochran 1977, section 2.6)
)
T_TEST = "paired t-test over points, stratified (Satterthwaite's degrees of freedom)"


@dataclass(frozen=True)
class Sample:
    """Labelled points of a stratified random sample; every stratum with units must have at least one."""

    sizes: np.ndarray  # int64 (H,): units of each stratum in the population
    strata: np.ndarray  # int64 (N,): of each point
    mapped: np.ndarray  # int64 (N,): the class on the map; UNKNOWN where it has none
    reference: np.ndarray  # int64 (N,): the class on the ground


class Share(NamedTuple):
    """An estimated share, its standard error and its 95% interval; NaN where it is undefined."""

    value: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """What a sample says of a map; all shares but user's and producer's accuracy are of the mapped area."""

    matrix: np.ndarray  # float64 (K, K): shares of area, by class on the map (rows) and on the ground (columns)
    counts: np.ndarray  # int64 (K, K): points, likewise
    overall: Share
    users: list[Share]  # of what is mapped as a class, the share that is right
    producers: list[Share]  # of what is a class on the ground, the share that is mapped as such
    areas: list[Share]  # of each class on the ground


class _Parts(NamedTuple):
    """The strata's parts in the variance of a ratio."""

    value: np.ndarray  # float64 (M,): the ratio
    variances: np.ndarray  # float64 (H, M): they add up
    freedom: np.ndarray  # int64 (H,): degrees of freedom of each


def _ratio(sizes: np.ndarray, strata: np.ndarray, y: np.ndarray, x: np.ndarray) -> _Parts:
    """The ratio of the totals of y and of x, both (N, M).

    Source: Stehman (2014), equations 27 and 28, whose sum of variances and covariances is the variance of y - R x.
    """
    inside = strata == np.arange(len(sizes))[:, None]  # (H, N)
    counts = inside.sum(1)
    weights = (sizes / sizes.sum())[:, None]
    mean = inside / counts[:, None]
    total = (weights * (mean @ x)).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (weights * (mean @ y)).sum(0) / total
        residuals = y - value * x
        squares = np.stack([((residuals[own] - residuals[own].mean(0)) ** 2).sum(0) for own in inside])
        spread = np.where(counts[:, None] > 1, squares / np.maximum(counts - 1, 1)[:, None], MOST_OF_A_SHARE)
        unseen = np.where(counts > LARGE * sizes, 1 - counts / sizes, 1)[:, None]
        return _Parts(value, weights**2 * unseen * spread / counts[:, None] / total**2, np.maximum(counts - 1, 1))


def share(value: float, error: float, count: int) -> Share:
    """A share with Wilson's interval for as many points as would give this error if drawn at random.

    Close to 0 and 1, where an interval of 1.96 standard errors is too short and leaves the range, this one does not.

    Args:
        count: points that the share is of; they decide where the sample shows no variance.

    Source: the effective sample size of Korn and Graubard, "Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data", Survey Methodology 24, 1998.
    """
    if np.isnan(value):
        return Share(np.nan, np.nan, np.nan, np.nan)
    value = min(max(float(value), 0.0), 1.0)  # the last digit of a sum may exceed 1
    effective = value * (1 - value) / error**2 if error > 0 else count
    return Share(value, float(error), *wilson(value, effective or count))


def shares(sample: Sample, y: np.ndarray, x: np.ndarray) -> list[Share]:
    """The share of x that is y, for each column of two arrays of zeros and ones (N, M)."""
    parts = _ratio(sample.sizes, sample.strata, y.astype(float), x.astype(float))
    errors = np.sqrt(parts.variances.sum(0))
    return [share(*one) for one in zip(parts.value, errors, x.sum(0), strict=True)]


def bounds(sample: Sample, y: np.ndarray, x: np.ndarray, unlabelled: np.ndarray) -> list[tuple[float, float]]:
    """The least and the largest share of x that is y, whatever the unlabelled points (N,) are; y and x as in `shares`.

    They bound what is missing, not the error of sampling.
    """
    ends = [y & ~unlabelled[:, None], y | unlabelled[:, None]]
    low, high = (_ratio(sample.sizes, sample.strata, (end & x).astype(float), x.astype(float)).value for end in ends)
    return [(float(least), float(most)) for least, most in zip(low, high, strict=True)]


def accuracy(sample: Sample, classes: int) -> Accuracy:
    """The accuracy of a map and the area of each class on the ground.

    Points on nodata of the map say how much of the population it does not cover, and count for nothing else.
    """
    every = np.arange(classes)
    known = sample.mapped != UNKNOWN
    mapped = sample.mapped[:, None] == every  # (N, K)
    reference = (sample.reference[:, None] == every) & known[:, None]
    right = mapped & reference
    covered = np.broadcast_to(known[:, None], right.shape)
    pairs = (mapped[:, :, None] & reference[:, None, :]).reshape(len(known), -1)
    cells = _ratio(sample.sizes, sample.strata, pairs.astype(float), known[:, None].astype(float))
    return Accuracy(
        matrix=cells.value.reshape(classes, classes),
        counts=pairs.sum(0).reshape(classes, classes),
        overall=shares(sample, right.any(1, keepdims=True), known[:, None])[0],
        users=shares(sample, right, mapped),
        producers=shares(sample, right, reference),
        areas=shares(sample, reference, covered),
    )


def difference(sample: Sample, other: np.ndarray, tolerance: float = METRICS["accuracy"].tolerance) -> Verdict:
    """Is another map of the same area more accurate?

    The estimate is the stratified mean of (right on the other) - (right on this one), over points where both have a
    class; its variance is the sum of W^2 s^2 / n over the strata.

    Args:
        other: the class of each point on the other map, int64 (N,); UNKNOWN where it has none.
        tolerance: the least difference that matters.

    Source: Cochran, "Sampling Techniques", 3rd edition, 1977, equations 5.13 and 5.16.
    """
    both = ((sample.mapped != UNKNOWN) & (other != UNKNOWN)).astype(float)
    before, after = (both * (labels == sample.reference) for labels in (sample.mapped, other))
    columns = np.stack([before, after, after - before], axis=1)
    parts = _ratio(sample.sizes, sample.strata, columns, np.repeat(both[:, None], 3, axis=1))
    change, variances = float(parts.value[2]), parts.variances[:, 2]
    error = float(np.sqrt(variances.sum()))
    accuracies = float(parts.value[0]), float(parts.value[1])
    if error == 0:
        # Every point says the same, which is not certainty.
        fixed, broken = int((after > before).sum()), int((after < before).sum())
        (low, high), p = tango(fixed, broken, int(both.sum())), score_test(fixed, broken)
        said = answer(low, high, tolerance)
        return Verdict(*accuracies, change, low, high, p, said, tolerance, "accuracy", SCORE_TEST, 0.0, None, [])
    freedom = float(variances.sum() ** 2 / (variances**2 / parts.freedom).sum())
    components = [Component("points", int(both.sum()), 1.0)]
    estimate = Estimate(change, error, freedom, components)
    (low, high), p = estimate.interval(), estimate.p()
    said = answer(low, high, tolerance)
    return Verdict(
        *accuracies, change, low, high, p, said, tolerance, "accuracy", T_TEST, error, freedom, components
    )  # fmt: skip


def kappa(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """How far two people agree: the share of points, and Cohen's kappa, NaN if both use only one class; labels (N,).

    Source: Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20, 1960.
    """
    used = np.union1d(first, second)[:, None]
    observed = float((first == second).mean())
    expected = float(((first == used).mean(1) * (second == used).mean(1)).sum())
    return observed, (observed - expected) / (1 - expected) if expected < 1 else np.nan

"""The uncertainty of a mean over patches and seeds, from components of variance.

A mean varies with the patches that were drawn, with the places in which they lie, and with the seeds. Each component is
estimated separately, and Satterthwaite's formula gives the degrees of freedom of their sum.

With folds, each fold has networks of its own, whose training sets overlap. No unbiased estimate of the variance exists
(Bengio and Grandvalet, "No unbiased estimator of the variance of k-fold cross-validation", JMLR 5, 2004), so the two
rules used here rest on the simulation in docs/comparison.md. With one seed, it is the larger of two cluster-robust
variances, over places and over folds. With more, it is that over places and, in addition, the variance of the networks
between seeds within a fold, times OVERLAP.

Sources: Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2, 1946;
Bell and McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples", Survey
Methodology 28, 2002, with the correlation that the data show, as Imbens and Kolesar, Review of Economics and Statistics
98, 2016, recommend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.stats

CONFIDENCE = 0.95
NORMAL = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2))
MOST_OF_A_SHARE = 0.25  # the variance assumed for a single patch, from which none can be estimated
OVERLAP = 1.25  # by which the overlap of the folds' training sets multiplies the variance between networks
MANY = 1000  # places, beyond which their sizes hardly affect the degrees of freedom


def quantile(freedom: float | None) -> float:
    """How many standard errors a 95% interval reaches to each side: Student's t; None: the normal distribution's."""
    return NORMAL if freedom is None else float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


class Interval(NamedTuple):
    """The bounds of a 95% interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Component:
    """A source of the variance of an estimate."""

    source: str  # patches, places, folds, seeds or networks; of a difference, '... before' and '... after'
    count: int  # of these
    share: float  # of the variance, 0 to 1


class _Variance(NamedTuple):
    """The variance of a mean from one source. Those of several sources add up, and so do their spreads."""

    source: str
    count: int
    value: float
    spread: float  # value**2 / degrees of freedom; Satterthwaite's formula adds these
    least_freedom: float = np.inf  # of a sum with this part: as little as the estimate alone has


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error, the degrees of freedom of the latter, and what makes up the variance."""

    value: float
    error: float
    freedom: float
    components: list[Component]

    def interval(self) -> Interval:
        """The 95% interval, by Student's t."""
        reach = self.error * quantile(self.freedom)
        return Interval(float(self.value - reach), float(self.value + reach))

    def p(self) -> float:
        """The two-sided p-value for a true value of 0; below 0.05 where the interval excludes 0."""
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * scipy.stats.t.sf(abs(self.value) / self.error, self.freedom))


def wilson(share: float, count: float, freedom: float | None = None) -> Interval:
    """The 95% interval of a proportion of `count` patches; with degrees of freedom, by Student's t.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    square = quantile(freedom) ** 2 / count
    middle = (share + square / 2) / (1 + square)
    reach = np.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    # It contains the proportion itself, 0 and 1 included, which the last digit may miss.
    return Interval(max(float(min(middle - reach, share)), 0.0), min(float(max(middle + reach, share)), 1.0))


def clustered(places: np.ndarray | None) -> bool:
    """Whether places, int (N,), are informative: known, more than one, and fewer than the patches."""
    return places is not None and 1 < places.max() + 1 < len(places)


def _of_patches(scores: np.ndarray, places: np.ndarray | None) -> _Variance:
    """The variance of the mean of `scores` (N,), whose patches lie in `places`, int (N,), if that is known."""
    count = len(scores)
    if count == 1:
        return _Variance("patches", 1, MOST_OF_A_SHARE, MOST_OF_A_SHARE**2)
    if not clustered(places):
        variance = scores.var(ddof=1) / count
        return _Variance("patches", count, variance, variance**2 / (count - 1))
    sizes, variance = np.bincount(places), _clustered_variance(scores, places)
    freedom = len(sizes) - 1
    if len(sizes) <= MANY:
        share, correlation = sizes / count, intraclass_correlation(scores, places)
        of_sums = sizes * (1 - correlation) + sizes**2 * correlation  # variances of the places' sums, up to a factor
        residuals = (np.eye(len(sizes)) - share[:, None]) / np.sqrt(1 - share)[:, None]
        covariance = residuals * of_sums @ residuals.T
        freedom = np.trace(covariance) ** 2 / (covariance**2).sum()
    return _Variance("places", len(sizes), variance, variance**2 / freedom)


def _clustered_variance(scores: np.ndarray, clusters: np.ndarray) -> float:
    """Bell and McCaffrey's CR2 for a mean of `scores` (N,), over clusters numbered from 0, int (N,).

    Residuals are summed within a cluster, and those of a large one are inflated, since it has pulled the mean towards
    itself.
    """
    share = np.bincount(clusters) / len(scores)
    sums = np.bincount(clusters, scores - scores.mean())
    return float((sums**2 / (1 - share)).sum() / len(scores) ** 2)


def intraclass_correlation(scores: np.ndarray, places: np.ndarray) -> float:
    """How alike the scores (N,) of patches in one place, int (N,) from 0, are: 0 to 1, by analysis of variance."""
    sizes, count = np.bincount(places), len(scores)
    means = np.bincount(places, scores) / sizes
    between = (sizes * (means - scores.mean()) ** 2).sum() / (len(sizes) - 1)
    within = ((scores - means[places]) ** 2).sum() / max(count - len(sizes), 1)
    typical = (count - (sizes**2).sum() / count) / (len(sizes) - 1)
    of_places = max((between - within) / typical, 0)
    return of_places / (of_places + within) if of_places else 0.0


def _of_seeds(scores: np.ndarray, source: str = "seeds") -> list[_Variance]:
    """The variance that seeds add to the mean of `scores` (S, N), beyond what the patches' variance already contains.

    The residual variation between seeds on the same patches is in the patches' variance too, and is subtracted. The
    result may be below zero; truncating it there would bias it upwards.
    """
    seeds, patches = scores.shape
    if seeds < 2 or patches < 2:
        return []
    rows, columns = scores.mean(1, keepdims=True), scores.mean(0)
    between = patches * rows.var(ddof=1) / scores.size
    free = (seeds - 1) * (patches - 1)
    rest = ((scores - rows - columns + scores.mean()) ** 2).sum() / free / scores.size
    spread = between**2 / (seeds - 1) + rest**2 / free
    return [_Variance(source, seeds, between - rest, spread, seeds - 1)]


def _of_networks(scores: np.ndarray, folds: np.ndarray, source: str = "networks") -> list[_Variance]:
    """The variance that the networks of folds, int (N,) from 0, add to the mean of `scores` (S, N): between seeds."""
    sizes = np.bincount(folds)
    within = [
        (size / len(folds), one) for fold, size in enumerate(sizes) for one in _of_seeds(scores[:, folds == fold])
    ]
    if not within:
        return []
    value = OVERLAP * sum(share**2 * one.value for share, one in within)
    spread = OVERLAP**2 * sum(share**4 * one.spread for share, one in within)
    return [_Variance(source, len(scores) * len(sizes), value, spread, (len(scores) - 1) * len(sizes))]


def _estimate(value: float, patches: _Variance, seeds: Sequence[_Variance]) -> Estimate:
    parts = [patches, *seeds]
    variance, spread = sum(part.value for part in parts), sum(part.spread for part in parts)
    freedom = variance**2 / spread if spread else 1.0
    # Below what the part with the least has, it is only so because a negative part was subtracted.
    freedom = max(freedom, min(part.least_freedom for part in parts)) if seeds else freedom
    if variance < patches.value / 2:  # the total is not set below this
        variance = patches.value / 2
        freedom = patches.value**2 / patches.spread if patches.spread else 1.0
    return Estimate(float(value), float(np.sqrt(variance)), float(freedom), _components(parts))


def _components(parts: Sequence[_Variance]) -> list[Component]:
    positive = sum(max(part.value, 0.0) for part in parts)
    return [Component(part.source, part.count, float(max(part.value, 0.0) / positive)) for part in parts if positive]


def _of_one_seed(scores: np.ndarray, places: np.ndarray | None, folds: np.ndarray) -> Estimate:
    """The mean of `scores` (N,), each from the single network of its fold, int (N,) from 0."""
    patches, variance = _of_patches(scores, places), _clustered_variance(scores, folds)
    if patches.value >= variance:
        return _estimate(scores.mean(), patches, [])
    count = int(folds.max() + 1)
    parts = [patches, _Variance("folds", count, variance - patches.value, 0.0)]  # what they add to the patches'
    return Estimate(float(scores.mean()), float(np.sqrt(variance)), float(count - 1), _components(parts))


def share_interval(right: np.ndarray, places: np.ndarray | None = None) -> Interval:
    """The 95% interval of the share of correct patches, from bool (N,): Wilson's, which is valid at 100%, too.

    With places, the count is the effective number of independent patches, whose share would have the same variance.
    Source: Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24, 1998, with Wilson's interval.
    """
    share, count, freedom = right.mean(), len(right), None
    if clustered(places) and 0 < share < 1:
        estimate, freedom = mean(right[None].astype(float), places), places.max()
        if estimate.error:  # 0 if all places have the same share
            count, freedom = min(count, share * (1 - share) / estimate.error**2), estimate.freedom
    return wilson(share, count, freedom)


def mean(scores: np.ndarray, places: np.ndarray | None = None, folds: np.ndarray | None = None) -> Estimate:
    """The mean of scores (S, N), one row per seed and one column per patch.

    Args:
        places: of the patches, int (N,), numbered from 0, if known.
        folds: of the patches, int (N,), if each fold has networks of its own.
    """
    if folds is None:
        return _estimate(scores.mean(), _of_patches(scores.mean(0), places), _of_seeds(scores))
    folds = np.unique(folds, return_inverse=True)[1]  # numbered from 0
    if len(scores) == 1:
        return _of_one_seed(scores[0], places, folds)
    return _estimate(scores.mean(), _of_patches(scores.mean(0), places), _of_networks(scores, folds))


def difference(
    before: np.ndarray,
    after: np.ndarray,
    places: np.ndarray | None = None,
    folds: np.ndarray | None = None,
    *,
    seedless: bool = False,
) -> Estimate:
    """The mean of `after` (T, N) minus that of `before` (S, N), scores of the same patches.

    Args:
        places, folds: as in `mean`; both sides have the same folds.
        seedless: a side with one row does not depend on a seed, like a logistic regression. Otherwise, it is one of
            many possible runs and is assumed to vary as the other side does.
    """
    paired = after.mean(0) - before.mean(0)
    single, several = sorted((before, after), key=len)
    if folds is None:
        seeds = _of_seeds(before, "seeds before") + _of_seeds(after, "seeds after")
    else:
        folds = np.unique(folds, return_inverse=True)[1]  # numbered from 0
        if len(several) == 1:
            return _of_one_seed(paired, places, folds)
        seeds = _of_networks(before, folds, "networks before") + _of_networks(after, folds, "networks after")
    if len(single) == 1 and not seedless:
        factor = 1 + len(several)
        seeds = [part._replace(value=part.value * factor, spread=part.spread * factor**2) for part in seeds]
    return _estimate(paired.mean(), _of_patches(paired, places), seeds)


def independent(one: Estimate, other: Estimate) -> Estimate:
    """`one` minus `other`, for different patches, by Welch's formula."""
    variances = [estimate.error**2 for estimate in (one, other)]
    spread = sum(part**2 / free for part, free in zip(variances, (one.freedom, other.freedom), strict=True))
    freedom = sum(variances) ** 2 / spread if spread else 1.0
    return Estimate(one.value - other.value, float(np.sqrt(sum(variances))), float(freedom), [])

"""The uncertainty of a mean over patches and seeds, from components of variance.

A mean varies with the patches that were drawn, with the places in which they lie, and with the seeds. Each component is
estimated separately, and Satterthwaite's formula gives the degrees of freedom of their sum.

Sources: Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2, 1946;
Bell and McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples", Survey
Methodology 28, 2002, with the correlation that the data show, as Imbens and Kolesar, Review of Economics and Statistics
98, 2016, recommend.
"""

from typing import NamedTuple

import numpy as np
import scipy.stats

CONFIDENCE = 0.95
NORMAL = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2))
MOST_OF_A_SHARE = 0.25  # the variance assumed for a single patch, from which none can be estimated
MANY = 1000  # places, beyond which their sizes hardly affect the degrees of freedom


class Estimate(NamedTuple):
    """A mean, its standard error, and the degrees of freedom of the latter."""

    value: float
    error: float
    freedom: float

    def interval(self) -> tuple[float, float]:
        """The 95% interval, by Student's t."""
        reach = self.error * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, self.freedom)
        return float(self.value - reach), float(self.value + reach)

    def p(self) -> float:
        """The two-sided p-value for a true value of 0."""
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * scipy.stats.t.sf(abs(self.value) / self.error, self.freedom))


def wilson(share: float, count: float, quantile: float = NORMAL) -> tuple[float, float]:
    """The 95% interval of a proportion of `count` patches.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    square = quantile**2 / count
    middle = (share + square / 2) / (1 + square)
    reach = np.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    # It contains the proportion itself, 0 and 1 included, which the last digit may miss.
    return max(float(min(middle - reach, share)), 0.0), min(float(max(middle + reach, share)), 1.0)


Parts = list[tuple[float, float]]  # variances, which add up, and their degrees of freedom


def clustered(places: np.ndarray | None) -> bool:
    """Whether places, int (N,), are informative: known, more than one, and fewer than the patches."""
    return places is not None and 1 < places.max() + 1 < len(places)


def _of_patches(scores: np.ndarray, places: np.ndarray | None) -> Parts:
    """The variance of the mean of `scores` (N,), whose patches lie in `places`, int (N,), if that is known."""
    count = len(scores)
    if count == 1:
        return [(MOST_OF_A_SHARE, 1)]
    if not clustered(places):
        return [(scores.var(ddof=1) / count, count - 1)]
    # Bell and McCaffrey's CR2 for a mean. Residuals are summed within a place, and those of a large place are inflated,
    # since it has pulled the mean towards itself.
    sizes = np.bincount(places)
    share = sizes / count
    sums = np.bincount(places, scores - scores.mean())
    variance = (sums**2 / (1 - share)).sum() / count**2
    if len(sizes) > MANY:
        return [(variance, len(sizes) - 1)]
    correlation = _within_places(scores, places)
    of_sums = sizes * (1 - correlation) + sizes**2 * correlation  # variances of the places' sums, up to a factor
    residuals = (np.eye(len(sizes)) - share[:, None]) / np.sqrt(1 - share)[:, None]
    covariance = residuals * of_sums @ residuals.T
    return [(variance, np.trace(covariance) ** 2 / (covariance**2).sum())]


def _within_places(scores: np.ndarray, places: np.ndarray) -> float:
    """The intraclass correlation, 0 to 1, by analysis of variance."""
    sizes, count = np.bincount(places), len(scores)
    means = np.bincount(places, scores) / sizes
    between = (sizes * (means - scores.mean()) ** 2).sum() / (len(sizes) - 1)
    within = ((scores - means[places]) ** 2).sum() / max(count - len(sizes), 1)
    typical = (count - (sizes**2).sum() / count) / (len(sizes) - 1)
    of_places = max((between - within) / typical, 0)
    return of_places / (of_places + within) if of_places else 0.0


def _of_seeds(scores: np.ndarray) -> Parts:
    """The variance that seeds add to the mean of `scores` (S, N), beyond what the patches' variance already contains.

    The second part is negative: the residual variation between seeds on the same patches is in the patches' variance
    too. The sum may be below zero; truncating it there would bias it upwards.
    """
    seeds, patches = scores.shape
    if seeds < 2 or patches < 2:
        return []
    rows, columns = scores.mean(1, keepdims=True), scores.mean(0)
    between = patches * rows.var(ddof=1)
    free = (seeds - 1) * (patches - 1)
    rest = ((scores - rows - columns + scores.mean()) ** 2).sum() / free
    return [(between / scores.size, seeds - 1), (-rest / scores.size, free)]


def _estimate(value: float, patches: Parts, seeds: Parts) -> Estimate:
    parts = patches + seeds
    variance = sum(part for part, _ in parts)
    least = sum(part for part, _ in patches) / 2  # the total is not set below this
    if variance < least:
        variance, parts = least, patches
    spread = sum(part**2 / free for part, free in parts)
    freedom = sum(part for part, _ in parts) ** 2 / spread if spread else 1.0
    return Estimate(float(value), float(np.sqrt(variance)), float(freedom))


def share_interval(right: np.ndarray, places: np.ndarray | None = None) -> tuple[float, float]:
    """The 95% interval of the share of correct patches, from bool (N,): Wilson's, which is valid at 100%, too.

    With places, the count is the effective number of independent patches, whose share would have the same variance.
    Source: Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24, 1998, with Wilson's interval.
    """
    share, count, quantile = right.mean(), len(right), NORMAL
    if clustered(places) and 0 < share < 1:
        [(variance, freedom)] = _of_patches(right.astype(float), places)
        if variance:  # 0 if all places have the same share
            count = min(count, share * (1 - share) / variance)
        quantile = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    return wilson(share, count, quantile)


def mean(scores: np.ndarray, places: np.ndarray | None = None) -> Estimate:
    """The mean of scores (S, N), one row per seed and one column per patch; places are int (N,), numbered from 0."""
    return _estimate(scores.mean(), _of_patches(scores.mean(0), places), _of_seeds(scores))


def difference(
    before: np.ndarray, after: np.ndarray, places: np.ndarray | None = None, *, fixed: bool = False
) -> Estimate:
    """The mean of `after` (T, N) minus that of `before` (S, N), scores of the same patches.

    Args:
        fixed: a side with one row has no seed, like a logistic regression. Otherwise, it is one of many possible runs
            and is assumed to vary as the other side does.
    """
    paired = after.mean(0) - before.mean(0)
    seeds = _of_seeds(before) + _of_seeds(after)
    single, several = sorted((before, after), key=len)
    if len(single) == 1 and not fixed:
        seeds = [(part * (1 + len(several)), free) for part, free in seeds]
    return _estimate(paired.mean(), _of_patches(paired, places), seeds)


def independent(one: Estimate, other: Estimate) -> Estimate:
    """`one` minus `other`, for different patches."""
    parts = [(estimate.error**2, estimate.freedom) for estimate in (one, other)]
    return _estimate(one.value - other.value, parts, [])

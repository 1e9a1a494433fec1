"""Are other predictions of the same patches better? Differences with intervals, and tests."""

import numpy as np
import pandas as pd
import scipy.stats

from landcover.judgement.confusion import CONFIDENCE, accuracy, bootstrap, interval, macro_f1
from landcover.judgement.predictions import BASELINES, LABELS, to_labels


def mcnemar(correct: np.ndarray, other: np.ndarray) -> float:
    """The two-sided exact p-value of McNemar's test: are two classifiers right on equally many of the same patches?

    Args:
        correct, other: bool (N,), which patches each got right.

    Source: Edwards, "Note on the correction for continuity in testing the significance of the difference between
    correlated proportions", Psychometrika 13, 1948; exact by the binomial distribution of the discordant pairs.
    """
    fixed, broken = int((~correct & other).sum()), int((correct & ~other).sum())
    return float(scipy.stats.binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0


def compare(
    labels: np.ndarray, base: np.ndarray, head: np.ndarray, classes: int, *, resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Head minus base of accuracy and macro F1, with 95 % intervals by a bootstrap over the same patches.

    Args:
        labels: int (N,).
        base, head: predictions of the same patches by two classifiers, (N,), or by several seeds of each, (S, N) and
            (T, N). The seeds are then resampled too, so that their noise is in the interval. Of S seeds S - 1 are
            drawn, which makes the variance of their mean unbiased; and since few seeds tell little of it, the interval
            is widened as Student's t is wider than the normal, with the Welch-Satterthwaite degrees of freedom.
        classes: how many there are.

    Returns:
        By metric `difference`, `low`, `high`; for the accuracy of single classifiers also `p`, of McNemar's test.
    """
    sides = [np.atleast_2d(base), np.atleast_2d(head)]
    # Patches that are alike in label and predictions are one cell, so that few numbers are drawn.
    patterns, counts = np.unique(np.vstack([labels, *sides]), axis=1, return_counts=True)
    actual, *predicted = np.split(patterns, [1, 1 + len(sides[0])])
    weights = np.vstack([counts, bootstrap(counts, resamples, seed)])  # the data itself, then its resamples
    generator = np.random.default_rng(seed + 1)

    means = {"accuracy": [], "macro_f1": []}
    spreads = {"accuracy": [], "macro_f1": []}  # by side: variance of the mean over its seeds, degrees of freedom
    for side in predicted:
        drawn = np.full((resamples + 1, len(side)), 1 / len(side))
        if len(side) > 1:
            drawn[1:] = generator.multinomial(len(side) - 1, drawn[0], size=resamples) / (len(side) - 1)
        values = {"accuracy": [], "macro_f1": []}
        for one in side:
            onto = np.zeros((len(counts), classes**2))
            onto[np.arange(len(counts)), actual[0] * classes + one] = 1
            confusion = (weights @ onto).reshape(-1, classes, classes)
            values["accuracy"].append(accuracy(confusion))
            values["macro_f1"].append(macro_f1(confusion))
        for name, value in values.items():
            means[name].append((np.stack(value, axis=1) * drawn).sum(1))
            if len(side) > 1:
                spreads[name].append((np.var([one[0] for one in value], ddof=1) / len(side), len(side) - 1))

    found = {}
    for name, (before, after) in means.items():
        difference = float((after - before)[0])
        wider = _student_factor(float(np.var((after - before)[1:])), spreads[name], int(counts.sum()))
        low, high = (difference + wider * (limit - difference) for limit in interval((after - before)[1:]))
        found[name] = {"difference": difference, "low": low, "high": high}
    if len(sides[0]) == len(sides[1]) == 1:
        found["accuracy"]["p"] = mcnemar(sides[0][0] == labels, sides[1][0] == labels)
    return found


def _student_factor(total: float, spreads: list[tuple[float, int]], patches: int) -> float:
    """How much wider than the normal's the interval must be, if parts of the variance are known from few seeds."""
    if not spreads or total == 0:
        return 1.0
    parts = [*spreads, (max(total - sum(variance for variance, _ in spreads), 0.0), patches - 1)]
    freedom = sum(variance for variance, _ in parts) ** 2 / sum(variance**2 / free for variance, free in parts)
    quantile = (1 + CONFIDENCE) / 2
    return float(scipy.stats.t.ppf(quantile, freedom) / scipy.stats.norm.ppf(quantile))


def mean_accuracy(right: np.ndarray) -> tuple[float, float]:
    """The accuracy over seeds, and the variance of its error: that of the patches, and that of the seeds.

    Args:
        right: which patches are predicted right, bool (S, N), a row a seed.
    """
    variance = right.mean(0).var() / right.shape[1]
    if len(right) > 1:
        variance += right.mean(1).var(ddof=1) / len(right)
    return float(right.mean()), float(variance)


def against_baselines(
    predictions: pd.DataFrame, baselines: pd.DataFrame, resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """A network's accuracy minus each baseline's on the same patches, its interval, and McNemar's p-value.

    Args:
        predictions: columns `patch_id`, `actual`, `predicted`.
        baselines: column `patch_id`, and one of class names for each of BASELINES.
    """
    both = predictions.merge(baselines[["patch_id", *BASELINES]], on="patch_id", validate="one_to_one")
    assert len(both) == len(predictions) == len(baselines)
    labels, network = to_labels(both["actual"]), to_labels(both["predicted"])
    return {
        name: compare(labels, to_labels(both[name]), network, len(LABELS), resamples=resamples, seed=seed)["accuracy"]
        for name in BASELINES
    }

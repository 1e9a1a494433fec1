"""How good predictions are, and how sure one can be of it.

Metrics over classes are means over the classes that occur among the labels: a class without a label has no recall,
and what is wrongly predicted as it counts against the recall of the true class.
"""

import itertools
import math
from statistics import NormalDist

import numpy as np

CALIBRATION_BINS = 15
CONFIDENCE = 0.95
TEMPERATURES = (0.02, 50)
PURITY_EDGES = (0, 0.5, 0.7, 0.9, 1)  # of the majority fraction
PURITY_RANGES = tuple(
    f"{low:.0%} to {high:.0%}" if low else f"below {high:.0%}" for low, high in itertools.pairwise(PURITY_EDGES)
)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Count patches by label (rows) and prediction (columns); int64 (K, K)."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def _divide(numerator: np.ndarray, denominator: np.ndarray, undefined: float = 0.0) -> np.ndarray:
    """A quotient that is `undefined` where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), undefined), where=denominator > 0)


def _hits_and_totals(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correct, labelled and predicted patches by class, each (..., K), of confusion matrices (..., K, K)."""
    return np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of patches that are predicted right; (...) of confusion matrices (..., K, K)."""
    return np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum((-2, -1))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that occur; (...) of confusion matrices (..., K, K)."""
    hits, labelled, _ = _hits_and_totals(confusion)
    return _divide(hits, labelled).sum(-1) / (labelled > 0).sum(-1)


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 by class, 0 where there is neither label nor prediction; (..., K) of confusion matrices (..., K, K)."""
    hits, labelled, predicted = _hits_and_totals(confusion)
    return _divide(2 * hits, labelled + predicted)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that occur; (...) of confusion matrices (..., K, K)."""
    occurs = confusion.sum(-1) > 0
    return (class_f1(confusion) * occurs).sum(-1) / occurs.sum(-1)


def per_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Support, precision, recall and F1 by class, each (K,).

    NaN where there is nothing to tell: precision of a class never predicted, recall and F1 of one without a label.
    """
    hits, labelled, predicted = _hits_and_totals(confusion)
    return {
        "support": labelled,
        "precision": _divide(hits, predicted, np.nan),
        "recall": _divide(hits, labelled, np.nan),
        "f1": np.where(labelled > 0, class_f1(confusion), np.nan),
    }


def nll(labels: np.ndarray, log_probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels, in nats; of log-probabilities (N, K)."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def reliability(correct: np.ndarray, confidence: np.ndarray) -> dict[str, np.ndarray]:
    """Patches, mean confidence and accuracy in bins of equal width over (0, 1], each (CALIBRATION_BINS,)."""
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    return {
        "count": count,
        "confidence": _divide(np.bincount(bins, confidence, CALIBRATION_BINS), count),
        "accuracy": _divide(np.bincount(bins, correct.astype(float), CALIBRATION_BINS), count),
    }


def ece(correct: np.ndarray, confidence: np.ndarray) -> float:
    """Expected calibration error: how far confidence is from accuracy, by bin, weighted by its patches.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    bins = reliability(correct, confidence)
    return float((bins["count"] * np.abs(bins["accuracy"] - bins["confidence"])).sum() / len(correct))


def fit_temperature(labels: np.ndarray, log_probabilities: np.ndarray) -> float:
    """The temperature that logits are divided by so that the negative log-likelihood is least.

    Above 1 the predictions were too sure of themselves. Source: Guo et al., ICML 2017, section 4.2.
    """
    # The likelihood is convex in the inverse of the temperature, and its slope there is how far the logits that are
    # expected lie from those of the labels: halve the range in which the slope changes its sign.
    actual = log_probabilities[np.arange(len(labels)), labels].mean()
    low, high = TEMPERATURES
    for _ in range(40):
        middle = math.sqrt(low * high)
        expected = (np.exp(soften(log_probabilities, middle)) * log_probabilities).sum(1).mean()
        low, high = (low, middle) if expected < actual else (middle, high)
    return math.sqrt(low * high)


def soften(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Log-probabilities (N, K) after a division of the logits by `temperature`."""
    scaled = log_probabilities / temperature
    return scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)


def purity_range(majority_fraction: np.ndarray) -> np.ndarray:
    """In which of PURITY_RANGES the majority fraction of each patch lies; int (N,)."""
    return np.searchsorted(PURITY_EDGES[1:-1], majority_fraction, side="right")


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share.  Source: E. B. Wilson, 1927."""
    z2 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    share = hits / count
    middle = share + z2 / (2 * count)
    reach = math.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2)))
    return max((middle - reach) / (1 + z2 / count), 0.0), min((middle + reach) / (1 + z2 / count), 1.0)


def accuracy_by_purity(correct: np.ndarray, majority_fraction: np.ndarray) -> list[dict[str, float | int | str]]:
    """Accuracy with its 95 % Wilson interval, of the patches in each range of the share that their class covers.

    The fewer pixels are of the class that a patch is named after, the less there is to be right about.

    Returns:
        Rows of `purity`, `n`, `accuracy`, `low`, `high`, for the ranges that have a patch.
    """
    rows, ranges = [], purity_range(majority_fraction)
    for number in np.unique(ranges):
        hits, count = int(correct[ranges == number].sum()), int((ranges == number).sum())
        low, high = wilson(hits, count)
        rows.append({"purity": PURITY_RANGES[number], "n": count, "accuracy": hits / count, "low": low, "high": high})
    return rows


def bootstrap(cells: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Draw as many patches as there are, with replacement, `resamples` times.

    A metric that depends on a patch only by the cell it is counted in (a cell of the confusion matrix, say) needs no
    more than the counts, and those of a resample are multinomial. So the cost does not grow with the patches.

    Args:
        cells: counts of patches, of any shape.

    Returns:
        Counts of each resample, (resamples, *cells.shape).
    """
    total = cells.sum()
    drawn = np.random.default_rng(seed).multinomial(total, cells.ravel() / total, size=resamples)
    return drawn.reshape(resamples, *cells.shape)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The percentile interval that holds CONFIDENCE of bootstrapped values (resamples,)."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def summary(labels: np.ndarray, log_probabilities: np.ndarray, *, resamples: int, seed: int) -> dict[str, float | int]:
    """All metrics of one split, with 95 % bootstrap intervals over its patches for accuracy and macro F1.

    Args:
        labels: int (N,).
        log_probabilities: (N, K).
    """
    predictions = log_probabilities.argmax(1)
    confusion = confusion_matrix(labels, predictions, log_probabilities.shape[1])
    drawn = bootstrap(confusion, resamples, seed)
    found: dict[str, float | int] = {}
    for name, metric in (("accuracy", accuracy), ("macro_f1", macro_f1)):
        low, high = interval(metric(drawn))
        found |= {name: float(metric(confusion)), f"{name}_ci_low": low, f"{name}_ci_high": high}
    found["balanced_accuracy"] = float(balanced_accuracy(confusion))
    found["nll"] = nll(labels, log_probabilities)
    found["ece"] = ece(predictions == labels, np.exp(log_probabilities.max(1)))
    found["n"] = len(labels)
    return found


def mcnemar(correct: np.ndarray, other: np.ndarray) -> float:
    """The two-sided exact p-value of McNemar's test: are two classifiers right on equally many of the same patches?

    Args:
        correct, other: bool (N,), which patches each got right.

    Source: Edwards, "Note on the correction for continuity in testing the significance of the difference between
    correlated proportions", Psychometrika 13, 1948; exact by the binomial distribution of the discordant pairs.
    """
    fixed, broken = int((~correct & other).sum()), int((correct & ~other).sum())
    pairs = fixed + broken
    fewer = range(min(fixed, broken) + 1)
    ways = (math.lgamma(pairs + 1) - math.lgamma(k + 1) - math.lgamma(pairs - k + 1) for k in fewer)
    return min(1.0, 2 * math.fsum(math.exp(log - pairs * math.log(2)) for log in ways))


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
    import scipy.special  # here, since it takes as long to import as pandas, and only seeds need it

    parts = [*spreads, (max(total - sum(variance for variance, _ in spreads), 0.0), patches - 1)]
    freedom = sum(variance for variance, _ in parts) ** 2 / sum(variance**2 / free for variance, free in parts)
    quantile = (1 + CONFIDENCE) / 2
    return float(scipy.special.stdtrit(freedom, quantile) / scipy.special.ndtri(quantile))


def judge(difference: dict[str, float]) -> str:
    """Whether a difference is 'better', 'worse' or 'within noise'.

    It must be told from chance by its interval and, where there is one, by McNemar's exact test.
    """
    told = difference.get("p", 0) < 1 - CONFIDENCE
    if told and difference["low"] > 0:
        return "better"
    if told and difference["high"] < 0:
        return "worse"
    return "within noise"

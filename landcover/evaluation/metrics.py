"""The list of metrics. JSON files, tables, pages, comparisons and the choices of `evaluate.verdict` follow from it.

A metric is the mean over patches of a score, so the statistics of means apply to all of them. Means over classes
include only the classes that occur among the labels: a class without labels has no recall, and wrong predictions of it
count against the recall of the true class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from landcover.errors import InputError
from landcover.evaluation.intervals import Interval, mean, share_interval
from landcover.evaluation.predictions import LEAST_PROBABILITY, Predictions

SHARE = "points"  # the unit of the differences of a share: percentage points


@dataclass(frozen=True)
class Metric:
    """An entry of the list. `score` gives scores by seed and patch, (S, N), whose mean over patches is the metric."""

    name: str  # in files and parameters
    label: str  # on pages
    score: Callable[[Predictions], np.ndarray]
    column: str | None = None  # of the table of predictions, which the score needs, beside those that it always has
    unit: str = SHARE
    higher_is_better: bool = True
    gated: bool = False  # a significant loss is a regression, whichever metric decides
    tolerance: float = 0.03  # the least difference that matters, where `evaluate.tolerance` does not say
    of_labels: bool = False  # of the probability of labels, which a network of shares does not predict

    def scores(self, predictions: Predictions) -> np.ndarray | None:
        """Scores, float64 (S, N); None if the table lacks the column."""
        if self.column and getattr(predictions, self.column) is None:
            return None
        return np.asarray(self.score(predictions), float)

    def interval(self, predictions: Predictions) -> Interval:
        """The 95% interval of the metric of a single run, by Wilson's formula for shares, else by Student's t."""
        scores, places = self.scores(predictions), predictions.places
        # Also where every prediction is correct: then macro F1 has no spread from which to estimate its error.
        if self.unit == SHARE and np.isin(scores, (0, 1)).all():
            return share_interval(scores[0] == 1, places)
        return self.within_range(mean(scores, places).interval())

    def within_range(self, interval: Interval) -> Interval:
        """The part of an interval by Student's t in which the metric can lie."""
        return Interval(max(interval.low, 0.0), min(interval.high, 1.0) if self.unit == SHARE else interval.high)


# A mean over classes is not a mean over patches, but to first order it is the mean of its value plus the influence of
# each patch, which is its derivative with respect to the patch's weight.  Source: Hampel, "The influence curve and its
# role in robust estimation", JASA 69, 1974. Both functions take class labels of any type and return float64, (N,).


def linear_recall(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Scores whose mean is the balanced accuracy: the mean recall over the classes that occur."""
    classes, of_class = np.unique(actual, return_inverse=True)
    correct, support = predicted == actual, np.bincount(of_class)
    recall = np.bincount(of_class, correct) / support
    return recall.mean() + len(actual) / len(classes) * (correct - recall[of_class]) / support[of_class]


def linear_f1(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Scores whose mean is the macro F1: the mean over the classes that occur."""
    classes = np.unique(actual)[:, None]
    labelled, taken = actual == classes, predicted == classes  # (K, N)
    total = labelled.sum(1, keepdims=True) + taken.sum(1, keepdims=True)
    f1 = 2 * (labelled & taken).sum(1, keepdims=True) / total
    influence = (2 * (labelled & taken) - f1 * (labelled.astype(int) + taken)) / total
    return f1.mean() + len(actual) * influence.mean(0)


def _by_seed(linear: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Predictions], np.ndarray]:
    return lambda p: np.stack([linear(p.actual, of_seed) for of_seed in p.predicted])


def linear_root(squares: np.ndarray) -> np.ndarray:
    """Scores whose mean is the root of the mean of these squares, float64 (N,)."""
    root = np.sqrt(squares.mean())
    return root + (squares - root**2) / (2 * root) if root else squares


_LIST = (
    Metric("accuracy", "accuracy", lambda p: p.predicted == p.actual, gated=True),
    Metric("macro_f1", "macro F1", _by_seed(linear_f1)),
    Metric("balanced_accuracy", "balanced accuracy", _by_seed(linear_recall)),
    Metric("top2_accuracy", "top-2 accuracy", lambda p: p.rank_actual <= 2, "rank_actual"),
    Metric("nll", "negative log-likelihood", lambda p: -np.log(np.clip(p.p_actual, LEAST_PROBABILITY, 1)), "p_actual",
           unit="nats", higher_is_better=False, gated=True, tolerance=0.1, of_labels=True),
    Metric("brier", "Brier score", lambda p: p.brier, "brier", unit="", higher_is_better=False, of_labels=True),
    Metric("cross_entropy", "cross-entropy to the shares", lambda p: p.cross_entropy, "cross_entropy", unit="nats",
           higher_is_better=False, tolerance=0.1),
    Metric("rmse", "root mean squared error of the shares", lambda p: np.stack([*map(linear_root, p.squared_error)]),
           "squared_error", unit="", higher_is_better=False, tolerance=0.01),
)  # fmt: skip
METRICS = {metric.name: metric for metric in _LIST}


def named(name: str) -> Metric:
    """The metric that `evaluate` names, as the one that decides or as a key of `tolerance`.

    Raises:
        InputError: there is none of this name.
    """
    if name not in METRICS:
        raise InputError(f"params.yaml: evaluate: there is no metric {name!r}; choose from {', '.join(METRICS)}")
    return METRICS[name]


def demand(verdict: str, tolerances: Mapping[str, float]) -> None:
    """Check what `evaluate` says of metrics, before anything is computed.

    Raises:
        InputError: a metric does not exist, or the tolerance of a share is no share.
    """
    for name in (verdict, *tolerances):
        named(name)
    for name, value in tolerances.items():
        if METRICS[name].unit == SHARE and value >= 1:
            written = f"params.yaml: evaluate.tolerance.{name} = {value:g}"
            raise InputError(f"{written}: must be a share below 1; write {value / 100:g} for {value:g} points")


def all_scores(*predictions: Predictions) -> dict[str, list[np.ndarray]]:
    """By metric, the scores (S, N) of each of these predictions; without metrics for which one lacks the column."""
    scores = {name: [metric.scores(one) for one in predictions] for name, metric in METRICS.items()}
    return {name: values for name, values in scores.items() if all(one is not None for one in values)}


def means(predictions: Predictions) -> dict[str, float]:
    """The value of each metric, as a mean over seeds."""
    return {name: float(scores.mean()) for name, (scores,) in all_scores(predictions).items()}

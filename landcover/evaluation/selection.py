"""Choosing between configurations: many comparisons at once, and the bias of choosing on the data for evaluation."""

from collections.abc import Sequence

import numpy as np

from landcover.evaluation.comparison import compare_scores
from landcover.evaluation.intervals import CONFIDENCE
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import Predictions

AT_ONCE = 500  # resamples, to limit memory
ACCURACY = METRICS["accuracy"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values for a family of comparisons, which control the family-wise error rate.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def choose(candidates: dict[str, Predictions]) -> tuple[str, list[str]]:
    """The configuration with the highest mean accuracy over seeds, and those that do not differ significantly from it.

    Args:
        candidates: predictions for the same patches.
    """
    right = {name: ACCURACY.scores(one) for name, one in candidates.items()}
    best = max(right, key=lambda name: right[name].mean())
    others = [name for name in right if name != best]
    places = candidates[best].places
    p_values = holm([compare_scores(ACCURACY, right[name], right[best], places).p for name in others])
    return best, [name for name, p in zip(others, p_values, strict=True) if p >= 1 - CONFIDENCE]


def optimism(candidates: dict[str, Predictions], *, resamples: int, seed: int) -> float:
    """By how much the best of several configurations looks better than it is on the patches it is chosen on.

    A bootstrap over patches and seeds: the best is chosen in each resample, and its accuracy there is compared with its
    accuracy on all patches.  Source: Efron, "Estimating the error rate of a prediction rule", JASA 78, 1983.
    """
    if len(candidates) == 1:
        return 0.0
    rng = np.random.default_rng(seed)
    right = [ACCURACY.scores(one) for one in candidates.values()]
    count = right[0].shape[1]
    of_seeds = [np.empty((resamples, len(one))) for one in right]
    for start in range(0, resamples, AT_ONCE):
        rows = slice(start, min(start + AT_ONCE, resamples))
        patches = rng.multinomial(count, np.full(count, 1 / count), size=rows.stop - start) / count
        for one, accuracies in zip(right, of_seeds, strict=True):
            accuracies[rows] = patches @ one.T
    resampled = np.empty((resamples, len(right)))
    for column, accuracies in enumerate(of_seeds):
        seeds = accuracies.shape[1]
        weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
        resampled[:, column] = (accuracies * weights).sum(1)
    best = resampled.argmax(1)
    return float((resampled.max(1) - np.array([one.mean() for one in right])[best]).mean())

"""Choosing between configurations, and the bias of choosing on the data used for evaluation."""

from typing import NamedTuple

import numpy as np

from landcover.evaluation.comparison import compare_scores, places_of
from landcover.evaluation.intervals import CONFIDENCE
from landcover.evaluation.predictions import Predictions
from landcover.evaluation.scores import scores
from landcover.evaluation.verdict import holm

AT_ONCE = 500  # resamples, to limit memory


class Choice(NamedTuple):
    """The configuration with the highest accuracy, and those that do not differ significantly from it."""

    name: str
    equals: list[str]


def choose(candidates: dict[str, Predictions]) -> Choice:
    """The best of several configurations on the same patches, by mean accuracy over seeds."""
    right = {name: scores(one, "accuracy") for name, one in candidates.items()}
    best = max(right, key=lambda name: right[name].mean())
    others = [name for name in right if name != best]
    places = places_of(candidates[best])
    p_values = holm([compare_scores("accuracy", right[name], right[best], places)["p"] for name in others])
    return Choice(best, [name for name, p in zip(others, p_values, strict=True) if p >= 1 - CONFIDENCE])


def optimism(candidates: dict[str, Predictions], *, resamples: int, seed: int) -> float:
    """By how much the best of several configurations looks better than it is on the patches it is chosen on.

    A bootstrap over patches and seeds: the best is chosen in each resample, and its accuracy there is compared with its
    accuracy on all patches.  Source: Efron, "Estimating the error rate of a prediction rule", JASA 78, 1983.
    """
    if len(candidates) == 1:
        return 0.0
    rng = np.random.default_rng(seed)
    right = [scores(one, "accuracy") for one in candidates.values()]
    count = right[0].shape[1]
    of_seeds = [np.empty((resamples, len(one))) for one in right]
    for start in range(0, resamples, AT_ONCE):
        rows = slice(start, min(start + AT_ONCE, resamples))
        patches = rng.multinomial(count, np.full(count, 1 / count), size=rows.stop - start) / count
        for one, accuracies in zip(right, of_seeds, strict=True):
            accuracies[rows] = patches @ one.T
    drawn = []
    for accuracies in of_seeds:
        seeds = accuracies.shape[1]
        weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
        drawn.append((accuracies * weights).sum(1))
    drawn, true = np.stack(drawn, axis=1), np.array([one.mean() for one in right])
    best = drawn.argmax(1)
    return float((drawn[np.arange(resamples), best] - true[best]).mean())

"""Choosing between configurations: many comparisons at once, and the bias of choosing on the data for evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landcover.evaluation.comparison import compare_scores
from landcover.evaluation.intervals import CONFIDENCE, Estimate, mean
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import Predictions

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
    where = candidates[best].places, candidates[best].folds
    p_values = holm([compare_scores(ACCURACY, right[name], right[best], *where).p for name in others])
    return best, [name for name, p in zip(others, p_values, strict=True) if p >= 1 - CONFIDENCE]


@dataclass(frozen=True)
class ChosenWithinFolds:
    """A choice made anew in each fold: by the patches that it validates on, and judged by those that it tests."""

    names: dict[int, str]  # of the chosen configuration, by fold
    estimate: Estimate  # of the accuracy of what was chosen


def choose_within_folds(val: dict[str, Predictions], test: dict[str, Predictions]) -> ChosenWithinFolds:
    """Choose in each fold, so that no patch that judges a choice has been used for it.

    Over all folds together, the val patches are the test patches. So the figure of a configuration that was chosen by
    all of them looks too good, and this one does not.

    Args:
        val, test: out-of-fold predictions of the same patches. `folds` is the fold that tests a patch, in both; it is
            a val patch of the fold before, of the last one if it is in the first.
    """
    like = next(iter(test.values()))
    numbers, of_patch = np.unique(like.folds, return_inverse=True)
    right, right_in_val = ({name: ACCURACY.scores(one) for name, one in side.items()} for side in (test, val))
    names, scores = {}, np.zeros((min(map(len, right.values())), len(of_patch)))
    for place, number in enumerate(numbers):
        tested, validated = of_patch == place, of_patch == (place + 1) % len(numbers)
        names[int(number)] = best = max(right, key=lambda name: right_in_val[name][:, validated].mean())
        scores[:, tested] = right[best][: len(scores), tested]
    return ChosenWithinFolds(names, mean(scores, like.places, like.folds))


def optimism(candidates: dict[str, Predictions], chosen: str) -> float:
    """By how much the accuracy of the chosen one of several configurations probably exceeds its true value.

    Of the distance from the mean of all, the share that is error, by the estimate of James and Stein: the candidates'
    accuracies spread by their true differences and by their errors, and the latter are known from the comparison.
    Source: Efron and Morris, "Stein's estimation rule and its competitors", JASA 68, 1973.

    Args:
        candidates: predictions for the same patches, of which `chosen` was chosen on them or on others like them.
    """
    count = len(candidates)
    right = {name: ACCURACY.scores(one) for name, one in candidates.items()}
    accuracies = np.array([one.mean() for one in right.values()])
    spread = accuracies.var(ddof=1) if count > 1 else 0.0
    if spread == 0:
        return 0.0
    where = candidates[chosen]
    fewest = min(map(len, right.values()))
    scores = np.stack([one[:fewest] for one in right.values()])  # (candidate, seed, patch)
    errors = [mean(one, where.places, where.folds).error ** 2 for one in scores - scores.mean(0)]
    noise = np.mean(errors) * count / (count - 1)  # the common mean has taken a part of each
    freedom = max(count - 3, 1) / (count - 1)
    share = min(freedom * noise / spread, 1.0)
    return float(share * (right[chosen].mean() - accuracies.mean()))

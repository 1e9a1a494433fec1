"""The tables of experiments: each compared with a reference and the baselines, and which one to choose."""

from typing import NamedTuple

import pandas as pd

from landcover.evaluation.comparison import Verdict, compare_scores
from landcover.evaluation.intervals import CONFIDENCE, independent, mean
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import BASELINES, Predictions, of_baselines
from landcover.evaluation.selection import choose, holm, optimism
from landcover.report.verdicts import change, points

AGAINST = ("band_statistics", "texture")  # the baselines that they are compared with
BOOTSTRAP = {"resamples": 10_000, "seed": 0}
ACCURACY = METRICS["accuracy"]


class Experiments(NamedTuple):
    """The predictions of each experiment over its seeds, and of the baselines."""

    val: dict[str, Predictions]
    test: dict[str, Predictions]
    baselines: pd.DataFrame  # baseline_predictions.csv
    reference: str  # the experiment that the others are compared with

    def all_of_test(self) -> dict[str, Predictions]:
        """The baselines by their words, then the experiments."""
        like = next(iter(self.test.values()))
        return {BASELINES[name]: one for name, one in of_baselines(self.baselines, like).items()} | self.test


def _accuracy(predictions: Predictions) -> str:
    estimate = mean(ACCURACY.scores(predictions), predictions.places)
    low, high = estimate.interval()
    return f"{estimate.value:.3f} ({max(low, 0):.3f} to {min(high, 1):.3f})"


def summarize(experiments: Experiments) -> list[dict[str, str]]:
    """One row per predictor: its accuracy, and its differences from the reference and the baselines.

    A difference is bold if it is significant after Holm's correction over all differences in the table.
    """
    predictors = experiments.all_of_test()
    places = next(iter(experiments.test.values())).places
    scores = {name: ACCURACY.scores(one) for name, one in predictors.items()}
    own = [experiments.reference] if experiments.reference in scores else []
    references = own + [BASELINES[name] for name in AGAINST]

    verdicts: dict[tuple[str, str], Verdict] = {}
    for name in scores:
        # References are compared with each other once, in the column of the one that comes first.
        for place, other in enumerate(references):
            if name != other and (name not in references or references.index(name) > place):
                seedless = not {name, other} <= set(experiments.test)  # a baseline
                verdicts[name, other] = compare_scores(ACCURACY, scores[other], scores[name], places, seedless=seedless)
    adjusted = dict(zip(verdicts, holm([one.p for one in verdicts.values()]), strict=True))

    rows = []
    for name, one in predictors.items():
        trained = name in experiments.test
        row = {
            "predictor": name,
            "seeds": len(one.seeds) if trained else "-",
            "val accuracy": f"{ACCURACY.scores(experiments.val[name]).mean():.3f}" if trained else "-",
            "test accuracy (95% interval)": _accuracy(one),
            "macro F1": f"{METRICS['macro_f1'].scores(one).mean():.3f}",
        }
        for other in references:
            text = change(verdicts[name, other]) if (name, other) in verdicts else "-"
            significant = adjusted.get((name, other), 1) < 1 - CONFIDENCE
            row[f"against {other}"] = f"**{text}**" if significant else text
        rows.append(row)
    return rows


def recommendation(experiments: Experiments) -> str:
    """The experiment chosen on the val split, its accuracy on the test split, and what choosing on test would cost."""
    best, equals = choose(experiments.val)
    others = f"; not significantly worse: {', '.join(equals)}" if equals else ""
    on_test = max(experiments.test, key=lambda name: ACCURACY.scores(experiments.test[name]).mean())
    too_good = max(100 * optimism(experiments.test, **BOOTSTRAP), 0.0)
    lines = [
        f"Chosen on the val split: **{best}**, val accuracy {_accuracy(experiments.val[best])}{others}.",
        f"Its test accuracy is {_accuracy(experiments.test[best])}.",
        f"Choosing on the test split would pick {on_test} and, by a bootstrap over patches and seeds, make the best of "
        f"{len(experiments.test)} look {too_good:.1f} points better than it is.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def summarize_splits(on: dict[str, Experiments]) -> list[dict[str, str]]:
    """One row per predictor: its accuracy on the test splits of two datasets, and the difference.

    Args:
        on: the experiments by dataset.
    """
    rows, sides = [], {dataset: experiments.all_of_test() for dataset, experiments in on.items()}
    first, second = sides.values()
    for name in [name for name in first if name in second]:
        difference = independent(*(mean(ACCURACY.scores(side[name]), side[name].places) for side in sides.values()))
        low, high = difference.interval()
        text = points(difference.value, low, high)
        accuracies = {dataset: _accuracy(side[name]) for dataset, side in sides.items()}
        rows.append({"predictor": name} | accuracies | {"difference": f"**{text}**" if low > 0 or high < 0 else text})
    return rows

"""The tables of experiments: each compared with a reference and the baselines, and which one to choose."""

from typing import Any, NamedTuple

import pandas as pd

from landcover.evaluation.comparison import compare_scores, places_of
from landcover.evaluation.intervals import CONFIDENCE, independent, mean
from landcover.evaluation.predictions import BASELINES, Predictions, of_baseline
from landcover.evaluation.scores import scores
from landcover.evaluation.selection import choose, optimism
from landcover.evaluation.verdict import holm
from landcover.report import markdown

AGAINST = ("band_statistics", "texture")  # the baselines that they are compared with
DRAWN = {"resamples": 10_000, "seed": 0}


class Experiments(NamedTuple):
    """The predictions of each experiment over its seeds, and of the baselines."""

    val: dict[str, Predictions]
    test: dict[str, Predictions]
    baselines: pd.DataFrame  # baseline_predictions.csv
    reference: str  # the experiment that the others are compared with

    def all_of_test(self) -> dict[str, Predictions]:
        """The baselines by their words, then the experiments."""
        like = next(iter(self.test.values()))
        return {words: of_baseline(self.baselines, name, like) for name, words in BASELINES.items()} | self.test


def _share(predictions: Predictions, metric: str = "accuracy") -> str:
    estimate = mean(scores(predictions, metric), places_of(predictions))
    low, high = estimate.interval()
    return f"{estimate.value:.3f} ({max(low, 0):.3f} to {min(high, 1):.3f})"


def summarize(experiments: Experiments) -> list[dict[str, str]]:
    """One row per predictor: its accuracy, and its differences from the reference and the baselines.

    A difference is bold if it is significant after Holm's correction over all differences in the table.
    """
    predictors = experiments.all_of_test()
    places = places_of(next(iter(experiments.test.values())))
    right = {name: scores(one, "accuracy") for name, one in predictors.items()}
    own = [experiments.reference] if experiments.reference in right else []
    references = own + [BASELINES[name] for name in AGAINST]

    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, one in right.items():
        # References are compared with each other once, in the column of the one that comes first.
        for place, other in enumerate(references):
            if name != other and (name not in references or references.index(name) > place):
                fixed = not {name, other} <= set(experiments.test)  # a baseline has no seed
                found[name, other] = compare_scores("accuracy", right[other], one, places, fixed=fixed)
    adjusted = dict(zip(found, holm([one["p"] for one in found.values()]), strict=True))

    rows = []
    for name, one in predictors.items():
        trained = name in experiments.test
        row = {
            "predictor": name,
            "seeds": len(one.seeds) if trained else "-",
            "val accuracy": f"{scores(experiments.val[name], 'accuracy').mean():.3f}" if trained else "-",
            "test accuracy (95% interval)": _share(one),
            "macro F1": f"{scores(one, 'macro_f1').mean():.3f}",
        }
        for other in references:
            key = (name, other)
            text = (
                markdown.points(*(found[key][what] for what in ("difference", "low", "high"))) if key in found else "-"
            )
            told = key in found and adjusted[key] < 1 - CONFIDENCE
            row[f"against {other}"] = f"**{text}**" if told else text
        rows.append(row)
    return rows


def recommendation(experiments: Experiments) -> str:
    """The experiment chosen on the val split, its accuracy on the test split, and what choosing on test would cost."""
    chosen = choose(experiments.val)
    equals = f"; not significantly worse: {', '.join(chosen.equals)}" if chosen.equals else ""
    on_test = max(experiments.test, key=lambda name: scores(experiments.test[name], "accuracy").mean())
    too_good = max(100 * optimism(experiments.test, **DRAWN), 0.0)
    lines = [
        f"Chosen on the val split: **{chosen.name}**, val accuracy {_share(experiments.val[chosen.name])}{equals}.",
        f"Its test accuracy is {_share(experiments.test[chosen.name])}.",
        f"Choosing on the test split would pick {on_test} and, by a bootstrap over patches and seeds, make the best of "
        f"{len(experiments.test)} look {too_good:.1f} points better than it is.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def summarize_splits(on: dict[str, Experiments]) -> list[dict[str, str]]:
    """One row per predictor: its accuracy on the test splits of two datasets, and the difference.

    Args:
        on: the experiments by dataset.
    """
    rows, sides = [], [experiments.all_of_test() for experiments in on.values()]
    for name in sides[0]:
        if name in sides[1]:
            estimates = [mean(scores(side[name], "accuracy"), places_of(side[name])) for side in sides]
            difference = independent(*estimates)
            low, high = difference.interval()
            text = markdown.points(difference.value, low, high)
            rows.append(
                {"predictor": name}
                | {dataset: _share(side[name]) for dataset, side in zip(on, sides, strict=True)}
                | {"difference": f"**{text}**" if low > 0 or high < 0 else text}
            )
    return rows

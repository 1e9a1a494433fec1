"""The tables of experiments: each beside a reference and the baselines, and which of them to take."""

from typing import Any, NamedTuple

import pandas as pd

from landcover.judgement.comparison import compare_scores, places_of
from landcover.judgement.predictions import BASELINES, Predictions, of_baseline
from landcover.judgement.scores import scores
from landcover.judgement.selection import choose, optimism
from landcover.judgement.variance import CONFIDENCE, independent, mean
from landcover.judgement.verdict import holm
from landcover.pages import markdown

REFERENCE = "notebook"  # the experiment that the others are compared with
AGAINST = ("band_statistics", "texture")  # the baselines that they are compared with
DRAWN = {"resamples": 10_000, "seed": 0}


class Experiments(NamedTuple):
    """What was predicted, by experiment over its seeds, and by the baselines."""

    val: dict[str, Predictions]
    test: dict[str, Predictions]
    baselines: pd.DataFrame  # baseline_predictions.csv

    def all_of_test(self) -> dict[str, Predictions]:
        """The baselines by their words, then the experiments."""
        like = next(iter(self.test.values()))
        return {words: of_baseline(self.baselines, name, like) for name, words in BASELINES.items()} | self.test


def _share(predictions: Predictions, metric: str = "accuracy") -> str:
    estimate = mean(scores(predictions, metric), places_of(predictions))
    low, high = estimate.interval()
    return f"{estimate.value:.3f} ({max(low, 0):.3f} to {min(high, 1):.3f})"


def summarize(experiments: Experiments) -> list[dict[str, str]]:
    """A row a predictor: its accuracy, and by how much it is better than the reference and the baselines.

    A difference is bold if it is told from chance in the family of all that the table shows, by Holm's method.
    """
    predictors = experiments.all_of_test()
    places = places_of(next(iter(experiments.test.values())))
    right = {name: scores(one, "accuracy") for name, one in predictors.items()}
    references = ([REFERENCE] if REFERENCE in right else []) + [BASELINES[name] for name in AGAINST]

    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, one in right.items():
        # The references among themselves once, in the column of the one that comes first.
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
            "test accuracy (95 % interval)": _share(one),
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
    """Which experiment the val split chooses, what the test split says of it, and what a choice on test would cost."""
    chosen = choose(experiments.val)
    equals = f"; not told from it: {', '.join(chosen.equals)}" if chosen.equals else ""
    on_test = max(experiments.test, key=lambda name: scores(experiments.test[name], "accuracy").mean())
    too_good = max(100 * optimism(experiments.test, **DRAWN), 0.0)
    lines = [
        f"Chosen on the val split: **{chosen.name}**, {_share(experiments.val[chosen.name])} there{equals}.",
        f"On the test split it has {_share(experiments.test[chosen.name])}.",
        f"Chosen on the test split, it would have been {on_test}, and the best of {len(experiments.test)} would look "
        f"{too_good:.1f} points better than it is, by a bootstrap over patches and seeds.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def summarize_splits(one: Experiments, other: Experiments) -> list[dict[str, str]]:
    """A row a predictor: its accuracy on the test splits of two datasets, and by how much the first flatters it."""
    rows, sides = [], (one.all_of_test(), other.all_of_test())
    for name in sides[0]:
        if name in sides[1]:
            estimates = [mean(scores(side[name], "accuracy"), places_of(side[name])) for side in sides]
            difference = independent(*estimates)
            low, high = difference.interval()
            text = markdown.points(difference.value, low, high)
            rows.append(
                {
                    "predictor": name,
                    "by order": _share(sides[0][name]),
                    "by place": _share(sides[1][name]),
                    "difference": f"**{text}**" if low > 0 or high < 0 else text,
                }
            )
    return rows

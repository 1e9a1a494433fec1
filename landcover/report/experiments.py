"""The tables of experiments: each compared with a reference and the baselines, and which one to choose."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from landcover.evaluation.comparison import Verdict, compare_scores
from landcover.evaluation.intervals import CONFIDENCE, Estimate, clustered, independent, intraclass_correlation, mean
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import BASELINE_LABELS, Predictions, of_baselines
from landcover.evaluation.selection import choose, choose_within_folds, holm, optimism
from landcover.report.verdicts import change, points

AGAINST = ("band_statistics", "texture")  # the baselines that they are compared with
ACCURACY = METRICS["accuracy"]


class Experiments(NamedTuple):
    """The predictions of each experiment over its seeds, or over folds, and of the baselines."""

    val: dict[str, Predictions]
    test: dict[str, Predictions]
    baselines: pd.DataFrame  # baseline_predictions.csv, or fold_baseline_predictions.csv
    reference: str  # the experiment that the others are compared with
    synthetic: bool = False

    @property
    def by_folds(self) -> bool:
        return next(iter(self.test.values())).folds is not None

    def all_of_test(self) -> dict[str, Predictions]:
        """The baselines by their words, then the experiments."""
        like = next(iter(self.test.values()))
        return {BASELINE_LABELS[name]: one for name, one in of_baselines(self.baselines, like).items()} | self.test


def _over_patches(predictions: Predictions) -> Estimate:
    return mean(ACCURACY.scores(predictions), predictions.places, predictions.folds)


def _accuracy(estimate: Estimate) -> str:
    low, high = estimate.interval()
    return f"{estimate.value:.3f} ({max(low, 0):.3f} to {min(high, 1):.3f})"


def summarize(experiments: Experiments) -> list[dict[str, str]]:
    """One row per predictor: its accuracy, and its differences from the reference and the baselines.

    A difference is bold if it is significant after Holm's correction over all differences in the table.
    """
    predictors = experiments.all_of_test()
    like = next(iter(experiments.test.values()))
    tested = "accuracy over folds" if experiments.by_folds else "test accuracy"
    scores = {name: ACCURACY.scores(one) for name, one in predictors.items()}
    own = [experiments.reference] if experiments.reference in scores else []
    references = own + [BASELINE_LABELS[name] for name in AGAINST]

    verdicts: dict[tuple[str, str], Verdict] = {}
    for name in scores:
        # References are compared with each other once, in the column of the one that comes first.
        for place, other in enumerate(references):
            if name != other and (name not in references or references.index(name) > place):
                seedless = not {name, other} <= set(experiments.test)  # a baseline
                both = scores[other], scores[name], like.places, like.folds
                verdicts[name, other] = compare_scores(ACCURACY, *both, seedless=seedless)
    adjusted = dict(zip(verdicts, holm([one.p for one in verdicts.values()]), strict=True))

    rows = []
    for name, one in predictors.items():
        trained = name in experiments.test
        row = {
            "predictor": name,
            "seeds": len(one.seeds) if trained else "-",
            "val accuracy": f"{ACCURACY.scores(experiments.val[name]).mean():.3f}" if trained else "-",
            f"{tested} (95% interval)": _accuracy(_over_patches(one)),
            "macro F1": f"{METRICS['macro_f1'].scores(one).mean():.3f}",
        }
        for other in references:
            text = change(verdicts[name, other]) if (name, other) in verdicts else "-"
            significant = adjusted.get((name, other), 1) < 1 - CONFIDENCE
            row[f"against {other}"] = f"**{text}**" if significant else text
        rows.append(row)
    return rows


def recommendation(experiments: Experiments) -> str:
    """Which experiment to choose, how good the choice is, and by how much its figure would be too good."""
    lines = _by_folds(experiments) if experiments.by_folds else _by_val(experiments)
    lines += _within_places(experiments)
    return "\n".join(f"- {line}" for line in lines)


def _by_val(experiments: Experiments) -> list[str]:
    """The experiment chosen on the val split, its accuracy on the test split, and what choosing on test would cost."""
    best, equals = choose(experiments.val)
    others = f"; not significantly worse: {', '.join(equals)}" if equals else ""
    on_test = max(experiments.test, key=lambda name: ACCURACY.scores(experiments.test[name]).mean())
    return [
        f"Chosen on the val split: **{best}**, val accuracy {_accuracy(_over_patches(experiments.val[best]))}{others}.",
        f"Its test accuracy is {_accuracy(_over_patches(experiments.test[best]))}.",
        f"Choosing on the test split would pick {on_test}, whose test accuracy is then probably "
        f"{100 * optimism(experiments.test, on_test):.1f} points too good.",
    ]


def _by_folds(experiments: Experiments) -> list[str]:
    """The choice within each fold, and the one over all folds, whose val patches are the test patches."""
    within = choose_within_folds(experiments.val, experiments.test)
    counts = pd.Series(within.names).value_counts()
    names = ", ".join(f"{name} in {count} of {len(within.names)} folds" for name, count in counts.items())
    best, equals = choose(experiments.val)
    others = f" Not significantly worse: {', '.join(equals)}." if equals else ""
    return [
        f"Chosen within each fold, by its val patches: {names}.",
        f"Accuracy of this choice: **{_accuracy(within.estimate)}**.",
        f"Chosen over all folds, by all val patches: **{best}**.{others}",
        f"Its accuracy over all folds, {_accuracy(_over_patches(experiments.test[best]))}, is probably "
        f"{100 * optimism(experiments.test, best):.1f} points too good: the patches that choose are those that judge. "
        "Report the accuracy of the choice within folds.",
    ]


def _within_places(experiments: Experiments) -> list[str]:
    """How alike the differences from the reference are in one place: by as much, more patches there add less."""
    reference = experiments.test.get(experiments.reference)
    others = [one for name, one in experiments.test.items() if name != experiments.reference]
    if reference is None or not others or not clustered(reference.places):
        return []
    scores = [ACCURACY.scores(one).mean(0) - ACCURACY.scores(reference).mean(0) for one in others]
    alike = np.array([intraclass_correlation(score, reference.places) for score in scores])
    return [
        f"Differences from {experiments.reference}, patch by patch, have an intraclass correlation within places of "
        f"{alike.min():.2f} to {alike.max():.2f}, in the median {np.median(alike):.2f}."
    ]


def summarize_splits(on: dict[str, Experiments]) -> list[dict[str, str]]:
    """One row per predictor: its accuracy on the test splits of two datasets, and the difference.

    Args:
        on: the experiments by dataset.
    """
    rows, sides = [], {dataset: experiments.all_of_test() for dataset, experiments in on.items()}
    first, second = sides.values()
    for name in [name for name in first if name in second]:
        difference = independent(*(_over_patches(side[name]) for side in sides.values()))
        low, high = difference.interval()
        text = points(difference.value, low, high)
        accuracies = {dataset: _accuracy(_over_patches(side[name])) for dataset, side in sides.items()}
        rows.append({"predictor": name} | accuracies | {"difference": f"**{text}**" if low > 0 or high < 0 else text})
    return rows


def summarize_sizes(sides: dict[int, Experiments]) -> list[dict[str, str]]:
    """One row per number of train patches: the accuracy of each experiment, and its difference from the reference.

    A difference is bold if it is significant after Holm's correction over all differences in the table.

    Args:
        sides: the experiments by the number of patches that they were trained on.
    """
    verdicts: dict[tuple[int, str], Verdict] = {}
    for size, experiments in sides.items():
        if reference := experiments.test.get(experiments.reference):
            for name in experiments.test.keys() - {experiments.reference}:
                both = (ACCURACY.scores(one) for one in (reference, experiments.test[name]))
                verdicts[size, name] = compare_scores(ACCURACY, *both, reference.places, reference.folds)
    adjusted = dict(zip(verdicts, holm([one.p for one in verdicts.values()]), strict=True))
    names = dict.fromkeys(name for experiments in sides.values() for name in experiments.test)
    rows = []
    for size, experiments in sides.items():
        row = {"train patches": f"{size:,}"}
        row |= {name: _accuracy(_over_patches(one)) if (one := experiments.test.get(name)) else "-" for name in names}
        for name in [name for name in names if name != experiments.reference]:
            text = change(verdicts[size, name]) if (size, name) in verdicts else "-"
            significant = adjusted.get((size, name), 1) < 1 - CONFIDENCE
            row[f"{name} against {experiments.reference}"] = f"**{text}**" if significant else text
        rows.append(row)
    return rows


def curve(sides: dict[int, Experiments]) -> pd.DataFrame:
    """The accuracy of each experiment by the number of train patches, with its 95% interval.

    Returns:
        columns experiment, patches, accuracy, low and high.
    """
    rows = []
    for size, experiments in sides.items():
        for name, one in experiments.test.items():
            estimate = _over_patches(one)
            rows.append((name, size, estimate.value, *estimate.interval()))
    return pd.DataFrame(rows, columns=["experiment", "patches", "accuracy", "low", "high"])

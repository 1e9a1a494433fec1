"""The metrics of one run and their uncertainty.

Means over classes include only the classes that occur among the labels: a class without labels has no recall, and wrong
predictions of it count against the recall of the true class.
"""

import itertools
from typing import Any

import numpy as np
import pandas as pd

from landcover.evaluation.calibration import ece, ece_by_chance
from landcover.evaluation.comparison import places_of
from landcover.evaluation.intervals import mean, share_interval, wilson
from landcover.evaluation.predictions import parse
from landcover.evaluation.scores import METRICS, scores

PURITY_EDGES = (0, 0.5, 0.7, 0.9, 1)  # of the majority fraction
PURITY_RANGES = tuple(
    f"{low:.0%} to {high:.0%}" if low else f"below {high:.0%}" for low, high in itertools.pairwise(PURITY_EDGES)
)


def per_class(labels: np.ndarray, predictions: np.ndarray, classes: int) -> pd.DataFrame:
    """Support, precision, recall with its 95% interval, and F1, one row per class.

    NaN where undefined: precision of a class never predicted, recall and F1 of a class without labels.
    """
    # Imported here, since it is slow, and a comparison does without.
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=range(classes), zero_division=np.nan
    )
    f1 = np.where(support > 0, f1, np.nan)
    intervals = [wilson(share, n) if n else (np.nan, np.nan) for share, n in zip(recall, support, strict=True)]
    low, high = np.array(intervals).T
    columns = {"support": support, "precision": precision, "recall": recall, "recall_low": low, "recall_high": high}
    return pd.DataFrame(columns | {"f1": f1})


def nll(labels: np.ndarray, log_probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels, in nats, given log-probabilities (N, K)."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def purity_range(majority_fraction: np.ndarray) -> np.ndarray:
    """The index in PURITY_RANGES of the majority fraction of each patch; int (N,)."""
    return np.searchsorted(PURITY_EDGES[1:-1], majority_fraction, side="right")


def accuracy_by_purity(correct: np.ndarray, majority_fraction: np.ndarray) -> list[dict[str, float | int | str]]:
    """Accuracy with its 95% Wilson interval for the patches in each range of purity.

    Returns:
        Rows of `purity`, `n`, `accuracy`, `low`, `high`, for the ranges that have a patch.
    """
    rows, ranges = [], purity_range(majority_fraction)
    for number in np.unique(ranges):
        right = correct[ranges == number]
        (low, high), share = share_interval(right), float(right.mean())
        rows.append({"purity": PURITY_RANGES[number], "n": len(right), "accuracy": share, "low": low, "high": high})
    return rows


def accuracy_and_nll(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy and negative log-likelihood of a table that `tabulate` made."""
    predictions = parse(table)
    return {name: float(scores(predictions, name).mean()) for name in ("accuracy", "nll")}


def headline(found: dict[str, Any], seeds: dict[str, Any]) -> dict[str, float]:
    """The few figures that DVC shows in its tables, to three decimals.

    Args:
        found: `test`, as `summary` makes it, with `against`; and `val`.
        seeds: as `repetition.summary` makes it.

    Returns:
        `accuracy`, `macro_f1` and `nll` of the test split; `margin`, the accuracy minus that of the best baseline;
        `val_accuracy`; and, if other seeds were trained, `mean_accuracy`, their mean on the test split.
    """
    test = found["test"]
    shown = {name: test[name] for name in ("accuracy", "macro_f1", "nll")}
    shown["margin"] = min(against["difference"] for against in test["against"].values())
    shown["val_accuracy"] = found["val"]["accuracy"]
    if seeds["seeds"]:
        shown["mean_accuracy"] = seeds["accuracy"]["mean"]
    return {name: round(value, 3) for name, value in shown.items()}


def summary(table: pd.DataFrame, *, resamples: int, seed: int) -> dict[str, Any]:
    """All metrics of one run on one split, with 95% intervals for accuracy and macro F1.

    Args:
        table: as `tabulate` makes it.
        resamples, seed: for the calibration error by chance.
    """
    table = table.sort_values("patch_id")
    predictions, confidence = parse(table), table["confidence"].to_numpy()
    places = places_of(predictions)
    values = {name: scores(predictions, name) for name in METRICS}
    right = values["accuracy"][0] == 1
    of_accuracy = share_interval(right, places)
    # If every prediction is correct, macro F1 has no spread from which to estimate its error.
    of_f1 = of_accuracy if right.all() else mean(values["macro_f1"], places).interval()
    found: dict[str, Any] = {}
    for name, one in values.items():
        found[name] = float(one.mean())
        if name in ("accuracy", "macro_f1"):
            low, high = of_accuracy if name == "accuracy" else of_f1
            found |= {f"{name}_ci_low": max(low, 0.0), f"{name}_ci_high": min(high, 1.0)}
    by_chance, most_by_chance = ece_by_chance(confidence, resamples=resamples, seed=seed)
    found["ece"] = ece(right, confidence)
    found["ece_by_chance"] = {"mean": by_chance, "high": most_by_chance}
    return found | {"n": len(right)}

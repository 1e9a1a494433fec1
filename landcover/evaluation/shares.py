"""How well the shares of the classes are predicted: in patches, on average, and in sum over the test patches.

The metrics of a patch, the cross-entropy and the root mean squared error, are in `metrics`. Half the sum of absolute
errors, the share of the ground put wrong, is for reading only: sharper shares lower it, even where they are worse.
"""

from typing import Any

import numpy as np
import pandas as pd

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation.intervals import Estimate, mean
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import parse, tabulate

EDGES = (0, 0.05, 0.15, 0.3, 0.5, 0.7, 0.9, 1)  # of predicted shares in the picture; most lie near 0 or 1
OF_PATCH = ("cross_entropy", "rmse")


def ratio(errors: np.ndarray, true: np.ndarray, places: np.ndarray | None, folds: np.ndarray | None) -> Estimate | None:
    """The error of a total relative to the true total: errors (S, N), true (N,); None if that is 0.

    A ratio of means is not a mean, but to first order it is that of its value plus the influence of each patch.
    """
    if not true.any():
        return None
    value = errors.mean(1, keepdims=True) / true.mean()
    return mean(value + (errors - value * true) / true.mean(), places, folds)


def _figures(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else {"value": estimate.value} | estimate.interval()._asdict()


def areas(
    true: np.ndarray,
    predicted: np.ndarray,
    classes: list[str],
    places: np.ndarray | None = None,
    folds: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """The share of each class in all patches, and how far it is missed by the sum of shares and by counting patches.

    Args:
        true: shares, (N, K).
        predicted: shares, (S, N, K).
        places, folds: of the patches, as for `intervals.mean`.

    Returns:
        A row a class: `class`, its true `share`, and under `summed` and `counted` the `bias`, predicted minus true
        share, and `area`, the bias relative to the true share, None if that is 0. Both with 95% intervals over places.
    """
    counted = np.eye(len(classes))[predicted.argmax(2)]
    rows = []
    for label, name in enumerate(classes):
        row: dict[str, Any] = {"class": name, "share": float(true[:, label].mean())}
        for way, of_patches in (("summed", predicted), ("counted", counted)):
            errors = of_patches[..., label] - true[:, label]
            area = _figures(ratio(errors, true[:, label], places, folds))
            if area:
                area["low"] = max(area["low"], -1.0)  # no area is below 0
            row[way] = {"bias": _figures(mean(errors, places, folds)), "area": area}
        rows.append(row)
    return rows


def misplaced(rows: list[dict[str, Any]], way: str) -> float:
    """Half the sum of the classes' absolute biases: the share of all ground that is in the sum of a wrong class."""
    return sum(abs(row[way]["bias"]["value"]) for row in rows) / 2


def of_test(split: Split, index: Index, as_shares: np.ndarray, folds: np.ndarray | None = None) -> dict[str, Any]:
    """What reports say of predicted shares, with 95% intervals over places.

    Args:
        split: with shares.
        as_shares: the logarithms of the predicted shares, after temperature, (S, N, K).
        folds: of the patches, int (N,), if each fold has networks of its own.
    """
    order = np.argsort(index.patch_ids, kind="stable")  # that of the places
    true, predicted = split.shares[order].astype(np.float64), np.exp(as_shares)[:, order]
    folds = None if folds is None else folds[order]
    tables = [tabulate(split, index, of_seed).assign(seed=seed) for seed, of_seed in enumerate(as_shares)]
    predictions = parse(pd.concat(tables))
    places = predictions.places
    figures = {name: _figures(mean(METRICS[name].scores(predictions), places, folds)) for name in OF_PATCH}
    figures["put_wrong"] = _figures(mean(np.abs(predicted - true).sum(2) / 2, places, folds))
    rows = areas(true, predicted, split.classes, places, folds)
    figures["misplaced"] = {way: misplaced(rows, way) for way in ("summed", "counted")}
    return figures | {"classes": rows}


def bins(true: np.ndarray, predicted: np.ndarray) -> list[dict[str, np.ndarray]]:
    """For each class, patches by predicted share: their `count`, and the means of `predicted` and `true` shares.

    Args:
        true, predicted: shares, (N, K).
    """
    found = []
    for of_true, of_predicted in zip(true.T, predicted.T, strict=True):
        place = np.searchsorted(EDGES[1:-1], of_predicted, side="right")
        count = np.bincount(place, minlength=len(EDGES) - 1)
        sums = [np.bincount(place, values, len(count)) for values in (of_predicted, of_true)]
        kept = count > 0
        of_bins = [values[kept] / count[kept] for values in sums]
        found.append({"count": count[kept], "predicted": of_bins[0], "true": of_bins[1]})
    return found

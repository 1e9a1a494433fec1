"""The table of experiments: each beside a reference and the baselines."""

import numpy as np
import pandas as pd

from landcover.judgement import confusion, predictions
from landcover.judgement.comparison import compare, mean_accuracy
from landcover.judgement.verdict import judge
from landcover.pages import markdown

REFERENCE = "notebook"  # the experiment that the others are compared with
NORMAL = 1.959964  # its 97.5 % quantile
RESAMPLES = {"resamples": 10_000, "seed": 0}


def summarize(experiments: dict[str, pd.DataFrame], baselines: pd.DataFrame) -> list[dict[str, str]]:
    """A row a predictor: accuracy over its seeds, and its difference from the notebook's network and the baselines.

    Args:
        experiments: by name, a seed_predictions.csv.
        baselines: a baseline_predictions.csv of the same patches.
    """
    patch_ids, labels = baselines["patch_id"], predictions.to_labels(baselines["actual"])
    simple = {name: predictions.to_labels(baselines[name])[None] for name in predictions.BASELINES}
    predictors = {predictions.BASELINES[name]: one for name, one in simple.items()}
    predictors |= {name: predictions.by_seed(table, patch_ids) for name, table in experiments.items()}
    against = {f"against {REFERENCE}": predictors.get(REFERENCE), "against band statistics": simple["band_statistics"]}

    rows = []
    for name, predicted in predictors.items():
        accuracies = (predicted == labels).mean(1)
        row = {"predictor": name, "seeds": len(predicted) if name in experiments else "-"}
        spread = f" ± {accuracies.std(ddof=1):.3f}" if len(predicted) > 1 else ""
        row["accuracy (mean ± deviation)"] = f"{accuracies.mean():.3f}{spread}"
        f1 = [confusion.macro_f1(confusion.confusion_matrix(labels, one, len(predictions.LABELS))) for one in predicted]
        row["macro F1"] = f"{sum(f1) / len(f1):.3f}"
        for column, other in against.items():
            if other is None or other is predicted:
                row[column] = "-"
            else:
                found = compare(labels, other, predicted, len(predictions.LABELS), **RESAMPLES)["accuracy"]
                text = markdown.points(found["difference"], found["low"], found["high"])
                row[column] = f"**{text}**" if judge(found) != "within noise" else text
        rows.append(row)
    return rows


def summarize_splits(
    one: tuple[dict[str, pd.DataFrame], pd.DataFrame], other: tuple[dict[str, pd.DataFrame], pd.DataFrame]
) -> list[dict[str, str]]:
    """A row a predictor: its accuracy on the test splits of two datasets, and by how much the first flatters it.

    Args:
        one, other: experiments' seed_predictions.csv by name, and the baseline_predictions.csv of the same patches.
    """
    rows = []
    sides = [_right(*side) for side in (one, other)]
    for name in sides[0]:
        if name in sides[1]:
            (mean, variance), (mean_2, variance_2) = (mean_accuracy(side[name]) for side in sides)
            reach = NORMAL * (variance + variance_2) ** 0.5
            difference = mean - mean_2
            texts = [f"{m:.3f} ± {NORMAL * v**0.5:.3f}" for m, v in ((mean, variance), (mean_2, variance_2))]
            flattered = markdown.points(difference, difference - reach, difference + reach)
            told = f"**{flattered}**" if abs(difference) > reach else flattered
            rows.append({"predictor": name, "by order": texts[0], "by place": texts[1], "difference": told})
    return rows


def _right(experiments: dict[str, pd.DataFrame], baselines: pd.DataFrame) -> dict[str, np.ndarray]:
    """Which test patches each predictor gets right, bool (S, N), a row a seed."""
    labels = predictions.to_labels(baselines["actual"])
    found = {
        words: predictions.to_labels(baselines[key])[None] == labels for key, words in predictions.BASELINES.items()
    }
    return found | {
        name: predictions.by_seed(table, baselines["patch_id"]) == labels for name, table in experiments.items()
    }

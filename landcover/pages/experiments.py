"""The table of experiments: each beside a reference and the baselines."""

import pandas as pd

from landcover.judgement import confusion, predictions
from landcover.judgement.comparison import compare
from landcover.judgement.verdict import judge
from landcover.pages import markdown

REFERENCE = "notebook"  # the experiment that the others are compared with
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

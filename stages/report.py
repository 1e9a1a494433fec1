"""Tell the run on one page.  reports/*.json, *.csv, *.png -> reports/report.md, reports/learning_curves.png"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages import benge, cli, files, metrics, plots, splits

BASELINES = {"majority": "always the largest class", "band_statistics": "band statistics, logistic regression"}


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows of the same keys as a Markdown table: numbers to the right, floats to three decimals, NaN as a dash."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return "-" if np.isnan(value) else f"{value:.3f}"
        return str(value)

    keys = list(rows[0])
    rules = ["---:" if isinstance(rows[0][key], int | float) else ":---" for key in keys]
    lines = [keys, rules, *([cell(row[key]) for key in keys] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_interval(values: dict[str, float], name: str) -> str:
    """'0.600 (0.520 to 0.680)'."""
    return f"{values[name]:.3f} ({values[f'{name}_ci_low']:.3f} to {values[f'{name}_ci_high']:.3f})"


def compare_with_baselines(
    predictions: pd.DataFrame, baseline_predictions: pd.DataFrame, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """By baseline: the network's accuracy minus the baseline's on the same patches, its interval, McNemar's p-value."""
    both = predictions.merge(baseline_predictions.drop(columns="actual"), on="patch_id", validate="one_to_one")
    number = {name: label for label, name in enumerate(benge.CLASSES)}
    labels, network = (both[column].map(number).to_numpy() for column in ("actual", "predicted"))
    found = {}
    for name in BASELINES:
        other = both[name].map(number).to_numpy()
        difference, low, high = metrics.paired_difference(
            labels, other, network, len(number), resamples=resamples, seed=seed
        )["accuracy"]
        p_value = metrics.mcnemar(other == labels, network == labels)
        found[name] = {"difference": difference, "low": low, "high": high, "p": p_value}
    return found


def verdict(comparison: dict[str, Any]) -> str:
    points = f"{100 * comparison['difference']:+.1f} points ({100 * comparison['low']:+.1f} to {100 * comparison['high']:+.1f})"
    if comparison["low"] > 0:
        return f"better, by {points}"
    if comparison["high"] < 0:
        return f"worse, by {points}"
    return f"not to be told apart, {points}"


def describe_split(split: dict[str, Any]) -> str:
    match split["method"]:
        case "order":
            return "by the row order of the meta table, as in the notebook"
        case "files":
            return "by the dataset's own split files"
        case _:
            return f"by whole acquisitions (seed {split['seed']})"


def data_section(data: dict[str, Any], dataset: str, entry: dict[str, Any]) -> str:
    counts = data["patches"]
    classes = [row | {"class": plots.readable(row["class"])} for row in data["classes"]]
    absent = [row["class"] for row in classes if not any(row[split] for split in counts)]
    untested = [row["class"] for row in classes if not row["test"] and row["class"] not in absent]
    near = [
        f"{data['leakage'][f'within_{distance}']['share']:.0%} within {distance}"
        for distance in splits.LEAKAGE_DISTANCES
    ]
    lines = [
        f"Dataset **{dataset}**: {counts['train']} patches to train, {counts['val']} to validate, {counts['test']} to test,"
        f" split {describe_split(entry['split'])}. A patch is 120 x 120 pixels of 10 m, {len(data['bands']['train'])} bands"
        f" ({', '.join(data['bands']['train'])}); its label is the WorldCover class that covers most of it.",
        "",
        markdown_table([row for row in classes if row["class"] not in absent]),
        "",
    ]
    if absent:
        lines.append(f"- Classes without a patch: {', '.join(absent)}.")
    if untested:
        lines.append(
            f"- Classes without a test patch: {', '.join(untested)}. The metrics below say nothing of them;"
            " means over classes are over those that occur in the test split."
        )
    lines += [
        f"- Leakage: test patches with a train patch of the same acquisition nearby: {', '.join(near)} patches."
        " Neighbours look alike, so a high share flatters the result.",
        f"- Tied labels: {data['tied_labels']}; the first class in the table's order was taken."
        f" Patches with nodata pixels: {data['patches_with_nodata']}. Bad patches left out: {len(data['dropped'])}.",
    ]
    return "\n".join(lines)


def report(
    data_json: Path,
    baselines_json: Path,
    baseline_predictions_csv: Path,
    history_csv: Path,
    metrics_json: Path,
    predictions_csv: Path,
    per_class_csv: Path,
    report_md: Path,
    curves_png: Path,
    *,
    dataset: str,
    datasets: dict[str, Any],
    model: dict[str, Any],
    train: dict[str, Any],
    evaluate: metrics.Evaluation,
) -> None:
    """Write the page that a reviewer reads, and draw the learning curves."""
    data, baselines, scores = (json.loads(path.read_text()) for path in (data_json, baselines_json, metrics_json))
    history, predictions, baseline_predictions, per_class = map(
        pd.read_csv, (history_csv, predictions_csv, baseline_predictions_csv, per_class_csv)
    )
    plots.save(plots.learning_curves(history), curves_png)

    test = scores["test"]
    compared = compare_with_baselines(predictions, baseline_predictions, evaluate.resamples, evaluate.seed)
    entry = datasets[dataset]
    best = history.loc[history["val_loss"].idxmin()]
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    worst = wrong.sort_values(["confidence", "patch_id"], ascending=[False, True]).head(10)

    results = [
        {
            "predictor": name,
            "accuracy (95 % interval)": with_interval(values, "accuracy"),
            "macro F1 (95 % interval)": with_interval(values, "macro_f1"),
            "balanced accuracy": values["balanced_accuracy"],
            "NLL": values["nll"],
            "ECE": values["ece"],
        }
        for name, values in [
            ("**network**", test),
            *((text, baselines[name]) for name, text in BASELINES.items()),
            ("network, on val", scores["val"]),
        ]
    ]
    synthetic = (
        "> **The data is synthetic**, written by this project so that it runs anywhere."
        " These figures say that the pipeline works; they say nothing about Sentinel-2.\n\n"
    )
    page = f"""# Land-cover classification of Sentinel-2 patches: report

{synthetic if entry["source"] == "sample" else ""}Of {test["n"]} test patches the network predicts \
**{test["accuracy"]:.1%}** right (95 % interval {test["accuracy_ci_low"]:.1%} to {test["accuracy_ci_high"]:.1%}).

{chr(10).join(f"- Against {BASELINES[name]}: **{verdict(found)}**." for name, found in compared.items())}

## Results

{markdown_table(results)}

Test split, unless it says otherwise. Intervals are from a bootstrap over patches; differences are paired, over the same patches. \
NLL is the mean negative log-likelihood in nats, ECE the expected calibration error; of both, less is better. \
The largest class is predicted with the train split's class frequencies.

## Data

{data_section(data, dataset, entry)}

![Examples of the test split, one of each class and then more](examples.png)

## Training

{len(history)} of {train["epochs"]} epochs, {train["optimizer"]} with learning rate {train["learning_rate"]} \
({train["schedule"].replace("_", " ")}), batches of {train["batch_size"]}, seed {train["seed"]}; \
the {train["keep"]} epoch was kept. \
The lowest validation loss, {best["val_loss"]:.3f}, came in epoch {best["epoch"]:.0f}.

![Loss and accuracy of train and val by epoch](learning_curves.png)

## Where it errs

![Confusion matrix in shares of each actual class](confusion_matrix_normalized.png)

{markdown_table(per_class[per_class["support"] > 0].replace({"class": {c: plots.readable(c) for c in benge.CLASSES}}).to_dict("records"))}

A dash: the class was never predicted. [Counts](confusion_matrix.png) · [every prediction](predictions.csv)

![The most confident errors](errors.png)

{markdown_table(worst[["patch_id", "actual", "predicted", "confidence", "majority_fraction"]].to_dict("records")) if len(worst) else "No errors."}

## How to reproduce

```
git checkout <the commit of this page>
make repro
```

Parameters: `params.yaml`; exact inputs and outputs: `dvc.lock`. With the same parameters `make repro` gives this page to the byte.
"""
    with files.replacing(report_md) as part:
        part.write_text(page)


if __name__ == "__main__":
    cli.run(report)

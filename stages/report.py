"""Tell the run on one page.  reports/*.json, *.csv -> reports/report.md"""

import json
from pathlib import Path
from typing import Any

from stages import cli, files, markdown, metrics
from stages.benge import readable
from stages.params import Architecture, Dataset, Evaluation, Files, Order, Tile, Training
from stages.predictions import BASELINES, LABELS, to_labels

WORST = 10  # errors in the table

Rows = list[dict[str, Any]]  # of a table, as files.read_csv reads it


def with_interval(values: dict[str, float], name: str) -> str:
    """'0.600 (0.520 to 0.680)'."""
    return f"{values[name]:.3f} ({values[f'{name}_ci_low']:.3f} to {values[f'{name}_ci_high']:.3f})"


def compare_with_baselines(
    predictions: Rows, baseline_predictions: Rows, resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """The network's accuracy minus each baseline's on the same patches, its interval, and McNemar's p-value."""
    of_patch = {row["patch_id"]: row for row in baseline_predictions}
    assert of_patch.keys() == {row["patch_id"] for row in predictions}
    assert len(of_patch) == len(predictions) == len(baseline_predictions)
    labels, network = (to_labels(row[column] for row in predictions) for column in ("actual", "predicted"))
    found = {}
    for name in BASELINES:
        other = to_labels(of_patch[row["patch_id"]][name] for row in predictions)
        found[name] = metrics.compare(labels, other, network, len(LABELS), resamples=resamples, seed=seed)["accuracy"]
    return found


def against_baselines(compared: dict[str, dict[str, float]]) -> str:
    words = {"better": "better, by", "worse": "worse, by", "within noise": "within noise,"}
    return "\n".join(
        f"- Against {BASELINES[name]}: **{words[metrics.judge(found)]} "
        f"{markdown.points(found['difference'], found['low'], found['high'])}**, McNemar's exact p = {found['p']:.2g}."
        for name, found in compared.items()
    )


def describe_split(split: Order | Files | Tile) -> str:
    match split:
        case Order():
            return "by the row order of the meta table, as in the notebook"
        case Files():
            return "by the dataset's own split files"
        case Tile():
            return f"by whole acquisitions (seed {split.seed})"


def results_section(scores: dict[str, Any], baselines: dict[str, Any]) -> str:
    named = [("**network**", scores["test"]), *((text, baselines[name]) for name, text in BASELINES.items())]
    table = markdown.table(
        [
            {
                "predictor": name,
                "accuracy (95 % interval)": with_interval(values, "accuracy"),
                "macro F1 (95 % interval)": with_interval(values, "macro_f1"),
                "balanced accuracy": values["balanced_accuracy"],
                "NLL": values["nll"],
                "ECE": values["ece"],
            }
            for name, values in [*named, ("network, on val", scores["val"])]
        ]
    )
    return f"""## Results

{table}

Of the test split, unless it says otherwise. Intervals come from a bootstrap over patches. NLL is the mean negative
log-likelihood in nats and ECE the expected calibration error: of both, less is better. The largest class is predicted
with the train split's class frequencies."""


def data_section(data: dict[str, Any], dataset: str, split: dict[str, Any]) -> str:
    counts, bands = data["patches"], list(data["bands"]["train"])
    classes = [row | {"class": readable(row["class"])} for row in data["classes"]]
    present = [row for row in classes if any(row[split] for split in counts)]
    absent = [row["class"] for row in classes if row not in present]
    untested = [row["class"] for row in present if not row["test"]]
    near = [f"{found['share']:.0%} within {name.removeprefix('within_')}" for name, found in data["leakage"].items()]
    remarks = [
        f"Leakage: test patches with a train patch of the same acquisition nearby: {', '.join(near)} patches. "
        "Neighbours look alike, so that a high share flatters the result.",
        f"Tied labels: {data['tied_labels']} (the first class in the table's order was taken). Patches with nodata "
        f"pixels: {data['patches_with_nodata']}. Bad patches left out: {len(data['dropped'])}.",
    ]
    if untrained := [row["class"] for row in present if row["test"] and not row["train"]]:
        remarks.append(f"Classes to test but not to train on, which no predictor can know: {', '.join(untrained)}.")
    if absent:
        remarks.append(f"Classes without a patch: {', '.join(absent)}.")
    if untested:
        remarks.append(
            f"Classes without a test patch: {', '.join(untested)}. The metrics say nothing of them; means over classes "
            "are over those that the test split has."
        )
    return f"""## Data

Dataset **{dataset}**: {counts["train"]} patches to train, {counts["val"]} to validate, {counts["test"]} to test, split
{describe_split(split)}. A patch is 120 x 120 pixels of 10 m in {len(bands)} bands ({", ".join(bands)}); its label is
the ESA WorldCover class that covers most of it.

{markdown.table(present)}

{chr(10).join(f"- {remark}" for remark in remarks)}

![Examples of the test split, one of each class and then more](examples.png)"""


def network_words(model: dict[str, Any], parameters: int) -> str:
    kind = "residual layers" if model.residual else "convolutional layers"
    widths = " - ".join(map(str, model.convolutions))
    linear = f"linear layers of {' - '.join(map(str, model.linear))}" if model.linear else "no linear layer between"
    extras = [
        name.replace("_", " ") for name in ("batch_norm", "global_pooling", "standardize") if getattr(model, name)
    ]
    extras += [f"dropout {model.dropout}"] if model.dropout else []
    parts = [f"{len(model.convolutions)} {kind} of {widths} channels", linear, *extras]
    sizes = f"kernel {model.kernel}, stride {model.stride}, pooling {model.pool}"
    return f"{', '.join(parts)}; {sizes}: {parameters:,} weights."


def training_section(history: Rows, model: dict[str, Any], train: dict[str, Any], parameters: int) -> str:
    best = min(history, key=lambda row: row["val_loss"])
    return f"""## Network and training

{network_words(model, parameters)}

{len(history)} of {train.epochs} epochs of {train.optimizer}, learning rate {train.learning_rate}
({train.schedule.replace("_", " ")}), batches of {train.batch_size}, seed {train.seed}; the {train.keep}
epoch was kept. The lowest validation loss, {best["val_loss"]:.3f}, came in epoch {best["epoch"]}.

![Loss and accuracy of train and val by epoch](learning_curves.png)"""


def errors_section(predictions: Rows, per_class: Rows) -> str:
    occurring = [row | {"class": readable(row["class"])} for row in per_class if row["support"] > 0]
    wrong = [row for row in predictions if row["actual"] != row["predicted"]]
    worst = sorted(wrong, key=lambda row: (-row["confidence"], row["patch_id"]))[:WORST]
    columns = ["patch_id", "actual", "predicted", "confidence", "majority_fraction"]
    worst = [{column: row[column] for column in columns} for row in worst]
    return f"""## Where it errs

![Confusion matrix in shares of each actual class](confusion_matrix_normalized.png)

{markdown.table(occurring)}

A dash: the class was never predicted. See also the [counts](confusion_matrix.png) and
[every prediction](predictions.csv).

![The most confident errors](errors.png)

{markdown.table(worst) if worst else "There is no error."}"""


def trust_section(test: dict[str, Any]) -> str:
    calibrated = test["calibrated"]
    return f"""## How far to trust it

The share of a patch that its class covers bounds what can be known of it: where several classes mix, the largest is
nearly a matter of chance.

![Accuracy by the share of the patch that its class covers](purity.png)

Were the network's confidence a probability, the bars below would end on the diagonal. The expected calibration error is
{test["ece"]:.3f}, the NLL {test["nll"]:.3f}. Divided by the temperature that fits the val split best,
{calibrated["temperature"]:.2f} (above 1: it was too sure), its logits have {calibrated["ece"]:.3f} and
{calibrated["nll"]:.3f} on the test split.

![Accuracy over confidence](reliability.png)"""


def write_page(
    data: dict[str, Any],
    baselines: dict[str, Any],
    scores: dict[str, Any],
    history: Rows,
    predictions: Rows,
    baseline_predictions: Rows,
    per_class: Rows,
    dataset: str,
    entry: Dataset,
    model: Architecture,
    train: Training,
    evaluate: Evaluation,
) -> str:
    """The page that a reviewer reads, from what the reports hold."""
    test = scores["test"]
    compared = compare_with_baselines(predictions, baseline_predictions, evaluate.resamples, evaluate.seed)
    synthetic = (
        "> **The data is synthetic**, written by this project so that it runs anywhere. These figures say that the\n"
        "> pipeline works; they say nothing about Sentinel-2.\n\n"
    )
    sections = [
        "# Land-cover classification of Sentinel-2 patches",
        (synthetic if entry.source == "sample" else "")
        + f"Of {test['n']} test patches the network predicts **{test['accuracy']:.1%}** right "
        f"(95 % interval {test['accuracy_ci_low']:.1%} to {test['accuracy_ci_high']:.1%}).\n\n"
        + against_baselines(compared),
        results_section(scores, baselines),
        data_section(data, dataset, entry.split),
        training_section(history, model, train, scores["model"]["parameters"]),
        errors_section(predictions, per_class),
        trust_section(test),
        """## How to reproduce

Check out the commit of this page and run `make repro`. The parameters are in `params.yaml`, the exact inputs and
outputs in `dvc.lock`; with both unchanged, this page comes out the same to the byte.""",
    ]
    return "\n\n".join(sections) + "\n"


def report(
    data_json: Path,
    baselines_json: Path,
    baseline_predictions_csv: Path,
    history_csv: Path,
    metrics_json: Path,
    predictions_csv: Path,
    per_class_csv: Path,
    report_md: Path,
    *,
    dataset: str,
    datasets: dict[str, Dataset],
    model: Architecture,
    train: Training,
    evaluate: Evaluation,
) -> None:
    """Write the page that a reviewer reads."""
    data, baselines, scores = (json.loads(path.read_text()) for path in (data_json, baselines_json, metrics_json))
    tables = map(files.read_csv, (history_csv, predictions_csv, baseline_predictions_csv, per_class_csv))
    page = write_page(data, baselines, scores, *tables, dataset, datasets[dataset], model, train, evaluate)
    with files.replacing(report_md) as part:
        part.write_text(page)


if __name__ == "__main__":
    cli.run(report)

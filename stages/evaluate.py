"""Judge the network.  data/tensors, models/model.safetensors -> reports/metrics.json, tables and pictures"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages import cli, files, tensors
from stages.errors import InputError
from stages.params import Evaluation, Runtime
from stages.processes import call, importing

if TYPE_CHECKING:
    import pandas as pd

INFERENCE_BATCH = 64
EXAMPLES = 10  # patches in a picture, which Git is to hold for each experiment
PICTURES = "stages.pictures"


def check_fit(model_path: Path, metadata: dict, split: tensors.Split) -> None:
    """Refuse a model that was trained for other bands, classes or scaling than the tensors have."""
    for fact in ("bands", "classes", "scale"):
        if metadata[fact] != getattr(split, fact):
            raise InputError(
                f"{model_path}: was trained with {fact} {metadata[fact]}, the tensors have {getattr(split, fact)}; "
                "run dvc repro"
            )


def tabulate(index: "pd.DataFrame", split: tensors.Split, log_probabilities: np.ndarray) -> "pd.DataFrame":
    """A row a patch: what it is, what it was taken for, and with which probability."""
    names = np.array(split.classes)
    predictions = log_probabilities.argmax(1)
    rows = np.arange(len(predictions))
    return index[["patch_id"]].assign(
        actual=names[split.labels],
        predicted=names[predictions],
        confidence=np.exp(log_probabilities[rows, predictions]),
        p_actual=np.exp(log_probabilities[rows, split.labels]),
        majority_fraction=index["majority_fraction"],
    )


def one_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Rows of `count` patches: the first of each class in turn, then the second of each, and so on."""
    by_class = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    turn = np.empty(len(labels), int)
    turn[by_class] = np.arange(len(labels)) - np.repeat(first, sizes)
    return np.sort(np.lexsort((labels, turn))[:count])


def most_confident_errors(table: "pd.DataFrame", count: int) -> np.ndarray:
    """Rows of the `count` wrong predictions of the highest confidence."""
    wrong = table[table["actual"] != table["predicted"]]
    return wrong.sort_values(["confidence", "patch_id"], ascending=[False, True]).index.to_numpy()[:count]


def evaluate(
    tensors_dir: Path,
    model_path: Path,
    metrics_json: Path,
    predictions_csv: Path,
    per_class_csv: Path,
    pictures_dir: Path,
    *,
    evaluate: Evaluation,
    runtime: Runtime,
) -> None:
    """Predict the val and test splits; write the metrics of both, and tables and pictures of the test split."""
    # Other processes draw, which import matplotlib while this one imports torch: that saves a fifth of the time.
    with importing(PICTURES, 2) as painters:
        from stages import loader, metrics
        from stages.model import choose_device, infer, load, set_deterministic

        device = choose_device(runtime.device)
        set_deterministic(runtime.threads, device)
        network, metadata = load(model_path)
        network.to(device)

        found, temperature = {}, 1.0
        for name in ("val", "test"):
            split = tensors.load_split(tensors_dir, name, runtime.resident_gigabytes)
            check_fit(model_path, metadata, split)
            logits = infer(network, loader.load(split, device).in_order(INFERENCE_BATCH))
            log_probabilities = logits.double().log_softmax(1).cpu().numpy()
            found[name] = metrics.summary(split.labels, log_probabilities, **evaluate.model_dump())
            if name == "val":
                temperature = metrics.fit_temperature(split.labels, log_probabilities)
        correct = log_probabilities.argmax(1) == split.labels
        softened = metrics.soften(log_probabilities, temperature)
        found["test"]["calibrated"] = {
            "temperature": temperature,
            "nll": metrics.nll(split.labels, softened),
            "ece": metrics.ece(correct, np.exp(softened.max(1))),
        }

        confusion = metrics.confusion_matrix(split.labels, log_probabilities.argmax(1), len(split.classes))
        table = tabulate(tensors.load_index(tensors_dir, "test"), split, log_probabilities)
        examples = one_of_each(split.labels, EXAMPLES)
        examples = examples[np.argsort(split.labels[examples], kind="stable")]
        errors = most_confident_errors(table, EXAMPLES)
        shown = [part for rows in (examples, errors) for part in (table.iloc[rows], split.images[rows])]
        drawn = [
            painters.submit(call, PICTURES, "draw_patches", *shown, split.bands, pictures_dir),
            painters.submit(call, PICTURES, "draw_figures", table, confusion, split.classes, pictures_dir),
        ]
        for job in drawn:
            job.result()

    cost = {"parameters": metadata["parameters"], "epochs": metadata["epochs"]}
    files.write_json(metrics_json, {"test": found["test"], "val": found["val"], "model": cost})
    per_class = table.from_dict({"class": split.classes, **metrics.per_class(confusion)})
    for path, content in ((predictions_csv, table), (per_class_csv, per_class)):
        with files.replacing(path) as part:
            content.to_csv(part, index=False, float_format="%.6f", lineterminator="\n")


if __name__ == "__main__":
    cli.run(evaluate)

"""Judge the network.  data/tensors, models/model.safetensors -> reports/metrics.json, tables and pictures"""

from pathlib import Path

import numpy as np
import pandas as pd

from stages import cli, files, loader, metrics, plots, tensors
from stages.errors import InputError
from stages.model import choose_device, infer, load, set_deterministic
from stages.params import Evaluation, Runtime

INFERENCE_BATCH = 64
EXAMPLES = 10  # patches in a picture, which Git is to hold for each experiment


def check_fit(model_path: Path, metadata: dict, split: tensors.Split) -> None:
    """Refuse a model that was trained for other bands, classes or scaling than the tensors have."""
    for fact in ("bands", "classes", "scale"):
        if metadata[fact] != getattr(split, fact):
            raise InputError(
                f"{model_path}: was trained with {fact} {metadata[fact]}, the tensors have {getattr(split, fact)}; "
                "run dvc repro"
            )


def tabulate(index: pd.DataFrame, split: tensors.Split, log_probabilities: np.ndarray) -> pd.DataFrame:
    """A row a patch: what it is, what it was taken for, and with which probability."""
    names = np.array(split.classes)
    predictions = log_probabilities.argmax(1)
    rows = np.arange(len(predictions))
    return pd.DataFrame(
        {
            "patch_id": index["patch_id"],
            "actual": names[split.labels],
            "predicted": names[predictions],
            "confidence": np.exp(log_probabilities[rows, predictions]),
            "p_actual": np.exp(log_probabilities[rows, split.labels]),
            "majority_fraction": index["majority_fraction"],
        }
    )


def one_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Rows of `count` patches: the first of each class in turn, then the second of each, and so on."""
    turn = pd.Series(labels).groupby(labels).cumcount()
    return np.sort(np.lexsort((labels, turn))[:count])


def draw(table: pd.DataFrame, split: tensors.Split, confusion: np.ndarray, pictures_dir: Path) -> None:
    """Draw the confusion matrices, reliability, accuracy by purity, examples and the most confident errors."""
    for name, normalize in (("confusion_matrix", False), ("confusion_matrix_normalized", True)):
        figure = plots.confusion_matrix(confusion, split.classes, normalize=normalize)
        plots.save(figure, pictures_dir / f"{name}.png")

    correct = (table["actual"] == table["predicted"]).to_numpy()
    bins = metrics.reliability(correct, table["confidence"].to_numpy())
    plots.save(plots.reliability(bins, "Reliability on the test split"), pictures_dir / "reliability.png")
    purity = pd.DataFrame(metrics.accuracy_by_purity(correct, table["majority_fraction"].to_numpy()))
    plots.save(
        plots.accuracy_by_purity(purity, "Accuracy by purity of the patch, test split"), pictures_dir / "purity.png"
    )

    rows = one_of_each(split.labels, EXAMPLES)
    rows = rows[np.argsort(split.labels[rows], kind="stable")]
    captions = [
        f"{plots.readable(patch.actual)}\n{patch.majority_fraction:.0%} of the patch"
        for patch in table.iloc[rows].itertuples()
    ]
    figure = plots.patches(split.images[rows], split.bands, captions, "Examples of the test split")
    plots.save(figure, pictures_dir / "examples.png")

    wrong = table[~correct]
    wrong = wrong.sort_values(["confidence", "patch_id"], ascending=[False, True]).head(EXAMPLES)
    captions = [
        f"{plots.readable(patch.actual)} ({patch.majority_fraction:.0%})\n"
        f"taken for {plots.readable(patch.predicted)}\nwith confidence {patch.confidence:.2f}"
        for patch in wrong.itertuples()
    ]
    figure = plots.patches(
        split.images[wrong.index], split.bands, captions, "The most confident errors of the test split"
    )
    plots.save(figure, pictures_dir / "errors.png")


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
    classes = pd.DataFrame({"class": split.classes, **metrics.per_class(confusion)})
    cost = {"parameters": metadata["parameters"], "epochs": metadata["epochs"]}
    draw(table, split, confusion, pictures_dir)
    files.write_json(metrics_json, {"test": found["test"], "val": found["val"], "model": cost})
    for path, content in ((predictions_csv, table), (per_class_csv, classes)):
        with files.replacing(path) as part:
            content.to_csv(part, index=False, float_format="%.6f", lineterminator="\n")


if __name__ == "__main__":
    cli.run(evaluate)

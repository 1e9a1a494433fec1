"""Judge the network.  data/tensors, models/model.safetensors -> reports/metrics.json, tables and pictures"""

from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from stages import cli, files, metrics, tensors
from stages.benge import readable
from stages.errors import InputError
from stages.params import Evaluation, Runtime
from stages.processes import call, helpers

INFERENCE_BATCH = 64
EXAMPLES = 10  # patches in a picture, which Git is to hold for each experiment
PLOTS = "stages.plots"


def check_fit(model_path: Path, metadata: dict, split: tensors.Split) -> None:
    """Refuse a model that was trained for other bands, classes or scaling than the tensors have."""
    for fact in ("bands", "classes", "scale"):
        if metadata[fact] != getattr(split, fact):
            raise InputError(
                f"{model_path}: was trained with {fact} {metadata[fact]}, the tensors have {getattr(split, fact)}; "
                "run dvc repro"
            )


def one_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Rows of `count` patches: the first of each class in turn, then the second of each, and so on."""
    by_class = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    turn = np.empty(len(labels), int)
    turn[by_class] = np.arange(len(labels)) - np.repeat(first, sizes)
    return np.sort(np.lexsort((labels, turn))[:count])


def most_confident_errors(correct: np.ndarray, confidence: np.ndarray, patch_ids: np.ndarray, count: int) -> np.ndarray:
    """Rows of the `count` wrong predictions of the highest confidence."""
    wrong = np.flatnonzero(~correct)
    return wrong[np.lexsort((patch_ids[wrong], -confidence[wrong]))][:count]


class Pictures:
    """The pictures in a folder, which other processes draw."""

    def __init__(self, folder: Path, painters: Executor):
        self.folder, self.painters, self.drawn = folder, painters, []

    def draw(self, name: str, kind: str, *content: Any, **options: Any) -> None:
        """Have a function of stages.plots draw `content`."""
        path = self.folder / f"{name}.png"
        self.drawn.append(self.painters.submit(call, PLOTS, "draw", path, kind, *content, **options))

    def draw_patches(self, name: str, split: tensors.Split, rows: np.ndarray, captions: list[str], title: str) -> None:
        self.draw(name, "patches", split.images[rows], split.bands, captions, title)

    def draw_examples(self, test: tensors.Split, index: tensors.Index) -> None:
        rows = one_of_each(test.labels, EXAMPLES)
        rows = rows[np.argsort(test.labels[rows], kind="stable")]
        captions = [
            f"{readable(test.classes[test.labels[i]])}\n{index.majority_fractions[i]:.0%} of the patch" for i in rows
        ]
        self.draw_patches("examples", test, rows, captions, "Examples of the test split")

    def draw_predictions(
        self, test: tensors.Split, index: tensors.Index, labels: np.ndarray, confidence: np.ndarray
    ) -> None:
        """Draw how the labels that were predicted compare with those of the test split."""
        correct = labels == test.labels
        confusion = metrics.confusion_matrix(test.labels, labels, len(test.classes))
        for name, normalize in (("confusion_matrix", False), ("confusion_matrix_normalized", True)):
            self.draw(name, "confusion_matrix", confusion, test.classes, normalize=normalize)
        rows = most_confident_errors(correct, confidence, index.patch_ids, EXAMPLES)
        captions = [
            f"{readable(test.classes[test.labels[i]])} ({index.majority_fractions[i]:.0%})\n"
            f"taken for {readable(test.classes[labels[i]])}\nwith confidence {confidence[i]:.2f}"
            for i in rows
        ]
        self.draw_patches("errors", test, rows, captions, "The most confident errors of the test split")
        bins = metrics.reliability(correct, confidence)
        self.draw("reliability", "reliability", bins, "Reliability on the test split")
        by_purity = metrics.accuracy_by_purity(correct, index.majority_fractions)
        self.draw("purity", "accuracy_by_purity", by_purity, "Accuracy by purity of the patch, test split")

    def wait(self) -> None:
        """Until all are drawn."""
        for job in self.drawn:
            job.result()


def evaluate(
    tensors_dir: Path,
    model_path: Path,
    history_csv: Path,
    metrics_json: Path,
    predictions_csv: Path,
    per_class_csv: Path,
    pictures_dir: Path,
    *,
    evaluate: Evaluation,
    runtime: Runtime,
) -> None:
    """Predict the val and test splits; write the metrics of both, and tables and pictures of the test split."""
    with helpers(2, PLOTS) as painters:
        pictures = Pictures(pictures_dir, painters)
        test = tensors.load_split(tensors_dir, "test", runtime.resident_gigabytes)
        index = tensors.load_index(tensors_dir, "test")
        with open(history_csv) as file:
            history = np.genfromtxt(file, delimiter=",", names=True, ndmin=1)
        pictures.draw("learning_curves", "learning_curves", history)
        pictures.draw_examples(test, index)

        # Not before, so that the others import matplotlib and draw while this process imports torch.
        from stages import loader
        from stages.model import choose_device, infer, load, set_deterministic

        device = choose_device(runtime.device)
        set_deterministic(runtime.threads, device)
        network, metadata = load(model_path)
        network.to(device)

        def predict(split: tensors.Split) -> np.ndarray:
            check_fit(model_path, metadata, split)
            logits = infer(network, loader.load(split, device).in_order(INFERENCE_BATCH))
            return logits.double().log_softmax(1).cpu().numpy()

        of_test = predict(test)
        labels, confidence = of_test.argmax(1), np.exp(of_test.max(1))
        pictures.draw_predictions(test, index, labels, confidence)

        test = test._replace(images=None)  # so that one split is held at a time
        val = tensors.load_split(tensors_dir, "val", runtime.resident_gigabytes)
        of_val = predict(val)
        found = {
            name: metrics.summary(split.labels, log_probabilities, **evaluate.model_dump())
            for name, split, log_probabilities in (("test", test, of_test), ("val", val, of_val))
        }
        temperature = metrics.fit_temperature(val.labels, of_val)
        softened = metrics.soften(of_test, temperature)
        found["test"]["calibrated"] = {
            "temperature": temperature,
            "nll": metrics.nll(test.labels, softened),
            "ece": metrics.ece(labels == test.labels, np.exp(softened.max(1))),
        }
        pictures.wait()

    cost = {"parameters": metadata["parameters"], "epochs": metadata["epochs"]}
    files.write_json(metrics_json, {**found, "model": cost})
    names = np.array(test.classes)
    columns = {
        "patch_id": index.patch_ids,
        "actual": names[test.labels],
        "predicted": names[labels],
        "confidence": confidence,
        "p_actual": np.exp(of_test[np.arange(len(labels)), test.labels]),
        "majority_fraction": index.majority_fractions,
    }
    files.write_csv(predictions_csv, columns, zip(*columns.values(), strict=True))
    confusion = metrics.confusion_matrix(test.labels, labels, len(test.classes))
    columns = {"class": test.classes, **metrics.per_class(confusion)}
    files.write_csv(per_class_csv, columns, zip(*columns.values(), strict=True))


if __name__ == "__main__":
    cli.run(evaluate)

"""Judge the network.  data/tensors, models/log_probabilities.safetensors -> reports/metrics.json, tables, pictures"""

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from stages import cli, files, metrics, plots, tensors
from stages.benge import readable
from stages.errors import InputError
from stages.params import Evaluation
from stages.processes import helpers

EXAMPLES = 10  # patches in a picture, which Git is to hold for each experiment
COST = ("parameters", "epochs")


def read_log_probabilities(
    path: Path, splits: dict[str, tensors.Split]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What train wrote of each split, float64 (N, K), and how large the network is and how long it learnt.

    Raises:
        InputError: it is of other patches, bands, classes or scaling than the tensors have, or not finite.
    """
    found, metadata = tensors.load(path)
    for name, split in splits.items():
        for fact in ("bands", "classes", "scale"):
            if metadata.get(fact) != getattr(split, fact):
                raise InputError(
                    f"{path}: is of a network trained with {fact} {metadata.get(fact)}, the tensors have "
                    f"{getattr(split, fact)}; run dvc repro"
                )
        shape = (len(split.labels), len(split.classes))
        if name not in found or found[name].shape != shape or not np.isfinite(found[name]).all():
            raise InputError(
                f"{path}: is not finite, or not of the {shape[0]} patches of the {name} split; run dvc repro train"
            )
    if lacking := [fact for fact in COST if fact not in metadata]:
        raise InputError(f"{path}: has no {', '.join(lacking)}; run dvc repro train")
    return found, {fact: metadata[fact] for fact in COST}


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

    def draw(self, name: str, plot: Callable[..., Figure], *content: Any, **options: Any) -> None:
        path = self.folder / f"{name}.png"
        self.drawn.append(self.painters.submit(plots.draw, path, plot, *content, **options))

    def draw_patches(self, name: str, split: tensors.Split, rows: np.ndarray, captions: list[str], title: str) -> None:
        self.draw(name, plots.patches, split.images[rows], split.bands, captions, title)

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
            self.draw(name, plots.confusion_matrix, confusion, test.classes, normalize=normalize)
        rows = most_confident_errors(correct, confidence, index.patch_ids, EXAMPLES)
        captions = [
            f"{readable(test.classes[test.labels[i]])} ({index.majority_fractions[i]:.0%})\n"
            f"taken for {readable(test.classes[labels[i]])}\nwith confidence {confidence[i]:.2f}"
            for i in rows
        ]
        self.draw_patches("errors", test, rows, captions, "The most confident errors of the test split")
        bins = metrics.reliability(correct, confidence)
        self.draw("reliability", plots.reliability, bins, "Reliability on the test split")
        by_purity = metrics.accuracy_by_purity(correct, index.majority_fractions)
        self.draw("purity", plots.accuracy_by_purity, by_purity, "Accuracy by purity of the patch, test split")

    def wait(self) -> None:
        """Until all are drawn."""
        for job in self.drawn:
            job.result()


def evaluate(
    tensors_dir: Path,
    log_probabilities_path: Path,
    history_csv: Path,
    metrics_json: Path,
    predictions_csv: Path,
    per_class_csv: Path,
    pictures_dir: Path,
    *,
    evaluate: Evaluation,
) -> None:
    """Write the metrics of the val and test splits, and tables and pictures of the test split."""
    with helpers(2) as painters:
        pictures = Pictures(pictures_dir, painters)
        # Images stay on disk: no more are read than the pictures show.
        splits = {name: tensors.load_split(tensors_dir, name, gigabytes=0) for name in ("test", "val")}
        test, index = splits["test"], tensors.load_index(tensors_dir, "test")
        log_probabilities, cost = read_log_probabilities(log_probabilities_path, splits)
        of_test = log_probabilities["test"]
        labels, confidence = of_test.argmax(1), np.exp(of_test.max(1))
        pictures.draw_predictions(test, index, labels, confidence)
        pictures.draw_examples(test, index)
        pictures.draw("learning_curves", plots.learning_curves, files.read_csv(history_csv))

        found = {
            name: metrics.summary(split.labels, log_probabilities[name], **evaluate.model_dump())
            for name, split in splits.items()
        }
        temperature = metrics.fit_temperature(splits["val"].labels, log_probabilities["val"])
        softened = metrics.soften(of_test, temperature)
        found["test"]["calibrated"] = {
            "temperature": temperature,
            "nll": metrics.nll(test.labels, softened),
            "ece": metrics.ece(labels == test.labels, np.exp(softened.max(1))),
        }
        pictures.wait()

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

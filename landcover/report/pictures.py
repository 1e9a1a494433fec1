"""The pictures of the test split, drawn by helper processes."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation.calibration import reliability
from landcover.evaluation.confusion import confusion_matrix
from landcover.evaluation.results import accuracy_by_purity
from landcover.evaluation.shares import bins
from landcover.report import maps, plots, sheets

EXAMPLES = 12  # patches in a picture; few, because Git stores one picture per experiment


def one_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Rows of `count` patches: the first of each class in turn, then the second of each, and so on."""
    by_class = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    turn = np.empty(len(labels), int)
    turn[by_class] = np.arange(len(labels)) - np.repeat(first, sizes)
    return np.sort(np.lexsort((labels, turn))[:count])


class Pictures:
    """The pictures in a folder, drawn by other processes."""

    def __init__(self, folder: Path, painters: Executor, *, synthetic: bool, colours: Mapping[str, str] | None = None):
        self.folder, self.painters, self.synthetic, self.drawn = folder, painters, synthetic, []
        self.colours = colours  # of classes, as the dataset's entry has them

    def draw(self, name: str, plot: Callable[..., Figure], *content: Any, **options: Any) -> None:
        path = self.folder / f"{name}.png"
        self.drawn.append(self.painters.submit(plots.draw, path, self.synthetic, plot, *content, **options))

    def draw_patches(
        self, name: str, split: Split, rows: np.ndarray, labels: np.ndarray, title: str, subtitle: str
    ) -> None:
        """Draw the patches in `rows`, and below each the classes of its `labels`, (N, lines)."""
        captions = np.array(split.classes)[labels]
        content = (split.images[rows], split.bands, split.classes, captions.tolist(), title, subtitle)
        self.draw(name, sheets.sheet, *content, metres_per_pixel=split.metres_per_pixel, colours=self.colours)

    def draw_examples(self, test: Split) -> None:
        rows = one_of_each(test.labels, EXAMPLES)
        rows = rows[np.argsort(test.labels[rows], kind="stable")]
        labels = test.labels[rows, None]
        self.draw_patches("examples", test, rows, labels, "Examples from the test split", "below each patch: its class")

    def draw_predictions(self, test: Split, index: Index, labels: np.ndarray, confidence: np.ndarray) -> None:
        """Draw how the predicted labels compare with those of the test split."""
        correct = labels == test.labels
        confusion = confusion_matrix(test.labels, labels, len(test.classes))
        for name, normalize in (("confusion_matrix", False), ("confusion_matrix_normalized", True)):
            self.draw(name, plots.confusion_matrix, confusion, test.classes, self.colours, normalize=normalize)
        wrong = np.flatnonzero(~correct)
        rows = wrong[np.lexsort((index.patch_ids[wrong], -confidence[wrong]))][:EXAMPLES]  # the most confident first
        both = np.stack([test.labels, labels], axis=1)[rows]
        subtitle = "below each patch: its class, then the predicted class"
        self.draw_patches("errors", test, rows, both, "Most confident errors on the test split", subtitle)
        self.draw("reliability", plots.reliability, reliability(correct, confidence), confidence)
        if (index.majority_fractions == 1).all():
            self.draw("purity", plots.note, "Each label is of the whole patch, so there is no purity to compare.")
        else:
            self.draw("purity", plots.accuracy_by_purity, accuracy_by_purity(correct, index.majority_fractions))

    def draw_shares(self, test: Split, as_shares: np.ndarray | None) -> None:
        """Draw true against predicted shares, from the logarithms of the latter (N, K); None without shares."""
        if as_shares is None:
            self.draw("shares", plots.note, "The dataset states one class for each patch, and no shares to compare.")
        else:
            self.draw("shares", plots.shares, bins(test.shares, np.exp(as_shares)), test.classes, self.colours)

    def draw_suspects(self, split: Split, rows: np.ndarray, review: pd.DataFrame) -> None:
        """Draw the most suspect of the patches in a label review, and below each its label and what is suggested."""
        if not len(rows):
            self.draw("suspects", plots.note, "No suspect labels: they are looked for in folds only (repeat.folds).")
            return
        positions = {name: label for label, name in enumerate(split.classes)}
        both = review[["actual", "suggested"]].map(positions.get).to_numpy(int)[:EXAMPLES]
        subtitle = "below each patch: its label, then the suggested class"
        self.draw_patches("suspects", split, rows[:EXAMPLES], both, "The most suspect labels", subtitle)

    def draw_places(self, patches: pd.DataFrame, metres: float) -> None:
        """Draw where patches lie, from the columns `split`, `lon` and `lat`; `metres`: side of a patch."""
        if patches[["lon", "lat"]].isna().any(axis=None):
            self.draw("places", plots.note, "The dataset does not say where its patches lie.")
        else:
            self.draw("places", maps.places, patches, metres)

    def draw_importance(self, rows: Sequence[Mapping[str, Any]], accuracy: float) -> None:
        """Draw the accuracy lost without each input, from the rows of importance.importance."""
        if len(rows) > 1:
            self.draw("inputs", plots.importance, rows, accuracy)
        else:
            self.draw("inputs", plots.note, "The network has a single input, so there is no other to compare it with.")

    def wait(self) -> None:
        """Wait until all pictures are drawn."""
        for job in tqdm(self.drawn, desc="draw", unit="picture", disable=None):
            job.result()

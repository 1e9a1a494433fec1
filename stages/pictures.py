"""The pictures of the reports, drawn and saved."""

from pathlib import Path

import numpy as np
import pandas as pd

from stages import metrics, plots
from stages.benge import readable


def draw_figures(table: pd.DataFrame, confusion: np.ndarray, classes: list[str], folder: Path) -> None:
    """Draw the confusion matrices, reliability, and accuracy by purity.

    Args:
        table: a row a patch, as predictions.csv.
        confusion: counts (K, K).
    """
    for name, normalize in (("confusion_matrix", False), ("confusion_matrix_normalized", True)):
        plots.save(plots.confusion_matrix(confusion, classes, normalize=normalize), folder / f"{name}.png")
    correct = (table["actual"] == table["predicted"]).to_numpy()
    bins = metrics.reliability(correct, table["confidence"].to_numpy())
    plots.save(plots.reliability(bins, "Reliability on the test split"), folder / "reliability.png")
    purity = pd.DataFrame(metrics.accuracy_by_purity(correct, table["majority_fraction"].to_numpy()))
    figure = plots.accuracy_by_purity(purity, "Accuracy by purity of the patch, test split")
    plots.save(figure, folder / "purity.png")


def draw_patches(
    examples: pd.DataFrame,
    example_images: np.ndarray,
    errors: pd.DataFrame,
    error_images: np.ndarray,
    bands: list[str],
    folder: Path,
) -> None:
    """Draw example patches and the most confident errors, of rows of predictions.csv and images (N, C, H, W)."""
    captions = [
        f"{readable(patch.actual)}\n{patch.majority_fraction:.0%} of the patch" for patch in examples.itertuples()
    ]
    figure = plots.patches(example_images, bands, captions, "Examples of the test split")
    plots.save(figure, folder / "examples.png")
    captions = [
        f"{readable(patch.actual)} ({patch.majority_fraction:.0%})\n"
        f"taken for {readable(patch.predicted)}\nwith confidence {patch.confidence:.2f}"
        for patch in errors.itertuples()
    ]
    figure = plots.patches(error_images, bands, captions, "The most confident errors of the test split")
    plots.save(figure, folder / "errors.png")


def draw_learning_curves(history_csv: Path, path: Path) -> None:
    """Draw the losses and accuracies of history.csv."""
    plots.save(plots.learning_curves(pd.read_csv(history_csv)), path)

"""Plots. Each function returns a Figure for `save` to write."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from PIL import Image

from landcover import files
from landcover.constants import readable
from landcover.report.palette import class_colours
from landcover.report.sheets import shorten

DPI = 100
NAME_LETTERS = 26  # of a line of a class name on the axes of a matrix
COLOURS = {"train": "#1f77b4", "val": "#d95f02", "bar": "#4c72b0", "muted": "#9a9a9a", "caution": "#b00000"}


def save(figure: Figure, path: Path, *, synthetic: bool) -> None:
    """Write a PNG, with the same bytes for the same figure; a corner note marks synthetic data.

    It has 256 colours, a quarter of the bytes of one with all, since Git keeps the pictures of every experiment.
    """
    if synthetic:
        figure.text(0.99, 0.99, "synthetic data", ha="right", va="top", fontsize=9, color=COLOURS["caution"])
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    with files.replacing(path) as part:
        # By an octree, which keeps the colours of small squares; Pillow's default merges them with those of patches.
        picture.quantize(method=Image.Quantize.FASTOCTREE).save(part, format="png", optimize=True)


def draw(path: Path, synthetic: bool, plot: Callable[..., Figure], *content: Any, **options: Any) -> None:
    """Plot and save, in any process, whatever the user's own matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        save(plot(*content, **options), path, synthetic=synthetic)


def note(text: str) -> Figure:
    """A picture of one sentence, where there is nothing to draw: DVC demands every picture that dvc.yaml names."""
    figure = Figure(figsize=(7.6, 0.6))
    figure.text(0.01, 0.3, text, fontsize=10, va="center")
    return figure


def _name_axes(axes: Axes, classes: Sequence[str], colours: Mapping[str, str], counts: Sequence[int] = ()) -> None:
    """Name the classes on both axes of a matrix, each beside a square in its colour, with the count of each row.

    A long name is on two lines in its row, and shortened in its column, where two lines would run into the next.
    """
    places, names = range(len(classes)), [readable(name) for name in classes]
    columns = [shorten(name, NAME_LETTERS) for name in names]
    rows = ["\n".join(wrap(name, NAME_LETTERS, max_lines=2, placeholder="...")) for name in names]
    if counts:
        rows = [f"{name} ({count})" for name, count in zip(rows, counts, strict=True)]
    axes.set_xticks(places, columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, rows)
    axes.tick_params(length=0, pad=14)
    square = {"marker": "s", "s": 70, "c": [colours[name] for name in classes], "edgecolors": "#777777"}
    square |= {"clip_on": False, "linewidths": 0.5}
    border, beside = np.zeros(len(classes)), 8 / 72  # inches
    below, left = (ScaledTranslation(*by, axes.figure.dpi_scale_trans) for by in ((0, -beside), (-beside, 0)))
    axes.scatter(places, border, transform=axes.get_xaxis_transform() + below, **square)
    axes.scatter(border, places, transform=axes.get_yaxis_transform() + left, **square)


def _matrix(count: int) -> tuple[Figure, Axes]:
    """An empty picture for `count` classes; two with WorldCover's classes fit a page side by side."""
    figure = Figure(figsize=(max(6.7, 2.6 + 0.37 * count), 3.2 + 0.31 * max(count, 4)), layout="constrained")
    return figure, figure.add_subplot()


def confusion_matrix(
    confusion: np.ndarray, classes: Sequence[str], colours: Mapping[str, str] | None = None, *, normalize: bool
) -> Figure:
    """Draw a confusion matrix (K, K) as counts or as shares of each actual class, without classes that never occur.

    The shade always shows the share of the actual class, so that rare classes are as legible as frequent ones.

    Args:
        colours: chosen for classes; others have the palette's.
    """
    occurs = np.flatnonzero(confusion.sum(0) + confusion.sum(1))
    shown = confusion[np.ix_(occurs, occurs)]
    support = shown.sum(1, keepdims=True)
    shares = np.divide(shown, support, out=np.zeros(shown.shape), where=support > 0)
    names = [classes[i] for i in occurs]

    figure, axes = _matrix(len(names))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in zip(*np.nonzero(shown), strict=True):
        text = f"{shares[row, column]:.0%}" if normalize else f"{shown[row, column]}"
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    _name_axes(axes, names, class_colours(classes, colours), support.ravel().tolist())
    axes.set(xlabel="predicted class", ylabel="actual class (patches)")
    unit = "share of each actual class" if normalize else "patches; shading: share of the actual class"
    axes.set_title(f"Confusion matrix of the test split\n{unit}", fontsize=11, loc="left")
    return figure


def confusion_difference(
    before: np.ndarray, after: np.ndarray, classes: Sequence[str], colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw how many patches each cell of the confusion matrix (K, K) gained or lost; blue marks an improvement.

    Args:
        colours: chosen for classes; others have the palette's.
    """
    change = after - before
    occurs = np.flatnonzero((before + after).sum(0) + (before + after).sum(1))
    shown = change[np.ix_(occurs, occurs)]
    names = [classes[i] for i in occurs]
    # More is better on the diagonal, less is better elsewhere.
    gain = np.where(np.eye(len(occurs), dtype=bool), shown, -shown)
    limit = max(np.abs(shown).max(), 1)

    figure, axes = _matrix(len(names))
    axes.imshow(gain, cmap="RdBu", vmin=-1.4 * limit, vmax=1.4 * limit, aspect="auto")
    for row, column in zip(*np.nonzero(shown), strict=True):
        axes.text(column, row, f"{shown[row, column]:+d}", ha="center", va="center", fontsize=9)
    _name_axes(axes, names, class_colours(classes, colours))
    axes.set(xlabel="predicted class", ylabel="actual class")
    axes.set_title(
        "Confusion matrix: after minus before\npatches; blue is better, red is worse", fontsize=11, loc="left"
    )
    return figure


def learning_curves(history: pd.DataFrame, before: pd.DataFrame | None = None) -> Figure:
    """Draw loss and accuracy of the train and val splits by epoch, from history.csv.

    Args:
        before: the history of the run compared with, drawn dashed on the same axes.
    """
    runs = [(history, "", "-")] if before is None else [(before, " before", "--"), (history, " after", "-")]
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for run, when, style in runs:
            for split in ("train", "val"):
                values = run[f"{split}_{quantity}"]
                axes.plot(run["epoch"], values, style, label=split + when, color=COLOURS[split], linewidth=1.8)
        axes.set(xlabel="epoch", ylabel={"loss": "loss (nats)", "accuracy": "accuracy"}[quantity])
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle("Learning curves", fontsize=11)
    return figure


def reliability(bins: dict[str, np.ndarray], confidence: np.ndarray) -> Figure:
    """Draw accuracy against confidence in the bins of calibration.reliability, and a histogram of confidence."""
    figure = Figure(figsize=(5, 5))
    margins = {"left": 0.13, "right": 0.97, "bottom": 0.1, "top": 0.94, "hspace": 0.07}
    axes, counts = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True, gridspec_kw=margins)
    reach = (bins["accuracy"] - bins["low"], bins["high"] - bins["accuracy"])
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linestyle="--", label="perfectly calibrated")
    label = f"about {round(bins['count'].mean())} patches each, 95% interval"
    axes.errorbar(
        bins["confidence"], bins["accuracy"], reach, fmt="o", color=COLOURS["bar"], capsize=3, markersize=5, label=label
    )
    axes.set(ylabel="accuracy", ylim=(-0.02, 1.02), xlim=(0, 1))
    axes.set_title("Reliability on the test split", fontsize=11)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    counts.hist(confidence, bins=np.linspace(0, 1, 21), color=COLOURS["muted"], edgecolor="white")
    counts.set(xlabel="confidence", ylabel="patches")
    return figure


def importance(rows: Sequence[Mapping[str, Any]], accuracy: float) -> Figure:
    """Draw the accuracy lost without each input, with its 95% interval, from the rows of importance.importance.

    Args:
        accuracy: of the test split with all inputs.
    """
    figure = Figure(figsize=(7.6, 1.5 + 0.45 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    cost, low, high = (100 * np.array([row[name] for row in rows]) for name in ("cost", "low", "high"))
    places = range(len(rows))
    axes.barh(places, cost, color=COLOURS["bar"], height=0.6)
    axes.errorbar(cost, places, xerr=(cost - low, high - cost), fmt="none", color="black", capsize=4, linewidth=1)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(places, [readable(row["input"]) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"points of accuracy lost, of {100 * accuracy:.1f}% with all inputs (95% interval)")
    axes.set_title("Cost of exchanging an input between test patches", fontsize=11, loc="left")
    return figure


def accuracy_by_purity(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw accuracy with its 95% interval by majority fraction, from the rows of results.accuracy_by_purity."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    accuracy, low, high = (np.array([row[name] for row in rows]) for name in ("accuracy", "low", "high"))
    places, reach = range(len(rows)), (accuracy - low, high - accuracy)
    axes.bar(places, accuracy, color=COLOURS["bar"], width=0.7)
    axes.errorbar(places, accuracy, reach, fmt="none", color="black", capsize=4, linewidth=1)
    axes.set_xticks(places, [f"{row['purity']}\n{row['n']} patches" for row in rows], fontsize=9)
    axes.set(ylim=(0, 1), ylabel="accuracy", xlabel="purity: share of the patch that its class covers")
    axes.set_title("Accuracy by purity on the test split", fontsize=11)
    return figure


def accuracy_by_patches(curve: pd.DataFrame) -> Figure:
    """Draw the accuracy of experiments by the number of train patches, with 95% intervals, from experiments.curve."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    names = curve["experiment"].unique()
    for number, (name, of) in enumerate(curve.groupby("experiment", sort=False)):
        beside = 1 + 0.03 * (number - (len(names) - 1) / 2)  # so that intervals do not cover each other
        reach = (of["accuracy"] - of["low"], of["high"] - of["accuracy"])
        axes.errorbar(of["patches"] * beside, of["accuracy"], reach, label=name, marker="o", capsize=4, linewidth=1.8)
    sizes = sorted(curve["patches"].unique())
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set(xlabel="train patches", ylabel="test accuracy (95% interval)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    return figure


def shares(
    bins: Sequence[Mapping[str, np.ndarray]], classes: Sequence[str], colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw mean true against mean predicted shares, from shares.bins, in a panel for each class that has any.

    Args:
        colours: chosen for classes; others have the palette's.
    """
    colours, columns = class_colours(classes, colours), 4
    occurs = [(name, of) for name, of in zip(classes, bins, strict=True) if of["true"].any()]
    rows = -(-len(occurs) // columns)
    figure = Figure(figsize=(7.6, 0.9 + 1.75 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in panels[len(occurs) :]:
        axes.set_axis_off()
    for axes, (name, of) in zip(panels, occurs, strict=False):
        axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linestyle="--", linewidth=1)
        axes.plot(of["predicted"], of["true"], color="#555555", linewidth=1)
        sizes = 12 + 60 * of["count"] / of["count"].sum()
        axes.scatter(of["predicted"], of["true"], sizes, color=colours[name], edgecolors="#555555", linewidths=0.7)
        axes.set_title(shorten(readable(name), NAME_LETTERS), fontsize=9)
        axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    figure.supxlabel("predicted share of the patch (mean of a bin; larger points: more patches)", fontsize=9)
    figure.supylabel("true share", fontsize=9)
    figure.suptitle("Shares of the classes in test patches", fontsize=11, x=0.01, ha="left")
    return figure

"""The land cover of a scene beside its picture, with a legend."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from landcover.constants import readable
from landcover.report.palette import class_colours
from landcover.report.plots import COLOURS
from landcover.report.sheets import describe_picture, draw_scale_bar, shorten, to_pictures

WIDTH, MAX_PANEL_HEIGHT = 7.6, 6  # inches; GitHub shows pictures of this width unscaled
TITLE_LETTERS, LEGEND_LETTERS = 80, 100  # of a line
NO_DATA = "black"
UNCERTAIN, UNLIKE = "/////", "xxxxx"  # hatches


def percent(share: float) -> str:
    """A share as text, in which only 0 is 0%."""
    return f"{100 * share:.0f}%" if share >= 0.01 or not share else "< 1%"


def _draw_classes(
    axes: Axes,
    labels: np.ndarray,
    edges: tuple[np.ndarray, np.ndarray],
    hatched: Mapping[str, np.ndarray],
    colours: list[str],
) -> None:
    """Paint cells, and hatch some: dark on bright colours and bright on dark ones.

    Args:
        hatched: bool (rows, columns) by hatch.
    """
    painted = np.array([to_rgb(colour) for colour in [*colours, NO_DATA]])[labels]  # -1 is the last
    rows, columns = edges
    axes.imshow(painted, extent=(columns[0], columns[-1], rows[-1], rows[0]), interpolation="nearest")
    is_dark = painted.mean(-1) < 0.4
    for hatch, (shade, colour) in product(hatched, ((is_dark, "#cccccc"), (~is_dark, "#404040"))):
        if (cells := hatched[hatch] & shade).any():
            # Each cell as four points, at its corners, so that the contours follow its sides.
            corners = (np.repeat(places, 2)[1:-1] for places in (columns, rows))
            levels = cells.repeat(2, 0).repeat(2, 1)
            drawn = axes.contourf(*corners, levels, [0.5, 1.5], colors="none", hatches=[hatch])
            drawn.set(edgecolor=colour, linewidth=0)


def scene_map(
    name: str,
    thumbnail: np.ndarray,
    bands: Sequence[str],
    metres: tuple[float, float],
    labels: np.ndarray,
    margin: float,
    cell: float,
    uncertain: np.ndarray,
    threshold: float,
    classes: Sequence[str],
    *,
    colours: Mapping[str, str] | None = None,
    truth: np.ndarray | None = None,
    synthetic_model: bool,
    of_shares: bool = False,
    unlike: np.ndarray | None = None,
) -> Figure:
    """Draw a scene's picture, beside it its classes with their shares, and the truth.

    Uncertain cells are hatched, and those unlike the train patches are hatched crosswise, whether certain or not.

    Args:
        name: of the scene.
        thumbnail: reflectances (C, h, w) of the bands.
        metres: the scene's height and width.
        labels: int (rows, columns), -1 where there is none.
        margin: metres from the scene's northern and western edges to those of the cells.
        cell: metres of a cell's side.
        uncertain: bool (rows, columns), whether a cell's confidence is below the threshold.
        colours: chosen for classes; others have the palette's.
        truth: as labels, where it is known.
        synthetic_model: whether the model was trained on synthetic data.
        of_shares: whether the confidence is the largest share of a class, not a probability.
        unlike: bool (rows, columns), whether a cell is unlike the train patches.
    """
    unlike = np.zeros_like(uncertain) if unlike is None else unlike
    colours = class_colours(classes, colours)
    has_data = labels >= 0
    count = max(has_data.sum(), 1)
    shares = np.bincount(labels[has_data], minlength=len(classes)) / count

    def entry(label: str, facecolor: str, **style: str) -> Patch:
        return Patch(label=shorten(label, LEGEND_LETTERS), facecolor=facecolor, **style)

    legend = [
        entry(f"{readable(classes[i])}: {percent(shares[i])}", colours[classes[i]], edgecolor="#777777")
        for i in np.argsort(-shares, kind="stable")
        if shares[i] or (truth is not None and (truth == i).any())
    ]
    if uncertain.any():
        share = percent((uncertain & has_data).sum() / count)
        label = f"no class above {100 * threshold:g}%" if of_shares else f"below {100 * threshold:g}% confidence"
        legend.append(entry(f"{label}: {share}", "white", edgecolor="#404040", hatch=UNCERTAIN))
    if unlike.any():
        label = f"unlike the train patches: {percent((unlike & has_data).sum() / count)}"
        legend.append(entry(label, "white", edgecolor="#404040", hatch=UNLIKE))
    if not has_data.all():
        legend.append(entry(f"no data: {percent(1 - has_data.mean())} of the map", NO_DATA))
    columns = min(3, LEGEND_LETTERS // max(len(patch.get_label()) + 4 for patch in legend)) or 1

    panels = 2 if truth is None else 3
    panel = min((WIDTH - 0.3) / panels * metres[0] / metres[1], MAX_PANEL_HEIGHT)
    height = panel + 1.35 + 0.2 * -(-len(legend) // columns)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    picture, land_cover, *true = figure.subplots(1, panels)
    for axes in (picture, land_cover, *true):
        axes.set(xticks=[], yticks=[])
    picture.imshow(to_pictures(thumbnail[None], bands)[0], extent=(0, metres[1], metres[0], 0))
    edges = tuple(margin + cell * np.arange(size + 1) for size in labels.shape)
    _draw_classes(land_cover, labels, edges, {UNCERTAIN: uncertain & ~unlike, UNLIKE: unlike}, list(colours.values()))
    for axes in true:
        _draw_classes(axes, truth, edges, {}, list(colours.values()))
        known = (truth >= 0) & has_data
        title = f"truth; the map is {percent((truth == labels)[known].mean())} right" if known.any() else "truth"
        axes.set_title(title, fontsize=10, loc="left")
    for axes in (land_cover, *true):
        axes.set(xlim=(0, metres[1]), ylim=(metres[0], 0))
    draw_scale_bar(picture, metres[1] / 3)
    picture.set_title(describe_picture(bands), fontsize=10, loc="left")
    land_cover.set_title("land cover", fontsize=10, loc="left")
    figure.suptitle(shorten(name, TITLE_LETTERS), x=0.01, ha="left", fontsize=11)
    key = figure.legend(
        handles=legend, loc="outside lower left", ncols=columns, frameon=False, fontsize=9, handlelength=1.2,
        alignment="left", title="by a model of synthetic data" if synthetic_model else None,
    )  # fmt: skip
    key.get_title().set(color=COLOURS["caution"], fontsize=9)
    return figure

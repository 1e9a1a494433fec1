"""The land cover of a scene beside its picture, painted pixel by pixel, with a legend."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from landcover.constants import readable
from landcover.report.palette import class_colours
from landcover.report.plots import COLOURS, DPI
from landcover.report.sheets import tell_drawn, to_pictures

# In pixels. GitHub shows pictures of this width unscaled.
WIDTH, TALLEST, MARGIN, GAP, HEADER, LINE, SWATCH = 760, 600, 9, 10, 54, 20, 13
COLUMNS = 3  # of the legend
NO_DATA, OUTSIDE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
HATCH = 5  # pixels from one line to the next
LETTERS = 90  # of a name that fit above the map


def percent(share: float) -> str:
    """A share as text, in which only 0 is 0%."""
    return f"{100 * share:.0f}%" if share >= 0.01 or not share else "< 1%"


def _hatched(painted: np.ndarray, where: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) with diagonal lines over some of its pixels, dark on bright colours and bright on dark."""
    down, across = np.indices(where.shape)
    lines = np.where(painted.mean(-1, keepdims=True) < 0.3, 0.8, 0.25)
    return np.where((where & ((down + across) % HATCH == 0))[..., None], lines, painted)


def _nearest(fractions: np.ndarray, low: float, high: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `count` cells from `low` to `high` positions on an axis are in, and whether they are in any."""
    places = np.floor((fractions - low) / (high - low) * count).astype(int)
    return places.clip(0, count - 1), (places >= 0) & (places < count)


def _bar(metres: float) -> float:
    """The largest round number, 1, 2 or 5 times a power of ten, that is not above `metres`."""
    power = 10 ** np.floor(np.log10(metres))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= metres)


def scene_map(
    name: str,
    thumbnail: np.ndarray,
    bands: Sequence[str],
    metres: tuple[float, float],
    labels: np.ndarray,
    place: tuple[float, float, float, float],
    uncertain: np.ndarray,
    threshold: float,
    classes: Sequence[str],
    *,
    synthetic_model: bool,
) -> Figure:
    """Draw a scene's picture and, beside it, its classes with their shares; uncertain cells are hatched.

    Args:
        name: of the scene.
        thumbnail: reflectances (C, h, w) of the bands.
        metres: the scene's height and width.
        labels: int (rows, columns), -1 where there is none.
        place: top, left, bottom and right edges of the cells, as shares of the scene's height and width.
        uncertain: bool (rows, columns), whether a cell's confidence is below the threshold.
        synthetic_model: whether the model was trained on synthetic data.
    """
    scale = min((WIDTH - 2 * MARGIN - GAP) / 2 / metres[1], TALLEST / metres[0])  # pixels per metre
    down, across = (max(1, round(scale * length)) for length in metres)
    rows, columns = (np.arange(length) + 0.5 for length in (down, across))
    rows, columns = rows / down, columns / across

    (low_rows, _), (low_columns, _) = (
        _nearest(part, 0, 1, count) for part, count in zip((rows, columns), thumbnail.shape[1:], strict=True)
    )
    picture = to_pictures(thumbnail[None], bands)[0][np.ix_(low_rows, low_columns)]
    top, left, bottom, right = place
    (at_rows, in_rows), (at_columns, in_columns) = (
        _nearest(rows, top, bottom, labels.shape[0]),
        _nearest(columns, left, right, labels.shape[1]),
    )
    cells = np.ix_(at_rows, at_columns)
    colours = class_colours(classes)
    painted = np.array([*map(to_rgb, colours.values()), NO_DATA])[labels[cells]]
    painted = np.where(np.outer(in_rows, in_columns)[..., None], painted, OUTSIDE)
    painted = _hatched(painted, uncertain[cells] & np.outer(in_rows, in_columns))

    valid = labels >= 0
    shares = np.bincount(labels[valid], minlength=len(classes)) / max(valid.sum(), 1)
    legend = [
        (np.array(to_rgb(colours[classes[i]])), f"{readable(classes[i])}: {percent(shares[i])}")
        for i in np.argsort(-shares, kind="stable")
        if shares[i]
    ]
    if uncertain.any():
        share = (uncertain & valid).sum() / max(valid.sum(), 1)
        legend.append((None, f"below {100 * threshold:g}% confidence: {percent(share)}"))
    if not valid.all():
        legend.append((np.array(NO_DATA), f"no data: {percent(1 - valid.mean())} of the map"))

    lines = -(-len(legend) // COLUMNS)
    height = HEADER + down + 40 + lines * LINE + MARGIN
    figure = Figure(figsize=(WIDTH / DPI, height / DPI))
    canvas = np.ones((height, WIDTH, 3))

    def write(x: float, y: float, text: str, size: float, **style: str) -> None:
        figure.text(x / WIDTH, 1 - y / height, text, fontsize=size, va="center", **style)

    right_panel = MARGIN + across + GAP
    canvas[HEADER : HEADER + down, MARGIN : MARGIN + across] = picture
    canvas[HEADER : HEADER + down, right_panel : right_panel + across] = painted
    write(MARGIN, 16, name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}...", 11)
    write(MARGIN, 40, tell_drawn(bands), 9)
    write(right_panel, 40, "land cover", 9)
    if synthetic_model:
        write(WIDTH - MARGIN, 40, "by a model of synthetic data", 9, ha="right", color=COLOURS["caution"])

    length = _bar(metres[1] / 3)
    y = HEADER + down + 18
    canvas[y - 2 : y + 2, MARGIN : MARGIN + round(scale * length)] = 0
    write(MARGIN + round(scale * length) + 8, y, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m", 9)
    for place_, (colour, text) in enumerate(legend):
        column, line = divmod(place_, lines)
        x, y = MARGIN + column * (WIDTH - 2 * MARGIN) // COLUMNS, HEADER + down + 40 + line * LINE
        swatch = canvas[y : y + SWATCH, x : x + SWATCH]
        swatch[:] = 0.47
        inside = swatch[1:-1, 1:-1]
        inside[:] = _hatched(np.ones(inside.shape), np.ones(inside.shape[:2], bool)) if colour is None else colour
        write(x + SWATCH + 6, y + SWATCH / 2, text, 9)
    figure.figimage(canvas)
    return figure

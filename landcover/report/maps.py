"""Maps of the patches: those of each split, and those that a comparison shows to have changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Rectangle
from matplotlib.path import Path as Outline

from landcover.constants import SPLITS

# Coastlines of Europe, in degrees: Natural Earth's land at 1:50 million (public domain), thinned to 0.03 degrees.
COASTLINE = Path(__file__).with_name("coastline.csv")
COLOURS = {"train": "#1f77b4", "val": "#d95f02", "test": "#111111"}
# Later splits are drawn smaller and on top, so that none hides those at the same place, and opaque, so that no other
# colour arises.
DOT_AREA = {"train": 20, "val": 8, "test": 2}  # points squared
FILLED = {"train": 1, "val": 0.7, "test": 0.4}  # of a patch's side
INSET_KM = 14  # side of the detail map
DEGREE_KM = 111.2  # of latitude
# Okabe and Ito's blue and vermilion, which colour-blind readers can distinguish; the halves are distinct in grey, too.
FIXED, BROKEN = ("#0072b2", "left"), ("#d55e00", "right")
PATCH_AREA, LARGEST_AREA = 20, 240  # points squared on the map of changes: of a patch, and at most of a place
HEIGHT_TO_WIDTH = 0.7


def _densest(patches: pd.DataFrame) -> tuple[float, float]:
    """Longitude and latitude of the centre of the densest square of INSET_KM, test patches counting twice."""
    side = INSET_KM / DEGREE_KM
    stretch = np.cos(np.radians(patches["lat"]))
    cells = pd.DataFrame({"x": (patches["lon"] * stretch // side), "y": (patches["lat"] // side)})
    weight = 1 + (patches["split"] == "test")
    (x, y) = weight.groupby([cells["x"], cells["y"]]).sum().idxmax()
    inside = patches[(cells["x"] == x) & (cells["y"] == y)]
    return float(inside["lon"].mean()), float(inside["lat"].mean())


def _settle(axes: Axes, latitude: float) -> None:
    axes.set_aspect(1 / np.cos(np.radians(latitude)))
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_coast(axes: Axes) -> None:
    for _, line in pd.read_csv(COASTLINE).groupby("line"):
        axes.plot(line["lon"], line["lat"], color="#9a9a9a", linewidth=0.6, zorder=0)


def places(patches: pd.DataFrame, metres: float) -> Figure:
    """Draw the patches of each split on a map of Europe, with a detail map of the densest area.

    Args:
        patches: columns `split`, `lon` and `lat`, in degrees.
        metres: side of a patch.
    """
    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    europe, close = figure.subplots(1, 2)
    _draw_coast(europe)
    for name in SPLITS:
        part = patches[patches["split"] == name]
        label = f"{name} ({len(part)})"
        europe.scatter(part["lon"], part["lat"], DOT_AREA[name], COLOURS[name], linewidths=0, label=label)
    europe.set_xlim(min(-11, patches["lon"].min() - 1), max(32, patches["lon"].max() + 1))
    europe.set_ylim(min(35, patches["lat"].min() - 1), max(71, patches["lat"].max() + 1))
    europe.legend(loc="upper left", fontsize=9, markerscale=2, framealpha=0.9)
    europe.set_title("Where the patches lie", fontsize=11)
    _settle(europe, 54)

    lon, lat = _densest(patches)
    height = INSET_KM / DEGREE_KM
    stretch = np.cos(np.radians(lat))
    size = metres / 1000 / DEGREE_KM
    box = {"fill": False, "edgecolor": "#c00000", "linewidth": 1.2}
    europe.add_patch(Rectangle((lon - 0.5, lat - 0.35), 1, 0.7, **box))
    near = patches[((patches["lat"] - lat).abs() < height) & ((patches["lon"] - lon).abs() < height / stretch)]

    def draw_square(patch: NamedTuple, side: float, **style: Any) -> None:
        corner = (patch.lon - side / 2 / stretch, patch.lat - side / 2)
        close.add_patch(Rectangle(corner, side / stretch, side, **style))

    for name in SPLITS:
        for patch in near[near["split"] == name].itertuples():
            draw_square(patch, size * FILLED[name], facecolor=COLOURS[name], linewidth=0)
    for patch in near.itertuples():
        draw_square(patch, size, fill=False, edgecolor="#777777", linewidth=0.8)
    close.set_xlim(lon - height / 2 / stretch, lon + height / 2 / stretch)
    close.set_ylim(lat - height / 2, lat + height / 2)
    close.set_title(f"Densest {INSET_KM} x {INSET_KM} km; outlines are patches", fontsize=11)
    _settle(close, lat)
    return figure


def _half(side: str) -> Outline:
    """The left or the right half of a disc, as a marker."""
    start = {"left": 90, "right": -90}[side]
    return Outline.wedge(start, start + 180)


def changes(patches: pd.DataFrame) -> Figure:
    """Draw for each place how many of its patches were fixed, and how many were broken.

    Half discs that share a diameter hide nothing of each other, however many patches lie on the same spot.

    Args:
        patches: columns `place`, a number, `lon` and `lat`, in degrees, and `fixed` and `broken`, bool.
    """
    of_place = patches.groupby("place").agg({"lon": "mean", "lat": "mean", "fixed": "sum", "broken": "sum"})
    most = of_place[["fixed", "broken"]].max(axis=1)
    of_patch = min(PATCH_AREA, LARGEST_AREA / most.max())
    figure = Figure(figsize=(7.6, 5.8))
    figure.set_layout_engine("constrained", h_pad=0.1)
    axes = figure.add_subplot()
    _draw_coast(axes)

    def draw_half(lon: Sequence, lat: Sequence, count: int, colour: str, side: str) -> PathCollection:
        style = {"marker": _half(side), "edgecolors": "white", "linewidths": 0.5, "alpha": 0.85}
        return axes.scatter(lon, lat, of_patch * count, colour, **style)

    # The largest first, so that a small one beside it is not hidden.
    for place in of_place.loc[most.sort_values(ascending=False, kind="stable").index].itertuples():
        for count, half in ((place.fixed, FIXED), (place.broken, BROKEN)):
            if count:
                draw_half([place.lon], [place.lat], count, *half)
    top = int(most.max())
    legend = {
        f"{count} fixed, {count} broken": tuple(draw_half([], [], count, *half) for half in (FIXED, BROKEN))
        for count in sorted({1, (top + 1) // 2, top})
    }
    if (unchanged := of_place[most == 0]).size:
        style = {"marker": "x", "color": "#555555", "linewidths": 0.8}
        legend["none"] = axes.scatter(unchanged["lon"], unchanged["lat"], 12, **style)
    handlers = {tuple: HandlerTuple(ndivide=None, pad=0.3)}
    place = {"loc": "outside lower center", "ncols": len(legend), "handler_map": handlers}  # over no patch
    figure.legend(legend.values(), legend, fontsize=9, frameon=False, **place)

    lon, lat = (of_place[name].agg(["min", "max"]) for name in ("lon", "lat"))
    middle, stretch = lat.mean(), np.cos(np.radians(lat.mean()))
    # As wide as the page, whatever the extent of the patches.
    height = max(lat["max"] - lat["min"], (lon["max"] - lon["min"]) * stretch * HEIGHT_TO_WIDTH, 1) * 1.12
    width = height / HEIGHT_TO_WIDTH / stretch
    axes.set_xlim(lon.mean() - width / 2, lon.mean() + width / 2)
    axes.set_ylim(middle - height / 2, middle + height / 2)
    fixed, broken = (int(of_place[name].sum()) for name in ("fixed", "broken"))
    title = f"Patches by place: {fixed} fixed (left halves), {broken} broken (right halves)"
    axes.set_title(title, fontsize=11, loc="left")
    _settle(axes, middle)
    return figure

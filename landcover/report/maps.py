"""A map of the patches in each split."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from landcover.constants import SPLITS

# Coastlines of Europe, in degrees: Natural Earth's land at 1:50 million (public domain), thinned to 0.03 degrees.
COASTLINE = Path(__file__).with_name("coastline.csv")
COLOURS = {"train": "#1f77b4", "val": "#d95f02", "test": "#111111"}
INSET_KM = 14  # side of the detail map
DEGREE_KM = 111.2  # of latitude


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


def places(patches: pd.DataFrame, metres: float) -> Figure:
    """Draw the patches of each split on a map of Europe, with a detail map of the densest area.

    Args:
        patches: columns `split`, `lon` and `lat`, in degrees; NaN where unknown.
        metres: side of a patch.
    """
    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    europe, close = figure.subplots(1, 2)
    if patches[["lon", "lat"]].isna().any(axis=None):
        close.set_visible(False)
        europe.text(0.5, 0.5, "The dataset does not say where its patches lie.", ha="center", va="center")
        europe.set_axis_off()
        return figure

    for _, line in pd.read_csv(COASTLINE).groupby("line"):
        europe.plot(line["lon"], line["lat"], color="#9a9a9a", linewidth=0.6, zorder=0)
    for name in SPLITS:
        part = patches[patches["split"] == name]
        label = f"{name} ({len(part)})"
        europe.scatter(part["lon"], part["lat"], s=9, color=COLOURS[name], alpha=0.7, linewidths=0, label=label)
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
    for patch in near.itertuples():
        corner = (patch.lon - size / 2 / stretch, patch.lat - size / 2)
        close.add_patch(
            Rectangle(corner, size / stretch, size, facecolor=COLOURS[patch.split], alpha=0.55, edgecolor="white")
        )
    close.set_xlim(lon - height / 2 / stretch, lon + height / 2 / stretch)
    close.set_ylim(lat - height / 2, lat + height / 2)
    close.set_title(f"Densest {INSET_KM} x {INSET_KM} km; each square is a patch", fontsize=11)
    _settle(close, lat)
    return figure

"""Sheets of patches with captions, and what they share with other pictures of the ground."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from landcover.constants import BANDS, METRES_PER_PIXEL, NODATA, readable
from landcover.report.palette import class_colours

TRUE_COLOUR = ("B04", "B03", "B02")
STRETCH = (2, 98)  # percentiles of the reflectances that become black and white
BRIGHT_LAND = 0.2  # a reflectance that only snow, clouds and bare ground exceed
COLUMNS, WIDTH, CAPTION_LETTERS = 4, 7.6, 26  # inches; GitHub shows pictures of this width unscaled


def shorten(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 3]}..."


def picture_bands(channels: Sequence[str]) -> list[str]:
    """The channels of a picture: true colour if there is, else the first three bands, or the first one alone.

    Without bands, as for radar, it is the first channel.
    """
    optical = [channel for channel in channels if channel in BANDS] or list(channels[:1])
    if set(TRUE_COLOUR) <= set(optical):
        return list(TRUE_COLOUR)
    return optical[:3] if len(optical) >= 3 else optical[:1]


def describe_picture(channels: Sequence[str]) -> str:
    """What a picture shows, in words."""
    shown = picture_bands(channels)
    return "true colour" if shown == list(TRUE_COLOUR) else f"bands {', '.join(shown)}"


def to_pictures(images: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Patches (N, C, H, W) as pictures (N, H, W, 3) in [0, 1], all with the same stretch so that brightness compares.

    They show `picture_bands`, a single channel in grey.
    """
    positions = [list(channels).index(channel) for channel in picture_bands(channels)]
    positions = positions * (3 // len(positions))
    shown = images[:, positions].transpose(0, 2, 3, 1)
    valid = shown[shown != NODATA]
    if not valid.size:
        return np.zeros(shown.shape)
    low, high = np.percentile(valid, STRETCH)
    # Otherwise clouds, or some snow, would leave the land around them black.
    high = min(high, max(BRIGHT_LAND, 3 * np.median(valid)))
    return np.clip((shown - low) / max(high - low, 1e-6), 0, 1)


def draw_scale_bar(axes: Axes, most: float) -> None:
    """Draw a bar below axes in metres, of the largest round number, 1, 2 or 5 times a power of ten, up to `most`."""
    power = 10 ** np.floor(np.log10(most))
    metres = max(factor * power for factor in (1, 2, 5) if factor * power <= most)
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    bar = AnchoredSizeBar(
        axes.transData, metres, text, "upper left", pad=0, borderpad=0.4, sep=4, frameon=False, label_top=False,
        bbox_to_anchor=(0, 0), bbox_transform=axes.transAxes, fill_bar=True, fontproperties={"size": 9},
        size_vertical=most / 60,
    )  # fmt: skip
    axes.add_artist(bar)


def sheet(
    images: np.ndarray,
    channels: Sequence[str],
    classes: Sequence[str],
    captions: Sequence[Sequence[str]],
    title: str,
    subtitle: str,
    metres_per_pixel: float = METRES_PER_PIXEL,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Draw patches (N, C, H, W) in a grid, each framed in the colour of the first class in its caption.

    Args:
        captions: the classes of each patch, one per line.
        subtitle: what the lines of a caption are.
        colours: chosen for classes; others have the palette's.
    """
    colours = class_colours(classes, colours)
    rows, lines = -(-len(images) // COLUMNS), max(map(len, captions), default=0)
    side, gap, line_height, top = 1.76, 0.12, 0.19, 0.55  # inches
    row_height = side + gap + lines * line_height
    height = top + max(rows, 1) * row_height
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    for place, (picture, names) in enumerate(zip(to_pictures(images, channels), captions, strict=True)):
        row, column = divmod(place, COLUMNS)
        x, y = 0.1 + column * (side + gap), top + row * row_height
        axes.imshow(picture, extent=(x, x + side, y + side, y))
        axes.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor=colours[names[0]], linewidth=4))
        for line, name in enumerate(names):
            middle = y + side + gap / 2 + (line + 0.5) * line_height
            square = {"facecolor": colours[name], "edgecolor": "#777777", "linewidth": 0.7}
            axes.add_patch(Rectangle((x, middle - 0.055), 0.11, 0.11, **square))
            axes.text(x + 0.17, middle, shorten(readable(name), CAPTION_LETTERS), fontsize=9, va="center")
    metres = images.shape[-1] * metres_per_pixel
    width = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    axes.text(0.1, 0.17, title, fontsize=11, va="center")
    text = f"{subtitle}; {width} wide, {describe_picture(channels)}, one stretch for all"
    axes.text(0.1, 0.38, text, fontsize=9, va="center")
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="auto")  # in inches
    axes.set_axis_off()
    return figure

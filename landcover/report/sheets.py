"""Sheets of patches with captions, and what they share with other pictures of the ground."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
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
) -> Figure:
    """Draw patches (N, C, H, W) in a grid, each framed in the colour of the first class in its caption.

    Args:
        captions: the classes of each patch, one per line.
        subtitle: what the lines of a caption are.
    """
    colours = class_colours(classes)
    rows, lines = max(1, -(-len(images) // COLUMNS)), max(map(len, captions), default=0)
    metres = images.shape[-1] * METRES_PER_PIXEL
    side, gap = 1.78, 0.06 + 0.19 * lines  # inches
    height = 0.55 + rows * (side + gap)
    figure = Figure(figsize=(WIDTH, height))
    grid = figure.subplots(rows, COLUMNS, squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": gap / side})
    figure.subplots_adjust(left=0.012, right=0.988, top=1 - 0.55 / height, bottom=gap / height)
    for axes in grid.flat[len(images) :]:
        axes.set_axis_off()
    for axes, picture, names in zip(grid.flat, to_pictures(images, channels), captions, strict=False):
        axes.imshow(picture, extent=(0, metres, metres, 0))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(edgecolor=colours[names[0]], linewidth=4)
        squares = [
            Patch(
                facecolor=colours[name],
                edgecolor="#777777",
                linewidth=0.7,
                label=shorten(readable(name), CAPTION_LETTERS),
            )
            for name in names
        ]
        axes.legend(
            handles=squares, loc="upper left", bbox_to_anchor=(-0.02, -0.01), frameon=False, fontsize=9,
            borderpad=0, borderaxespad=0.3, labelspacing=0.3, handlelength=1, handleheight=1, handletextpad=0.5,
        )  # fmt: skip
    length = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres} m"
    figure.text(0.012, 1 - 0.17 / height, title, fontsize=11, va="center")
    text = f"{subtitle}; {length} wide, {describe_picture(channels)}, one stretch for all"
    figure.text(0.012, 1 - 0.38 / height, text, fontsize=9, va="center")
    return figure

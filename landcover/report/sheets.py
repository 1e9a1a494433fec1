"""Sheets of patches: a mosaic, painted pixel by pixel, with captions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from landcover.constants import BANDS, METRES_PER_PIXEL, NODATA, readable
from landcover.report.palette import class_colours
from landcover.report.plots import DPI

TRUE_COLOUR = ("B04", "B03", "B02")
STRETCH = (2, 98)  # percentiles of the reflectances that become black and white
BRIGHT_LAND = 0.2  # a reflectance that only snow, clouds and bare ground exceed
# In pixels. A page on GitHub shows a picture of this width unscaled.
COLUMNS, SIDE, FRAME, GAP, MARGIN = 4, 170, 4, 10, 9
HEADER, LINE, FOOTER, SQUARE = 54, 19, 34, 11
LETTERS = 25  # that fit below a patch


def drawn(bands: Sequence[str]) -> list[str]:
    """The channels of a picture: true colour if there is, else the first three bands, or the first one alone.

    Without bands, as for radar, it is the first channel.
    """
    optical = [band for band in bands if band in BANDS] or list(bands[:1])
    if set(TRUE_COLOUR) <= set(optical):
        return list(TRUE_COLOUR)
    return optical[:3] if len(optical) >= 3 else optical[:1]


def tell_drawn(bands: Sequence[str]) -> str:
    """What a picture shows, in words."""
    shown = drawn(bands)
    return "true colour" if shown == list(TRUE_COLOUR) else f"bands {', '.join(shown)}"


def to_pictures(images: np.ndarray, bands: Sequence[str]) -> np.ndarray:
    """Patches (N, C, H, W) as pictures (N, H, W, 3) in [0, 1], all with the same stretch so that brightness compares.

    They show what `drawn` says, a single channel in grey.
    """
    channels = [list(bands).index(band) for band in drawn(bands)]
    channels = channels * (3 // len(channels))
    shown = images[:, channels].transpose(0, 2, 3, 1)
    valid = shown[shown != NODATA]
    if not valid.size:
        return np.zeros(shown.shape)
    low, high = np.percentile(valid, STRETCH)
    # Otherwise clouds, or some snow, would leave the land around them black.
    high = min(high, max(BRIGHT_LAND, 3 * np.median(valid)))
    return np.clip((shown - low) / max(high - low, 1e-6), 0, 1)


def _rgb(colour: str) -> np.ndarray:
    return np.round(255 * np.array(to_rgb(colour))).astype(np.uint8)


def sheet(
    images: np.ndarray,
    bands: Sequence[str],
    classes: Sequence[str],
    captions: Sequence[Sequence[str]],
    title: str,
    told: str,
) -> Figure:
    """Draw patches (N, C, H, W) in a grid, each framed in the colour of the first class in its caption.

    Args:
        captions: the classes of each patch, one per line.
        told: what the lines of a caption are.
    """
    colours = {name: _rgb(colour) for name, colour in class_colours(classes).items()}
    cell, lines = SIDE + 2 * FRAME, max(map(len, captions), default=0)
    step = cell + lines * LINE + GAP
    width = COLUMNS * (cell + GAP) - GAP + 2 * MARGIN
    height = HEADER + -(-len(images) // COLUMNS) * step + FOOTER
    figure = Figure(figsize=(width / DPI, height / DPI))

    def write(x: float, y: float, text: str, size: float) -> None:
        figure.text(x / width, 1 - y / height, text, fontsize=size, va="center")

    canvas = np.full((height, width, 3), 255, np.uint8)
    pixels = np.arange(SIDE) * images.shape[-1] // SIDE  # the nearest
    pictures = to_pictures(images[..., pixels[:, None], pixels], bands)
    for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(place, COLUMNS)
        x, y = MARGIN + column * (cell + GAP), HEADER + row * step
        canvas[y : y + cell, x : x + cell] = colours[caption[0]]
        canvas[y + FRAME : y + cell - FRAME, x + FRAME : x + cell - FRAME] = np.round(255 * picture)
        for line, name in enumerate(caption):
            middle = y + cell + line * LINE + LINE // 2 + 2
            square = canvas[middle - SQUARE // 2 :, x:][:SQUARE, :SQUARE]
            square[:] = 119
            square[1:-1, 1:-1] = colours[name]
            text = readable(name)
            write(x + SQUARE + 5, middle, text if len(text) <= LETTERS else f"{text[: LETTERS - 3]}...", 9)

    write(MARGIN, 16, title, 11)
    write(MARGIN, 38, told, 9)
    metres = images.shape[-1] * METRES_PER_PIXEL
    canvas[height - 20 : height - 16, MARGIN + FRAME :][:, :SIDE] = 0
    length = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres} m"
    write(MARGIN + cell + GAP, height - 18, f"{length}; {tell_drawn(bands)}, same stretch for all", 9)
    figure.figimage(canvas)
    return figure

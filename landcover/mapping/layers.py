"""The bands of a scene: their names, their files, and what their source says about their numbers."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

from landcover.constants import BANDS

# `B02`, `B2` or `b8a` by itself, or in `T33UUP_20230613T101031_B02_10m` and `B2, central wavelength 490 nm`.
CODE = re.compile(r"(?<![a-z0-9])b(\d{1,2}|8a)(?![a-z0-9])", re.IGNORECASE)
# STAC's common names, and other usual names of the bands; compared without spaces, hyphens, underscores and case.
WORDS = {
    "coastal": "B01", "coastalaerosol": "B01", "blue": "B02", "green": "B03", "red": "B04",
    "rededge1": "B05", "rededge071": "B05", "rededge2": "B06", "rededge075": "B06", "rededge3": "B07",
    "rededge078": "B07", "nir": "B08", "nearinfrared": "B08", "nir08": "B8A", "narrownir": "B8A", "rededge4": "B8A",
    "nir09": "B09", "watervapour": "B09", "swir1": "B11", "swir16": "B11", "swir2": "B12", "swir22": "B12",
}  # fmt: skip
REMOTE = "/vsicurl/"  # before a URL, for GDAL
METRES = re.compile(r"_(10|20|60)m(?![a-z0-9])", re.IGNORECASE)  # in a file's name
LEVEL = re.compile(r"MSIL?([12][AC])|(?<![a-z0-9])L(?:evel.?)?([12][AC])(?![a-z0-9])", re.IGNORECASE)

NEEDED = "the networks need Sentinel-2"
# Products of other satellites, by the names of their files or of their bands.
OTHERS = {
    "Landsat": r"SR_B\d|ST_B\d|(?<![a-z0-9])L[COTEM]0?\d{1,2}_|landsat|HLS[._]?L30|[._]L30[._]",
    "MODIS": r"sur_refl|(?<![a-z])M[OYC]D(09|43)|Nadir_Reflectance",
    "PlanetScope": r"AnalyticMS|PSScene|SuperDove|planetscope",
    "Sentinel-3": r"(?<![a-z0-9])S3[AB]_|(?<![a-z0-9])Oa\d\d",
}


@dataclass(frozen=True)
class Layer:
    """A band in a file, and what its source says about its numbers; None where it says nothing.

    reflectance = (number - offset) / quantification, or number * scale[0] + scale[1].
    """

    path: str  # as GDAL opens it
    index: int = 1  # position of the band in the file, from 1
    offset: float | None = None
    quantification: float | None = None
    scale: tuple[float, float | None] | None = None


@dataclass(frozen=True)
class Source:
    """The parts of a scene, before its rasters are opened."""

    kind: str
    name: str
    layers: dict[str, Layer]  # by band
    level: str | None = None  # 2A, 1C
    baseline: str = ""  # of the processing, 05.09; '' if the source does not say
    date: str | None = None  # YYYY-MM-DD
    classification: Layer | None = None  # of its pixels (SCL), which names clouds


def band_of(text: str) -> str | None:
    """The band, a name in BANDS, in a description, a file's name or a common name; None if it names none or several."""
    codes = {code.upper().zfill(2) for code in CODE.findall(text)}
    if not codes:
        return WORDS.get(re.sub(r"[\s_-]", "", text).casefold())
    band = f"B{codes.pop()}"
    return band if band in BANDS and not codes else None


def level_of(text: str) -> str | None:
    """The processing level, 2A or 1C, in a product's or a file's name; None if there is none."""
    level = LEVEL.search(text)
    return (level[1] or level[2]).upper() if level else None


def other_satellite(text: str) -> str | None:
    """The satellite, if it is not Sentinel-2, in names of a product, its files or its bands."""
    return next((name for name, pattern in OTHERS.items() if re.search(pattern, text, re.IGNORECASE)), None)


def are_numbers(names: Sequence[str | None]) -> bool:
    """Whether names such as b0, b1, ... or B1, B2, ... of all bands of a file count them, and do not name them."""
    numbers = [re.fullmatch(r"b(?:and)?[\s_]?(\d{1,2})", name or "", re.IGNORECASE) for name in names]
    if len(names) < 2 or not all(numbers):
        return False
    first = int(numbers[0][1])
    return first <= 1 and [int(number[1]) for number in numbers] == [*range(first, first + len(names))]


def positions(text: str) -> list[int]:
    """Positions of bands in a file, from 1: 'b1,b2,b3,b7', or '1,2,3,7'."""
    if not re.fullmatch(r"b?[1-9]\d*(,b?[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: give the positions of the model's bands, as b1,b2,b3,b7")
    return [int(position.removeprefix("b")) for position in text.split(",")]

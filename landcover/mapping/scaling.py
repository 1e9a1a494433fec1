"""What a scene's numbers mean: offset and quantification, where they come from, and whether the pixels agree."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landcover.constants import MAX_OFFSET, NODATA, REFLECTANCE_SCALE
from landcover.data import offsets
from landcover.errors import InputError
from landcover.mapping.layers import NEEDED, Layer

# Where offset and quantification come from, besides a STAC item and the tags of files.
ARGUMENT, METADATA, PIXELS, UNSTATED = "argument", "metadata", "pixels", "nothing"
BLUE, NEAR_INFRARED = offsets.BLUE, "B08"  # the bands whose pixels are checked
# The 99th percentile of land in the near infrared is above LAND_DARK if the numbers are reflectance x 10,000: in the
# darkest of ben-ge's real patches, bare fields in December, it is 1,510. For reflectance x 1,000, it is about 700.
# Unlike water, land is brighter in the near infrared than in blue, except for noise below LAND_LEAST.
LAND_RATIO, LAND_LEAST, LAND_SHARE, LAND_DARK = 1.5, 150, 0.05, 1000
LAND_BRIGHT = 7500  # above that percentile; in the brightest of these patches, 7,240, but for one beside a cloud
TOO_BRIGHT = 12_000  # above the median of any scene, snow included
ABOVE_ALL = 20_000  # above the brightest clouds and snow
TOO_DARK = 100  # below land, even in shadow
MAX_QUANTIFICATION = 1 << 24  # to which float32 is exact
BROWSERS = 65_535  # for a reflectance of 1, in the GeoTIFFs of 16 bits from the browsers of Copernicus
LANDSAT_SCALE, LANDSAT_DARK = 2.75e-5, (6500, 9500)  # of its Collection 2, where 7,273 is a reflectance of 0
PICTURE = 255  # the largest number of 8 bits
NOISE = 100  # by which a valid number may be below the offset
ADDED, LEAST_OFFSET = offsets.ADDED / REFLECTANCE_SCALE, 0.001  # as reflectances: the usual offset, and none's
LEAST_REFLECTANCE = -0.1  # what ESA's products can store; that of their nodata once the offset has been subtracted
REFLECTANCES = 2.0  # floating-point numbers below it are taken as reflectances


@dataclass(frozen=True)
class Scaling:
    """reflectance = (number - offset) / quantification, and the source of each."""

    offset: float
    offset_by: str
    quantification: float
    quantification_by: str


def check_given(offset: float | None, quantification: float | None) -> None:
    """Check the options of these names.

    Raises:
        InputError: they cannot be those of reflectances.
    """
    if offset is not None and not 0 <= offset <= MAX_OFFSET:
        example = f"{-offset:g}, without the sign" if -MAX_OFFSET <= offset < 0 else f"from 0 to {MAX_OFFSET}"
        raise InputError(f"--offset {offset:g}: give what was added to the numbers, {example}")
    if quantification is not None and not 0 < quantification <= MAX_QUANTIFICATION:
        raise InputError(
            f"--quantification {quantification:g}: give the number for a reflectance of 1, such as {REFLECTANCE_SCALE}"
        )


def check_unit(scaling: Scaling) -> None:
    """Check an offset from the command line against what the numbers are.

    Raises:
        InputError: it is in reflectance where they are not, or the reverse.
    """
    reflectance = scaling.offset / scaling.quantification
    if scaling.offset_by == ARGUMENT and scaling.offset and not LEAST_OFFSET <= reflectance <= 1:
        raise InputError(
            f"--offset {scaling.offset:g} cannot have been added to numbers of which {scaling.quantification:g} is a "
            f"reflectance of 1; give it in their unit, such as {ADDED * scaling.quantification:g}"
        )


def from_scale(scale: float, offset: float | None) -> tuple[float | None, float]:
    """Offset and quantification from GDAL's or STAC's scale and offset: reflectance = number * scale + offset.

    Args:
        offset: None if only the scale is known.

    Raises:
        InputError: they cannot be those of reflectances.
    """
    if math.isclose(scale, LANDSAT_SCALE):
        raise InputError(f"its scale, {scale:g}, is that of Landsat; {NEEDED}")
    added = -(offset or 0) / scale if scale else math.nan
    if not 0 < scale < 1 or not 0 <= round(added, 3) <= MAX_OFFSET:
        raise InputError(
            f"scale {scale:g} and offset {offset or 0:g} do not give reflectances; give both --offset and "
            "--quantification"
        )
    return None if offset is None else abs(round(added, 3)), round(1 / scale, 3)


def choose(
    layer: Layer,
    tags: tuple[float, float],
    product: int,
    offset: float | None,
    quantification: float | None,
    sample: np.ndarray,
) -> Scaling:
    """A layer's offset and quantification, each from the first source that has it.

    Without any, they are reflectance x 10,000 without offset, unless the numbers are plain reflectances.

    Args:
        tags: the file's own scale and offset, (1, 0) if it has none.
        product: the offset of the product's baseline, as from `offsets.by_product`.
        offset, quantification: as given on the command line.
        sample: valid numbers of the scene.

    Raises:
        InputError: the scale and the offset in use cannot be those of reflectances, or the numbers are a picture's.
    """
    sources = [(ARGUMENT, offset, quantification), (METADATA, layer.offset, layer.quantification)]
    for by, scale in (("STAC item", layer.scale), ("tags", None if tags == (1, 0) else tags)):
        if scale is not None and not all(any(row[column] is not None for row in sources) for column in (1, 2)):
            sources.append((by, *from_scale(*scale)))
    sources.append(("processing baseline", None if product == offsets.UNKNOWN else product, None))
    offset, offset_by = next(((row[1], row[0]) for row in sources if row[1] is not None), (0, UNSTATED))
    for by, _, value in sources:
        if value is not None:
            return Scaling(offset, offset_by, value, by)
    remedy = (
        f"give reflectance x {REFLECTANCE_SCALE:,} in uint16, or the number for a reflectance of 1 by --quantification"
    )
    if sample.dtype == np.uint8:
        raise InputError(f"it is uint8, like a picture; {remedy}")
    if sample.dtype == np.uint16 and sample.size and np.gcd.reduce(sample) % (PICTURE + 2) == 0:
        raise InputError(
            f"all its numbers are multiples of {PICTURE + 2}, like a picture of 8 bits in uint16; {remedy}"
        )
    if sample.dtype.kind == "f" and sample.size and np.percentile(sample, 99) < REFLECTANCES:
        if offset_by != ARGUMENT:  # any other source refers to digital numbers
            offset, offset_by = 0, PIXELS
        return Scaling(offset, offset_by, 1, PIXELS)
    return Scaling(offset, offset_by, REFLECTANCE_SCALE, UNSTATED)


def rescale(numbers: np.ndarray, empty: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Numbers like those of a dataset's tile without offset: uint16, reflectance x 10,000, NODATA where empty."""
    offset, quantification = scaling.offset, scaling.quantification
    if numbers.dtype == np.uint16 and quantification == REFLECTANCE_SCALE and offset == int(offset):
        return offsets.subtract(np.where(empty, np.uint16(NODATA), numbers) if empty.any() else numbers, int(offset))
    rescaled = np.where(empty, 0, numbers).astype(np.float64)
    rescaled -= offset
    rescaled *= REFLECTANCE_SCALE / quantification
    # No valid number becomes NODATA.
    rescaled = np.clip(np.rint(rescaled, out=rescaled), 1, np.iinfo(np.uint16).max, out=rescaled).astype(np.uint16)
    rescaled[empty] = NODATA
    return rescaled


def least(scaling: Scaling) -> float:
    """The highest number that cannot be valid: a reflectance of LEAST_REFLECTANCE."""
    return scaling.offset + (LEAST_REFLECTANCE + 1e-6) * scaling.quantification


def levels(numbers: np.ndarray, empty: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Reflectance x 10,000 without offset as it is, negative numbers too: float64, NaN where empty."""
    level = (numbers.astype(np.float64) - scaling.offset) * (REFLECTANCE_SCALE / scaling.quantification)
    return np.where(empty, np.nan, level)


def check_plausible(
    scalings: dict[str, Scaling],
    samples: dict[str, np.ndarray],
    level: str | None,
    darkest: Callable[[], float],
) -> list[str]:
    """Compare the pixels with their scaling; warnings, each with a remedy where there is one.

    Args:
        scalings: by band.
        samples: of BLUE and NEAR_INFRARED, where the scene has them, as from `levels`; pixels from all over the scene.
        level: of the processing, if it is known; any level is welcome if it is not 2A.
        darkest: the lowest level of all bands.

    Raises:
        InputError: the pixels certainly have another scaling, or another level.
    """
    blue = samples.get(BLUE)
    if blue is None or np.isnan(blue).all():
        return []
    warnings = []
    by = scalings[BLUE].quantification_by
    found = None
    if NEAR_INFRARED in samples and by != METADATA:
        found = _implausible(blue, samples[NEAR_INFRARED], darkest)
    if found:
        why, remedy = found
        if by == UNSTATED and remedy:
            raise InputError(f"{why}: {remedy}, or --quantification {REFLECTANCE_SCALE} if the numbers are right")
        warnings.append(f"{why}; do not trust the map")
    elif found := _offset_suspicion(blue[~np.isnan(blue)], scalings[BLUE], level, darkest):
        why, certain = found
        if certain and scalings[BLUE].offset_by != ARGUMENT:
            raise InputError(why)
        warnings.append(why)
    return warnings


def _offset_suspicion(
    blue: np.ndarray, scaling: Scaling, level: str | None, darkest: Callable[[], float]
) -> tuple[str, bool] | None:
    """What is wrong with the offset, and whether that is certain. Advice is given only if it makes things right."""
    unit = scaling.quantification / REFLECTANCE_SCALE
    first = float(np.percentile(blue, 1))
    given = scaling.offset_by == ARGUMENT
    unless = "" if given else f", or --offset {scaling.offset:g} if the numbers are right"
    if first > offsets.SUSPICIOUS:
        why = f"99% of the blue pixels are above {first * unit + scaling.offset:.4g}"
        certain = first > offsets.BEYOND_DOUBT
        missing = offsets.ADDED - scaling.offset / unit
        if missing > NOISE and darkest() >= missing - NOISE:
            added = f"{offsets.ADDED * unit:g}"
            return f"{why}, which suggests numbers with an offset of {added}: give --offset {added}{unless}", certain
        if level is None:
            remedy = f"give a Level-2A scene, or force it by --level any{unless}"
            return (
                f"{why}, which suggests reflectance at the top of the atmosphere, Level 1C, or haze: {remedy}",
                certain,
            )
    lost = float((blue <= 1).mean())
    if scaling.offset and lost > offsets.SUSPICIOUS_SHARE:
        why = f"{lost:.0%} of the blue pixels are at or below the offset, which suggests numbers"
        certain = lost > offsets.BEYOND_DOUBT_SHARE
        if first + scaling.offset / unit <= offsets.SUSPICIOUS:
            return f"{why} without one: give --offset 0{unless}", certain
        return f"{why} with a smaller one: give by --offset what was added to them{unless}", certain
    return None


def _implausible(
    blue: np.ndarray, near_infrared: np.ndarray, darkest: Callable[[], float]
) -> tuple[str, str | None] | None:
    """Why the levels are not reflectance x 10,000, and the remedy; None if it may be true, of a lake or clouds."""
    valid = ~np.isnan(near_infrared) & ~np.isnan(blue)
    bright, blue = near_infrared[valid], blue[valid]
    if not bright.size:
        return None
    other = f"which suggests other numbers than reflectance x {REFLECTANCE_SCALE:,}"
    unknown = "give reflectances, or the number for a reflectance of 1 by --quantification"
    median, high = np.percentile(bright, (50, 99))
    land = bright[(bright > LAND_RATIO * blue) & (bright > LAND_LEAST)]
    brightest = float(np.percentile(land, 99)) if land.size >= LAND_SHARE * bright.size else None
    if median > TOO_BRIGHT or high > ABOVE_ALL:
        why = f"the near infrared reaches {high:.5g}, {other}"
        if LANDSAT_DARK[0] < darkest() < LANDSAT_DARK[1]:
            return f"{why}, as of Landsat", f"{NEEDED}; give a scene of it"
        if max(high, (brightest or 0) / LAND_BRIGHT * REFLECTANCE_SCALE) <= BROWSERS:
            return why, f"give --quantification {BROWSERS} for an image of a Copernicus browser"
        return why, unknown
    if PICTURE - 5 <= max(bright.max(), blue.max()) <= PICTURE:
        return f"no number is above {PICTURE}, as in a picture, {other}", unknown
    if high <= TOO_DARK and (bright > blue).mean() > 0.5:  # not so on water
        return f"99% of the near infrared is below {high:.4g}, darker than land, {other}: {unknown}", None
    if brightest is None or LAND_DARK < brightest <= LAND_BRIGHT:
        return None
    if brightest > LAND_BRIGHT:
        return f"the land reaches {brightest:.4g} in the near infrared, brighter than plants and soil, {other}", None
    why = f"99% of the land is below {brightest:.4g} in the near infrared, {other}"
    return why, unknown if brightest <= PICTURE else "give --quantification 1000"

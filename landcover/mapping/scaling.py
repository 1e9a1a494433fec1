"""What a scene's numbers mean: offset and quantification, where they come from, and whether the pixels agree."""

import math
from dataclasses import dataclass

import numpy as np

from landcover.constants import MAX_OFFSET, NODATA, REFLECTANCE_SCALE
from landcover.data import offsets
from landcover.errors import InputError
from landcover.mapping.layers import Layer

ARGUMENT, PIXELS, UNSTATED = "argument", "pixels", "nothing"  # sources, besides the scene's own metadata
BLUE, NEAR_INFRARED = offsets.BLUE, "B08"  # the bands whose pixels are checked
# The 99th percentile of land in the near infrared is above LAND_DARK if the numbers are reflectance x 10,000: in the
# darkest of ben-ge's real patches, bare fields in December, it is 1,510. For reflectance x 1,000, it is about 700.
# Unlike water, land is brighter in the near infrared than in blue, except for noise below LAND_LEAST.
LAND_RATIO, LAND_LEAST, LAND_SHARE, LAND_DARK = 1.5, 150, 0.05, 1000
TOO_BRIGHT = 12_000  # above the median of any scene, snow included
REFLECTANCES = 2.0  # floating-point numbers below it are taken as reflectances


@dataclass(frozen=True)
class Scaling:
    """reflectance = (number - offset) / quantification, and the source of each."""

    offset: float
    offset_by: str
    quantification: float
    quantification_by: str


def from_scale(scale: float, offset: float | None) -> tuple[float | None, float]:
    """Offset and quantification from GDAL's or STAC's scale and offset: reflectance = number * scale + offset.

    Args:
        offset: None if only the scale is known.

    Raises:
        InputError: they cannot be those of reflectances.
    """
    added = -(offset or 0) / scale if scale else math.nan
    if not 0 < scale < 1 or not 0 <= round(added, 3) <= MAX_OFFSET:
        raise InputError(
            f"scale {scale:g} and offset {offset or 0:g} do not give reflectances; give --offset and --quantification"
        )
    return None if offset is None else abs(round(added, 3)), round(1 / scale, 3)


def choose(
    layer: Layer,
    tags: tuple[float, float],
    product: int,
    offset: int | None,
    quantification: int | None,
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
    sources = [(ARGUMENT, offset, quantification), ("metadata", layer.offset, layer.quantification)]
    for by, scale in (("STAC item", layer.scale), ("tags", None if tags == (1, 0) else tags)):
        if scale is not None and not all(any(row[column] is not None for row in sources) for column in (1, 2)):
            sources.append((by, *from_scale(*scale)))
    sources.append(("processing baseline", None if product == offsets.UNKNOWN else product, None))
    offset, offset_by = next(((row[1], row[0]) for row in sources if row[1] is not None), (0, UNSTATED))
    for by, _, value in sources:
        if value is not None:
            return Scaling(offset, offset_by, value, by)
    if sample.dtype == np.uint8:
        raise InputError(
            f"it is uint8, like a picture; give reflectance x {REFLECTANCE_SCALE:,} in uint16, or the number for a "
            "reflectance of 1 by --quantification"
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


def check_plausible(scalings: dict[str, Scaling], samples: dict[str, np.ndarray]) -> list[str]:
    """Compare the pixels with their scaling; warnings, each with a remedy.

    Args:
        scalings: by band.
        samples: of BLUE and NEAR_INFRARED, where the scene has them, as from `rescale`; pixels from all over the scene.

    Raises:
        InputError: the pixels certainly have another scaling.
    """
    blue, scaling = samples.get(BLUE), scalings.get(BLUE)
    if blue is None or not blue.any():
        return []
    warnings = []
    if scaling.quantification == REFLECTANCE_SCALE:
        histogram = np.bincount(blue.ravel(), minlength=1 << 16)
        histogram[NODATA] = 0
        # A scene may be all snow, but here the user can say so.
        suspicion = offsets.suspect(histogram, offsets.ENOUGH, scaling.offset > 0, "--offset")
        if suspicion and suspicion.likely != scaling.offset:
            given = scaling.offset_by == ARGUMENT
            unless = "" if given else f", or --offset {scaling.offset:g} if the numbers are right"
            why = f"{suspicion.why}: give --offset {suspicion.likely}{unless}"
            if suspicion.certain and not given:
                raise InputError(why)
            warnings.append(why)
    unknown = NEAR_INFRARED in samples and scalings[NEAR_INFRARED].quantification_by == UNSTATED
    if unknown and (why := _implausible(blue, samples[NEAR_INFRARED])):
        raise InputError(why)
    return warnings


def _implausible(blue: np.ndarray, near_infrared: np.ndarray) -> str | None:
    valid = (near_infrared != NODATA) & (blue != NODATA)
    bright, blue = near_infrared[valid], blue[valid]
    if not bright.size:
        return None
    if (largest := float(np.median(bright))) > TOO_BRIGHT:
        why = f"half of the near infrared is above {largest:g}"
    else:
        land = bright[(bright > LAND_RATIO * blue) & (bright > LAND_LEAST)]
        if land.size < LAND_SHARE * bright.size or (largest := float(np.percentile(land, 99))) > LAND_DARK:
            return None
        why = f"99% of the land is below {largest:g} in the near infrared"
    likely = 10 ** math.ceil(math.log10(largest))
    remedy = f"give --quantification {likely}, or --quantification {REFLECTANCE_SCALE} if the numbers are right"
    return f"{why}, which suggests other numbers than reflectance x {REFLECTANCE_SCALE:,}: {remedy}"

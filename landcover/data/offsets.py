"""The offset of digital numbers: its sources, and whether the pixels agree.

Level-2A products of processing baseline 04.00 and later have 1000 added to every valid number. The baseline decides,
not the date of a scene, since old scenes are reprocessed.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from landcover.constants import BASELINE, NODATA, REFLECTANCE_SCALE

ADDED, SINCE = 1000, 400  # by baseline 04.00
NOT_A_BASELINE = 9999  # in BigEarthNet v2's ids: processed with the users' own sen2cor, which adds nothing
UNKNOWN = -1
# In real patches, 36 from BigEarthNet and 93 others, the first percentile of blue is 1 and 360, since sets of patches
# contain water and shadows. With 1000 added, it is above 1000, except for a few pixels that were below 0.
BLUE = "B02"
SUSPICIOUS, BEYOND_DOUBT = 500, 1000
# Conversely, at most one pixel in a hundred is left without reflectance.
SUSPICIOUS_SHARE, BEYOND_DOUBT_SHARE = 0.05, 0.5
SUSPICIOUS_LARGEST = 0.01  # of the pixels: Level 1C has 65535 where the sensor was saturated, which is rarer
ENOUGH = 20  # patches; fewer may all be snow


def by_product(patch_ids: pd.Series, baselines: pd.Series) -> pd.Series:
    """The offset of each patch, int64, by its product's processing baseline; UNKNOWN if there is none.

    Args:
        patch_ids: may contain the baseline as in BigEarthNet v2, `..._N0509_...`.
        baselines: text as in the products' metadata, `05.09`; '' to use the id.
    """
    stated = baselines.str.extract(r"^N?0?(\d\.?\d\d)$", expand=False).str.replace(".", "")
    numbers = pd.to_numeric(stated.fillna(patch_ids.str.extract(BASELINE, expand=False)))
    known = numbers.notna() & (numbers != NOT_A_BASELINE)
    return pd.Series(np.where(known, np.where(numbers >= SINCE, ADDED, 0), UNKNOWN), patch_ids.index, np.int64)


def choose(setting: int | Literal["auto"], own: int | None, product: int) -> int:
    """The offset to subtract from a patch: for `auto`, from its tiles' tags, else from its product, else 0.

    Args:
        setting: the parameter.
        own: from the tiles' tags, None if they have none.
        product: as returned by `by_product`.

    Raises:
        ValueError: the parameter contradicts the tags.
    """
    if setting == "auto":
        return own if own is not None else max(product, 0)
    if own not in (None, setting):
        raise ValueError(
            f"its tags give an offset of {own}, the parameter offset is {setting}; set it to auto, or remove the tags"
        )
    return setting


def subtract(numbers: np.ndarray, offset: int) -> np.ndarray:
    """Digital numbers, uint16, minus the offset of their product.

    NODATA is kept, and no valid number becomes NODATA: numbers at or below the offset become 1, the darkest value, as
    in ESA's products without an offset.
    """
    if not offset:
        return numbers
    return np.where(numbers == NODATA, numbers, np.maximum(numbers, offset + 1) - np.uint16(offset))


class Suspicion(NamedTuple):
    """A sign that numbers were not understood as they were meant."""

    why: str
    remedy: str
    certain: bool
    likely: int = 0  # the offset that the pixels suggest


def suspect(
    blue: np.ndarray, patches: int, subtracted: bool, parameter: str, *, chosen: bool = False
) -> Suspicion | None:
    """Evidence in the pixels against the offsets that were subtracted, if any.

    Args:
        blue: histogram of the numbers with the offset subtracted, int64 (65536,), without 0 (nodata).
        patches: the number of patches.
        subtracted: whether an offset was subtracted from any patch.
        parameter: the name of the parameter that sets the offset.
        chosen: whether the user has set it.
    """
    shares = np.cumsum(blue) / max(blue.sum(), 1)
    darkest, none_left = int(np.searchsorted(shares, 0.01)), float(shares[1])
    if darkest > SUSPICIOUS:
        added = f"the number that was added ({ADDED} by baseline 04.00)"
        remedy = f"set {parameter} to {added}, or to 0 if they are correct"
        if chosen:
            remedy = f"check that {parameter} is {added}"
        return Suspicion(
            f"99% of the blue pixels are above {darkest - 1}, which suggests numbers with an offset of {ADDED}",
            remedy,
            darkest > BEYOND_DOUBT and patches >= ENOUGH,
            ADDED,
        )
    if subtracted and none_left > SUSPICIOUS_SHARE:
        return Suspicion(
            f"{none_left:.0%} of the blue pixels are at or below the offset, which suggests numbers without one",
            f"set {parameter} to 0 if nothing was added, and remove any tags that give an offset",
            none_left > BEYOND_DOUBT_SHARE and patches >= ENOUGH,
            0,
        )
    return None


def suspect_largest(histogram: np.ndarray, parameter: str) -> Suspicion | None:
    """Evidence in the pixels of uint16 files that the largest number is nodata.

    Args:
        histogram: of the optical bands, int64 (B, 65536), without 0 (nodata).
        parameter: the name of the dataset's entry.
    """
    share = histogram[:, -1].sum() / max(histogram.sum(), 1)
    if share <= SUSPICIOUS_LARGEST:
        return None
    why = f"{share:.0%} of the pixels of {parameter} are 65535, which often marks nodata"
    return Suspicion(why, "if it does, write it into the nodata tag of the files", certain=False)


def suspect_scale(histogram: np.ndarray, parameter: str, *, chosen: bool = False) -> Suspicion | None:
    """Evidence in the pixels that their scale is another one.

    Args:
        histogram: of the optical bands, int64 (B, 65536), without 0 (nodata).
        parameter: the name of the parameter that sets the scale.
        chosen: whether the user has set it.
    """
    levels = histogram.sum(axis=0)
    total = max(levels.sum(), 1)
    for share, what in (
        (levels[REFLECTANCE_SCALE + 1 :].sum() / total, "exceed a reflectance of 1"),
        (levels[1] / total, "have a reflectance of 0"),
    ):
        if share > BEYOND_DOUBT_SHARE:
            why = f"{share:.0%} of the pixels {what}, which suggests another scale"
            step = "the reflectance of one step of the numbers: 0.0001 for reflectance x 10,000"
            remedy = f"check {parameter}, {step}" if chosen else f"set {parameter} to {step}"
            return Suspicion(why, remedy, certain=True)
    return None

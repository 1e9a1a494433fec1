"""The offset of digital numbers: what is known of it, and whether the pixels agree.

Level-2A products of processing baseline 04.00 and later have 1000 added to every valid number. The date of a scene does
not tell, since old scenes are processed anew; the baseline does.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from landcover.ground.benge import BASELINE

ADDED, SINCE = 1000, 400  # by baseline 04.00
NOT_A_BASELINE = 9999  # in BigEarthNet v2's ids: processed by the users' own sen2cor, with which nothing is added
UNKNOWN = -1
# In real patches, 36 of BigEarthNet and 93 others, the darkest 1 % of blue ends at 1 and at 360, since any set of some
# patches has water and shadows. With 1000 added, it ends above 1000, but for a few pixels that were below 0.
BLUE = "B02"
SUSPICIOUS, BEYOND_DOUBT = 500, 1000
# The other way round, at most a pixel in a hundred has no reflectance left.
SUSPICIOUS_SHARE, BEYOND_DOUBT_SHARE = 0.05, 0.5
ENOUGH = 20  # patches; fewer may all be snow


def by_product(patch_ids: pd.Series, baselines: pd.Series) -> pd.Series:
    """The offset of each patch, int64, by its product's processing baseline; UNKNOWN where nothing tells.

    Args:
        patch_ids: tell it as BigEarthNet v2's do, `..._N0509_...`.
        baselines: text as the products' metadata has it, `05.09`; '' where the id is to tell.
    """
    told = baselines.str.extract(r"^N?0?(\d\.?\d\d)$", expand=False).str.replace(".", "")
    numbers = pd.to_numeric(told.fillna(patch_ids.str.extract(BASELINE, expand=False)))
    known = numbers.notna() & (numbers != NOT_A_BASELINE)
    return pd.Series(np.where(known, np.where(numbers >= SINCE, ADDED, 0), UNKNOWN), patch_ids.index, np.int64)


def choose(setting: int | Literal["auto"], own: int | None, product: int) -> int:
    """What to subtract from a patch: of `auto`, what its tiles' tags tell, else its product, else nothing.

    Args:
        setting: the parameter.
        own: as `Patch.offset`.
        product: as `by_product`.

    Raises:
        ValueError: the parameter contradicts the tags.
    """
    if setting == "auto":
        return own if own is not None else max(product, 0)
    if own not in (None, setting):
        raise ValueError(
            f"its tags tell an offset of {own}, the parameter offset is {setting}; set it to auto, or remove the tags"
        )
    return setting


class Suspicion(NamedTuple):
    """That not the right offset was subtracted."""

    why: str
    remedy: str
    certain: bool
    likely: int  # the offset that the pixels suggest


def suspect(blue: np.ndarray, patches: int, subtracted: bool, parameter: str) -> Suspicion | None:
    """What the pixels say against the offsets that were subtracted from them, if anything.

    Args:
        blue: how often each number occurs, less its offset, int64 (65536,), 0 (nodata) not counted.
        patches: how many they are of.
        subtracted: whether an offset was subtracted from some.
        parameter: what sets the offset.
    """
    shares = np.cumsum(blue) / max(blue.sum(), 1)
    darkest, none_left = int(np.searchsorted(shares, 0.01)), float(shares[1])
    if darkest > SUSPICIOUS:
        return Suspicion(
            f"99 % of the blue pixels are above {darkest - 1}, which suggests numbers with an offset of {ADDED}",
            f"set {parameter} to the number that was added ({ADDED} by baseline 04.00), or to 0 if they are right",
            darkest > BEYOND_DOUBT and patches >= ENOUGH,
            ADDED,
        )
    if subtracted and none_left > SUSPICIOUS_SHARE:
        return Suspicion(
            f"{none_left:.0%} of the blue pixels are not above their offset, as if they had none",
            f"set {parameter} to 0 if nothing was added to them, and remove tags that say so",
            none_left > BEYOND_DOUBT_SHARE and patches >= ENOUGH,
            0,
        )
    return None

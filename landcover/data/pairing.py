"""Whether the radar images and the elevation of patches belong to the same ground as their Sentinel-2 images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from landcover.data.conversion import Summary

# Of many patches of other ground, one set in 40 has a correlation above 2 / sqrt(patches). Of a few patches of the same
# ground, some sets have no more than 0.2.
ENOUGH, LEAST = 20, 0.1


@dataclass(frozen=True)
class DaysApart:
    """Between the two images of a patch, in either direction."""

    median: float
    largest: float


@dataclass(frozen=True)
class Radar:
    """How the radar images fit the Sentinel-2 images."""

    days_apart: DaysApart | None  # None if unknown
    # Spearman's rank correlation over patches of the means of VH and of the near infrared; None if unknown.
    vh_nir_correlation: float | None
    vh_nir_patches: int  # their number


def compare_with_radar(used: pd.DataFrame, summary: Summary) -> Radar:
    """How the radar images fit the Sentinel-2 images.

    Args:
        used: rows of `Patches.table`.
        summary: of all splits.
    """
    days = used["days_apart"].abs().dropna()
    pairs = pd.DataFrame(summary.vh_and_nir)
    # Of ranks, because some clouds are many times brighter than any ground.
    correlation = pairs.rank().corr().loc[0, 1] if len(pairs) > 1 else np.nan
    return Radar(
        DaysApart(float(days.median()), float(days.max())) if len(days) else None,
        float(correlation) if np.isfinite(correlation) else None,
        len(pairs),
    )


def warnings(used: pd.DataFrame, summary: Summary) -> list[str]:
    """Signs that radar images, or elevation, belong to other patches than the Sentinel-2 images.

    Args:
        used: rows of `Patches.table`.
        summary: of all splits.
    """
    texts = []
    if far := summary.far_apart:
        texts.append(
            f"in {len(far)} of {len(used)} patches, for example {min(far)}, the radar or elevation lies elsewhere on "
            "the ground than the other images; check the ids by which they are joined"
        )
    for text, count in used.loc[used["warning"] != "", "warning"].value_counts().items():
        texts.append(f"in {count} of {len(used)} patches, {text}")
    if "days_apart" not in used:
        return texts
    radar = compare_with_radar(used, summary)
    correlation, count = radar.vh_nir_correlation, radar.vh_nir_patches
    if correlation is not None and count >= ENOUGH and correlation < min(2 / np.sqrt(count), LEAST):
        texts.append(
            f"VH does not rise with the near infrared (rank correlation {correlation:.2f} over {count} patches), as it "
            "does over land where both show the same ground; check the ids by which they are joined"
        )
    return texts

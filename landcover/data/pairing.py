"""Whether the radar images and the elevation of patches belong to the same ground as their Sentinel-2 images."""

from typing import Any

import numpy as np
import pandas as pd

from landcover.data.conversion import Summary

ENOUGH, LEAST = 20, 0.1


def facts(used: pd.DataFrame, summaries: dict[str, Summary]) -> dict[str, Any]:
    """How the radar images fit the Sentinel-2 images.

    Returns:
        `days_apart`, between the two images of a patch: `median` and `largest`; `vh_nir_correlation`: Spearman's rank
        correlation over patches of the means of VH and of the near infrared, and `vh_nir_patches`, their number; null
        if unknown.
    """
    days = used["days_apart"].abs().dropna()
    pairs = pd.DataFrame(np.concatenate([summary.vh_and_nir for summary in summaries.values()]))
    # Of ranks, because some clouds are many times brighter than any ground.
    correlation = pairs.rank().corr().loc[0, 1] if len(pairs) > 1 else np.nan
    return {
        "days_apart": {"median": float(days.median()), "largest": float(days.max())} if len(days) else None,
        "vh_nir_correlation": float(correlation) if np.isfinite(correlation) else None,
        "vh_nir_patches": len(pairs),
    }


def warnings(used: pd.DataFrame, summaries: dict[str, Summary]) -> list[str]:
    """Signs that radar images, or elevation, belong to other patches than the Sentinel-2 images."""
    found = []
    far = {patch_id for summary in summaries.values() for patch_id in summary.far_apart}
    if far:
        found.append(
            f"in {len(far)} of {len(used)} patches, for example {min(far)}, the radar or elevation lies elsewhere on "
            "the ground than the other images; check patch_id_s1 in the meta table"
        )
    if "patch_id_s1" not in used:
        return found
    ends = [used[name].str.extract(r"_(\d+_\d+)$", expand=False) for name in ("patch_id", "patch_id_s1")]
    if differ := int((ends[0] != ends[1]).sum()):
        found.append(
            f"in {differ} of {len(used)} patches, patch_id_s1 ends with another column or row than patch_id; check the "
            "meta table"
        )
    known = facts(used, summaries)
    correlation, count = known["vh_nir_correlation"], known["vh_nir_patches"]
    # Of many patches of other ground, one set in 40 would exceed this. Of a few patches of the same ground, some sets
    # have no more than 0.2.
    if correlation is not None and count >= ENOUGH and correlation < min(2 / np.sqrt(count), LEAST):
        found.append(
            f"VH does not rise with the near infrared (rank correlation {correlation:.2f} over {count} patches), as it "
            "does over land where both show the same ground; check patch_id_s1 in the meta table"
        )
    return found

"""What a difference is called."""

from collections.abc import Sequence

import numpy as np

from landcover.judgement.scores import LOWER_IS_BETTER
from landcover.judgement.variance import CONFIDENCE


def judge(found: dict[str, float], metric: str = "accuracy") -> str:
    """Whether a difference is 'better', 'worse' or 'within noise': its interval and its p-value must both tell it."""
    if found["p"] >= 1 - CONFIDENCE or found["low"] <= 0 <= found["high"]:
        return "within noise"
    return "better" if (found["difference"] > 0) != (metric in LOWER_IS_BETTER) else "worse"


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values for a family of comparisons: below 0.05 for any of equal things in no more than 5 % of families.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()

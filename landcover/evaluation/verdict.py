"""Verdicts on differences."""

from collections.abc import Sequence

import numpy as np

from landcover.evaluation.intervals import CONFIDENCE
from landcover.evaluation.scores import LOWER_IS_BETTER


def judge(found: dict[str, float], metric: str = "accuracy") -> str:
    """'better' or 'worse' if both the interval and the p-value are significant, else 'within noise'."""
    if found["p"] >= 1 - CONFIDENCE or found["low"] <= 0 <= found["high"]:
        return "within noise"
    return "better" if (found["difference"] > 0) != (metric in LOWER_IS_BETTER) else "worse"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values for a family of comparisons, which control the family-wise error rate.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()

"""Differences and verdicts in words."""

from typing import Any

from landcover.evaluation.comparison import Verdict
from landcover.evaluation.intervals import Component, quantile
from landcover.evaluation.metrics import METRICS, SHARE, Metric
from landcover.evaluation.predictions import BASELINES


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def points(difference: float, low: float, high: float) -> str:
    """A difference of shares with its interval, in points: '+5.0 points (+1.0 to +9.0)'."""
    return change_in(METRICS["accuracy"], difference, low, high)


def change(verdict: Verdict) -> str:
    """The difference with its interval, as `change_in` writes it."""
    return change_in(METRICS[verdict.metric], verdict.difference, verdict.low, verdict.high)


def change_in(metric: Metric, difference: float, low: float, high: float) -> str:
    """A difference with its interval: '+5.0 points (+1.0 to +9.0)', or '+0.123 nats (-0.100 to +0.346)'."""
    factor, digits = (100, 1) if metric.unit == SHARE else (1, 3)
    first, *interval = (f"{factor * value:+.{digits}f}" for value in (difference, low, high))
    return f"{first} {metric.unit}".strip() + f" ({' to '.join(interval)})"


def direction(metric: Metric) -> str:
    """The label, and ', lower is better' where it is."""
    return metric.label if metric.higher_is_better else f"{metric.label}, lower is better"


def evidence(verdict: Verdict) -> str:
    """One line that says why the verdict fell as it did."""
    if not verdict.standard_error:
        return "Evidence: the change is the same for every patch."
    unit, error, freedom = METRICS[verdict.metric].unit, verdict.standard_error, verdict.degrees_of_freedom
    size = f"{100 * error:.1f} points" if unit == SHARE else f"{error:.3f} {unit}".strip()
    law = "normal distribution" if freedom is None else f"{freedom:.1f} degrees of freedom"
    sources = " and ".join(f"{one.count} {one.source} ({one.share:.0%})" for one in verdict.components)
    return (
        f"Evidence: the difference is {abs(verdict.difference) / error:.2f} standard errors of {size}; a "
        f"verdict of better or worse takes more than {quantile(freedom):.2f}. Method: {verdict.method}, {law}. "
        f"The variance comes from {sources}."
    )


def against_baselines(verdicts: dict[str, dict[str, Any]]) -> list[str]:
    """An item of a list for each baseline, from verdicts in a JSON file."""
    lines = []
    for name, facts in verdicts.items():
        verdict = Verdict(**facts | {"components": [Component(**one) for one in facts["components"]]})
        summary = f"**{verdict.verdict}, {change(verdict)}**, {p_value(verdict.p)}"
        lines.append(f"{BASELINES[name]}: {summary}.\n  {evidence(verdict)}")
    return lines

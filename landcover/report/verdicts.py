"""Differences and verdicts in words."""

from typing import Any

from landcover.evaluation.comparison import Verdict
from landcover.evaluation.intervals import Component, quantile
from landcover.evaluation.metrics import METRICS, SHARE, Metric
from landcover.evaluation.predictions import BASELINES
from landcover.report import markdown


def quantity(metric: Metric, value: float, signs: str = "+") -> str:
    """'+5.0 points', or '+0.123 nats'."""
    number = f"{100 * value:{signs}.1f}" if metric.unit == SHARE else f"{value:{signs}.3f}"
    return f"{number} {metric.unit}".strip()


def change(verdict: Verdict) -> str:
    """A difference with its interval: '+5.0 points (+1.0 to +9.0)', or '+0.123 nats (-0.100 to +0.346)'."""
    return change_in(METRICS[verdict.metric], verdict.difference, verdict.low, verdict.high)


def change_in(metric: Metric, difference: float, low: float, high: float) -> str:
    if metric.unit == SHARE:
        return markdown.points(difference, low, high)
    return f"{quantity(metric, difference)} ({low:+.3f} to {high:+.3f})"


def direction(metric: Metric) -> str:
    """The label, and ', lower is better' where it is."""
    return metric.label if metric.higher_is_better else f"{metric.label}, lower is better"


def _source(component: Component) -> str:
    """'48 places (88%)', '3 seeds before (12%)'."""
    return f"{component.count} {component.source} ({component.share:.0%})"


def evidence(verdict: Verdict) -> str:
    """One line that says why the verdict fell as it did."""
    if not verdict.standard_error:
        return "Evidence: the change is the same for every patch."
    metric = METRICS[verdict.metric]
    ratio = abs(verdict.difference) / verdict.standard_error
    freedom = verdict.degrees_of_freedom
    law = "normal distribution" if freedom is None else f"{freedom:.1f} degrees of freedom"
    sources = " and ".join(_source(one) for one in verdict.components)
    return (
        f"Evidence: the difference is {ratio:.2f} standard errors of {quantity(metric, verdict.standard_error, '')}; a "
        f"verdict of better or worse takes more than {quantile(freedom):.2f}. Method: {verdict.method}, {law}. "
        f"The variance comes from {sources}."
    )


def against_baselines(verdicts: dict[str, dict[str, Any]]) -> list[str]:
    """An item of a list for each baseline, from verdicts in a JSON file."""
    lines = []
    for name, facts in verdicts.items():
        components = [Component(**one) for one in facts["components"]]
        verdict = Verdict(**facts | {"components": components})
        word = f"**{verdict.verdict}, {change(verdict)}**, {markdown.p_value(verdict.p)}"
        lines.append(f"{BASELINES[name]}: {word}.\n  {evidence(verdict)}")
    return lines

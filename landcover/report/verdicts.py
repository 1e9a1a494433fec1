"""Differences and verdicts in words."""

from collections.abc import Sequence
from typing import Any

from landcover.evaluation.comparison import Answer, Verdict
from landcover.evaluation.intervals import Component, quantile
from landcover.evaluation.metrics import METRICS, SHARE, Metric
from landcover.evaluation.planning import POWER, Plan, least_detected, least_tolerance, plan
from landcover.evaluation.predictions import BASELINE_LABELS


def p_value(p: float) -> str:
    if p < 0.001:
        return "p < 0.001"
    text = f"p = {p:.2g}"
    return f"p = {p:.3g}" if text == "p = 0.05" else text  # on which side of 0.05, as the interval says


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


def amount(metric: Metric, value: float) -> str:
    """A size without a sign: '3 points', or '0.1 nats'."""
    return (f"{round(100 * value, 1):g} points" if metric.unit == SHARE else f"{value:.3g} {metric.unit}").strip()


def answer(verdict: Verdict) -> str:
    """The verdict in words, with the tolerance where it matters: 'equivalent within the tolerance of 3 points'."""
    metric = METRICS[verdict.metric]
    tolerance = f"the tolerance of {amount(metric, verdict.tolerance)}"
    match verdict.verdict:
        case Answer.BETTER if max(abs(verdict.low), abs(verdict.high)) < verdict.tolerance:
            return f"better by less than {tolerance}"
        case Answer.EQUIVALENT:
            return f"equivalent within {tolerance}"
        case Answer.SLIGHTLY_WORSE | Answer.NOT_WORSE:
            return verdict.verdict.replace("the tolerance", tolerance)
    return str(verdict.verdict)


def largest_loss(verdict: Verdict) -> str:
    """The largest loss inside the interval: '4.1 points'."""
    metric = METRICS[verdict.metric]
    return amount(metric, -verdict.low if metric.higher_is_better else verdict.high)


def power(verdict: Verdict) -> str:
    """One line that says what this test could have detected."""
    metric = METRICS[verdict.metric]
    detected, equivalent = (rounded(metric, least(verdict)) for least in (least_detected, least_tolerance))
    return (
        f"In {POWER:.0%} of cases, this test detects a true difference of {detected}, and shows two equal sides to be "
        f"equivalent within a tolerance of {equivalent}."
    )


def rounded(metric: Metric, value: float) -> str:
    """A size to two digits, as `amount` writes it."""
    return amount(metric, float(f"{value:.2g}"))


def differences(verdict: Verdict) -> list[float]:
    """The differences that a plan is made for: the tolerance, and for shares 5 and 10 points."""
    return sorted({verdict.tolerance, *((0.05, 0.1) if METRICS[verdict.metric].unit == SHARE else ())})


def plan_rows(verdict: Verdict, seeds: int) -> list[dict[str, str]]:
    """A table: what it takes to detect some differences; a row for each, a column for each number of seeds."""
    source, rows = "patches", {}
    if verdict.components:
        source = verdict.components[0].source
    for one in plan(verdict, differences(verdict), seeds):
        row = rows.setdefault(one.difference, {"to detect": amount(METRICS[verdict.metric], one.difference)})
        row[f"{source}, with {one.seeds} seed{'s' if one.seeds > 1 else ''} on each side"] = _places(one)
    return list(rows.values())


def _places(one: Plan) -> str:
    if one.places is None:
        return "more seeds"
    low, high = (f"{int(float(f'{number:.2g}')):,}" for number in one.places)
    return low if low == high else f"{low} to {high}"


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
    return (
        f"Evidence: the difference is {abs(verdict.difference) / error:.2f} times its standard error of {size}; better "
        f"or worse takes {quantile(freedom):.2f} times. {sources(verdict.components)} Method: "
        f"{verdict.method}, {law}."
    )


def sources(components: Sequence[Component]) -> str:
    """A sentence that says what an error is made of."""
    shares = [f"{one.count} {one.source} ({one.share:.0%})" for one in components]
    shares = [f"{one.count} {one.source}" for one in components] if len(shares) == 1 else shares
    return f"That error comes from the {' and the '.join(shares)}."


def against_baselines(verdicts: dict[str, dict[str, Any]]) -> list[str]:
    """An item of a list for each baseline, from verdicts in a JSON file."""
    lines = []
    for name, facts in verdicts.items():
        verdict = Verdict(**facts | {"components": [Component(**one) for one in facts["components"]]})
        summary = f"**{answer(verdict)}, {change(verdict)}**, {p_value(verdict.p)}"
        lines.append(f"{BASELINE_LABELS[name]}: {summary}.\n  {evidence(verdict)}")
    return lines

"""The gate's word on each answer, from intervals of which one knows the answer."""

import pytest

from landcover.evaluation.comparison import Verdict, answer
from landcover.evaluation.metrics import METRICS
from landcover.report.gate import judge


def verdict(low: float, high: float, metric: str = "accuracy") -> Verdict:
    """On an interval of the difference, in points of accuracy, with a tolerance of 3; or in hundredths of nats."""
    low, high = low / 100, high / 100
    said = answer(low, high, 0.03, higher_is_better=METRICS[metric].higher_is_better)
    return Verdict(0.5, 0.5, (low + high) / 2, low, high, 0.5, said, 0.03, metric, "", 1.0, None, [])


@pytest.mark.parametrize(
    ("interval", "passes", "reason"),
    [
        ((1, 2), (True, True), "accuracy better by less than the tolerance of 3 points"),
        ((1, 4), (True, True), "accuracy better"),
        ((-4, -1), (False, False), "accuracy worse"),
        ((-2, -1), (True, True), "accuracy worse by less than the tolerance of 3 points"),
        ((-2, 2), (True, True), "accuracy equivalent within the tolerance of 3 points"),
        ((-2, 4), (True, True), "accuracy undecided, not worse by the tolerance of 3 points"),
        ((-4, 1), (True, False), "accuracy undecided: a loss of up to 4 points is not ruled out"),
    ],
)
def test_each_answer_passes_or_fails(interval, passes, reason):
    for strict, passed in zip((False, True), passes, strict=True):
        word = judge({"accuracy": verdict(*interval)}, strict=strict)
        assert (word.passed, word.reason) == (passed, reason)


def test_a_loss_is_a_rise_where_lower_is_better():
    assert not judge({"nll": verdict(1, 4, "nll")}).passed
    assert judge({"nll": verdict(-1, 4, "nll")}).reason == "nll undecided: a loss of up to 0.04 nats is not ruled out"


def test_only_regressions_can_be_accepted():
    verdicts = {"accuracy": verdict(-5, 1), "nll": verdict(4, 9, "nll")}
    word = judge(verdicts, accepted="on purpose", leaks=["touching it: 0.0% before, 1.0% after"])
    assert word.passed
    assert word.reason == "accepted: nll worse; leakage grew (touching it: 0.0% before, 1.0% after) (on purpose)"
    assert word.notes == ["accuracy undecided: a loss of up to 5 points is not ruled out"]
    assert not judge(verdicts, accepted="on purpose", strict=True).passed

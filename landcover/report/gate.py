"""Whether a change may be merged: no metric that counts got worse, leakage did not grow, and the reports are not stale.

docs/comparison.md has the table of answers and what the gate makes of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from landcover.errors import few
from landcover.evaluation.comparison import Answer, Comparison, Verdict
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import BASELINE_LABELS
from landcover.report.verdicts import answer, largest_loss


@dataclass(frozen=True)
class Gate:
    """The gate's word."""

    passed: bool
    reason: str  # in words, without a full stop
    notes: list[str]  # whatever else there is to know, in the same form


def _in_words(subject: str, verdict: Verdict) -> str:
    doubt = f": a loss of up to {largest_loss(verdict)} is not ruled out" * (verdict.verdict == Answer.UNDECIDED)
    return f"{subject} {answer(verdict)}{doubt}"


def counted(compared: Comparison) -> dict[str, Verdict]:
    """The verdicts that count, by the labels of their metrics: the decisive one, then those of gated metrics.

    Empty if no prediction changed.
    """
    names = [compared.metric, *(name for name in compared.metrics if METRICS[name].gated)]
    same = compared.verdict == Answer.SAME
    return {} if same else {METRICS[name].label: compared.metrics[name] for name in names}


def judge(
    verdicts: Mapping[str, Verdict],
    *,
    leaks: Sequence[str] = (),
    accepted: str | None = None,
    strict: bool = False,
) -> Gate:
    """The gate's word on the verdicts that count, by their subjects in words; none if no prediction changed.

    Args:
        leaks: the kinds of leakage that grew.
        accepted: why a regression is intended, if it is. What is undecided cannot be accepted.
        strict: fail on what is undecided, too.
    """
    words = {subject: _in_words(subject, verdict) for subject, verdict in verdicts.items()}
    regressions = [words.pop(subject) for subject, one in verdicts.items() if one.verdict == Answer.WORSE]
    regressions += [f"leakage grew ({few(leaks, 1)})"] if leaks else []
    doubts = [words.pop(subject) for subject, one in verdicts.items() if strict and one.verdict == Answer.UNDECIDED]
    rest = list(words.values())
    if doubts or (regressions and not accepted):
        return Gate(False, "; ".join(regressions + doubts), rest)
    if regressions:
        return Gate(True, f"accepted: {'; '.join(regressions)} ({accepted})", rest)
    return Gate(True, *((rest[0], rest[1:]) if rest else ("every prediction is the same", [])))


def judge_stale(stale: Sequence[str]) -> Gate:
    """The gate's word on reports that are not of their revision, which no reason can make acceptable."""
    return Gate(False, f"stale: {'; '.join(stale)}; run dvc repro", [])


def judge_unpaired(
    reasons: Sequence[str],
    margin: tuple[str, Verdict] | None = None,
    *,
    leaks: Sequence[str] = (),
    accepted: str | None = None,
    strict: bool = False,
) -> Gate:
    """The gate's word on two sides with different test patches, by their margins over a common baseline.

    Args:
        reasons: why they cannot be compared patch by patch.
        margin: as `reports.margin` returns it; None if there is no common baseline.
    """
    why = f"no paired comparison was possible: {'; '.join(reasons)}"
    if margin is None:
        return Gate(False, f"{why}, and both sides have no baseline in common", [])
    subject = f"margin over {BASELINE_LABELS[margin[0]]}"
    gate = judge({subject: margin[1]}, leaks=leaks, accepted=accepted, strict=strict)
    return replace(gate, notes=[*gate.notes, why])

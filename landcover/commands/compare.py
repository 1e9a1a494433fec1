"""Is this experiment better?  two revisions' reports, or two tables of predictions -> one Markdown page

    python -m landcover compare [--base REV] [--head REV] [--output FILE.md] [--json] [--gate] [--strict]
    python -m landcover compare --base A.csv --head B.csv [--json] [--gate] [--strict]
    python -m landcover compare --plan [--head REV]      what a test of this run can detect, before another is trained

It needs neither network nor token. A revision is a commit, a branch, an experiment, or `workspace`. A table has the
columns patch_id, actual and predicted, and optionally others; docs/comparison.md lists them.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from landcover import files
from landcover.config import Evaluation, validate
from landcover.errors import InputError
from landcover.evaluation.comparison import Answer, Comparison, Verdict, against_baselines, compare
from landcover.evaluation.metrics import METRICS, demand, named
from landcover.evaluation.predictions import Predictions, complete, mismatches, parse
from landcover.evaluation.reports import extent, grown_leakage, margin, pair, read_reports, stale
from landcover.evaluation.revisions import WORKSPACE, Revision, accepted_regression, merge_base
from landcover.report import comparison as pages
from landcover.report.gate import Gate, counted, judge, judge_stale, judge_unpaired
from landcover.report.plans import plan_page

FAILED = 3  # exit codes, besides 1 for bad input: the gate, and without it
NOT_COMPARABLE = 4
NAMES = dict.fromkeys(("patch_id", "actual", "predicted"), str)  # a class may be called NA or None
WITH_FOLDS = "dvc exp run -S repeat.folds=5 (five trainings, and each patch is tested)"


@dataclass(frozen=True)
class Outcome:
    """The result of a comparison: either compared, or the reasons why not."""

    names: tuple[str, str]  # of the sides
    headline: str  # the first lines of the page, without the gate's
    page: Callable[[Path], str]  # given the folder for its pictures
    gate: Gate
    compared: Comparison | None = None
    reasons: Sequence[str] = ()
    # Of revisions only:
    baselines: dict[str, dict[str, Verdict]] | None = None  # each side's, by 'before' and 'after'
    margin: tuple[str, Verdict] | None = None  # of sides that cannot be compared, over the baseline of this name
    grown_leakage: list[str] = field(default_factory=list)
    stale: dict[str, list[str]] = field(default_factory=dict)  # what changed after the run, by 'before' and 'after'

    def as_json(self) -> dict[str, Any]:
        """The fields of --json; docs/comparison.md describes them."""
        verdict = self.compared.verdict if self.compared and not any(self.stale.values()) else None
        fields: dict[str, Any] = {"verdict": verdict, "comparable": not self.reasons}
        fields |= dict(zip(("base", "head"), self.names, strict=True))
        if self.compared:
            fields |= asdict(self.compared) | {"verdict": verdict}
        if self.baselines is not None:
            fields |= {"baselines": self.baselines, "grown_leakage": self.grown_leakage, "stale": self.stale}
        if self.margin:
            fields["margin"] = {"baseline": self.margin[0]} | asdict(self.margin[1])
        return fields | {"reasons": self.reasons, "gate": self.gate}


def read_table(path: str) -> Predictions:
    """A table of predictions.

    Raises:
        InputError: it is missing or is not such a table.
    """
    try:
        table = parse(pd.read_csv(path, dtype=NAMES, keep_default_na=False, na_values=[""]))
        if len(table.patch_ids) < 2:
            raise InputError("has fewer than two patches")
        return table
    except FileNotFoundError:
        reason = "not found; give a table of predictions, or a revision"
    except (ValueError, OSError) as error:
        reason = f"cannot be read as CSV ({' '.join(str(error).split())})"
    except InputError as error:
        reason = str(error)
    raise InputError(f"{path}: {reason}")


def compare_tables(names: tuple[str, str], metric: str, *, strict: bool) -> Outcome:
    before, after = map(read_table, names)
    if reasons := mismatches(before, after):
        headline = pages.not_comparable(reasons)
        return Outcome(names, headline, lambda folder: f"{headline}\n", judge_unpaired(reasons), reasons=reasons)
    before, after = complete(before, after)
    compared = compare(before, after, named(metric))
    word = judge(counted(compared), strict=strict)
    page = partial(pages.tables_page, compared, names, before, after)
    return Outcome(names, pages.verdict_lines(compared), lambda folder: page(), word, compared)


def compare_revisions(names: tuple[str, str], metric: str | None, tensors_dir: Path, *, strict: bool) -> Outcome:
    base, head = (read_reports(Revision(name)) for name in names)
    names = (str(base.revision), str(head.revision))
    settings = validate("evaluate", Evaluation, head.params["evaluate"])
    demand(settings.verdict, settings.tolerance)
    paired, leaks = pair(base, head), grown_leakage(base, head)
    sides = (("before", base, paired.before or base.on_test), ("after", head, paired.after or head.on_test))
    against = {
        when: against_baselines(one, side.of_baselines(one), settings.tolerance.get("accuracy"))
        for when, side, one in sides
    }
    gated = {"leaks": leaks, "accepted": accepted_regression(base.revision, head.revision), "strict": strict}
    changed = {"before": base.changed, "after": head.changed}
    known = {"baselines": against, "grown_leakage": leaks, "stale": changed}
    if paired.reasons:
        over = margin(base, head, settings.tolerance.get("accuracy"))
        word = judge_unpaired(paired.reasons, over, **gated)
        page = pages.incomparable_page(paired.reasons, against, over, base, head)
        headline = pages.not_comparable(paired.reasons)
        outcome = Outcome(names, headline, lambda folder: page, word, reasons=paired.reasons, margin=over, **known)
    else:
        decisive = named(metric or settings.verdict)
        same_target = base.target == head.target
        compared = compare(paired.before, paired.after, decisive, settings.tolerance, same_target=same_target)
        word = judge(counted(compared), **gated)
        page = partial(pages.comparison_page, compared, paired, against, base, head, tensors_dir)
        outcome = Outcome(names, pages.verdict_lines(compared, paired.note), page, word, compared, **known)
    before = base.params["evaluate"].get("tolerance", settings.tolerance)  # older revisions have none
    if before != settings.tolerance:
        note = f"the tolerance is another one than before: {settings.tolerance}, not {before}"
        outcome = replace(outcome, gate=replace(outcome.gate, notes=[*outcome.gate.notes, note]))
    if sides := stale(base, head):
        return replace(outcome, headline=pages.stale_line(sides), gate=judge_stale(sides))
    return outcome


def plan(name: str, tensors_dir: Path) -> str:
    """What a comparison with this revision can detect.

    Raises:
        InputError: it has no reports, or no baselines.
    """
    side = read_reports(Revision(name))
    run = side.on_test if side.folds is None else side.folds
    baselines = side.of_baselines(run)
    if not baselines:
        raise InputError(f"{side.revision}: has no predictions of baselines; run dvc repro there and commit the result")
    return plan_page(side, run, baselines, extent(side, tensors_dir))


def main(arguments: list[str]) -> None:
    description = "Compare two revisions, or two tables of predictions."
    parser = argparse.ArgumentParser(prog="python -m landcover compare", description=description)
    parser.add_argument("--base", help="revision or table to compare with; default: merge base with the main branch")
    parser.add_argument("--head", default=WORKSPACE, help="revision or table to compare; default: the workspace")
    parser.add_argument("--output", type=Path, help="page to write; default: comparison.md, or none with --json")
    parser.add_argument("--json", action="store_true", help="print the verdict and all figures as JSON")
    parser.add_argument("--verdict", choices=METRICS, help="decisive metric; default: head's evaluate.verdict")
    parser.add_argument("--tensors", type=Path, default=Path("data/tensors"), help="source of the thumbnails")
    gate = f"begin with the gate's result, and exit with {FAILED} if it fails"
    parser.add_argument("--gate", action="store_true", help=gate)
    parser.add_argument("--strict", action="store_true", help="the gate fails on what is undecided, too")
    parser.add_argument("--plan", action="store_true", help="only print what a comparison with one revision can detect")
    given = parser.parse_args(arguments)
    if given.plan:
        print(plan(given.base or given.head, given.tensors))
        return
    output = given.output or (None if given.json else Path("comparison.md"))
    if output and output.suffix != ".md":
        raise InputError(f"--output {output}: give a name ending in .md; its pictures go to a folder beside it")
    match [str(name).endswith(".csv") for name in (given.base, given.head)]:
        case [True, True]:
            outcome = compare_tables((given.base, given.head), given.verdict or "accuracy", strict=given.strict)
        case [False, False]:
            names = given.base or merge_base(), given.head
            outcome = compare_revisions(names, given.verdict, given.tensors, strict=given.strict)
        case _:
            raise InputError("--base and --head: give two revisions, or two tables (.csv), not one of each")
    opening = f"{pages.gate_lines(outcome.gate)}\n\n" if given.gate else ""
    if output:
        page = opening + outcome.page(output.with_suffix(""))
        with files.replacing(output) as part:
            part.write_text(page, encoding="utf-8")
    if given.json:
        print(json.dumps(outcome.as_json(), indent=2, allow_nan=False, default=asdict))
    else:
        print(f"{opening}{outcome.headline}".replace("**", "").replace("\n\n", "\n"))
    compared = None if any(outcome.stale.values()) else outcome.compared
    if outcome.baselines is not None and compared and compared.scope == "two runs" and compared.verdict != Answer.SAME:
        print(f"to compare the configurations, run both sides with folds: {WITH_FOLDS}", file=sys.stderr)
    if output:
        print(output, file=sys.stderr)
    if given.gate:
        sys.exit(0 if outcome.gate.passed else FAILED)
    if outcome.reasons:
        sys.exit(NOT_COMPARABLE)

"""Is this experiment better?  two revisions' reports, or two tables of predictions -> one Markdown page

    python -m landcover compare [--base REV] [--head REV] [--output FILE.md] [--json] [--fail-on-regression]
    python -m landcover compare --base A.csv --head B.csv [--json]

It needs neither network nor token. A revision is a commit, a branch, an experiment, or `workspace`. A table has the
columns patch_id, actual and predicted, and optionally seed, p_actual, brier, lon and lat.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from landcover import files
from landcover.config import Evaluation, validate
from landcover.errors import InputError
from landcover.evaluation.comparison import Comparison, Verdict, compare
from landcover.evaluation.metrics import METRICS, named
from landcover.evaluation.predictions import Predictions, mismatches, parse
from landcover.evaluation.reports import grown_leakage, incomparable, read_reports
from landcover.evaluation.revisions import WORKSPACE, Revision, merge_base
from landcover.report import comparison as pages

REGRESSION = 3  # exit codes, besides 1 for bad input
NOT_COMPARABLE = 4
GATED = " or ".join(metric.label for metric in METRICS.values() if metric.gated)
NAMES = dict.fromkeys(("patch_id", "actual", "predicted"), str)  # a class may be called NA or None
WITH_SEEDS = "dvc exp run -S 'repeat.seeds=[1,2,3,4,5]' (one more training per seed)"


@dataclass(frozen=True)
class Outcome:
    """The result of a comparison: either compared, or the reasons why not."""

    names: tuple[str, str]  # of the sides
    page: Callable[[Path], str]  # given the folder for its pictures
    compared: Comparison | None = None
    reasons: list[str] = field(default_factory=list)
    baselines: dict[str, dict[str, Verdict]] | None = None  # of revisions: each side's, by 'before' and 'after'
    grown_leakage: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        return pages.not_comparable(self.reasons) if self.compared is None else pages.verdict_lines(self.compared)

    @property
    def regressions(self) -> list[str]:
        losses = [f"{name} is significantly worse" for name in self.compared.losses] if self.compared else []
        return losses + [f"more test patches have a train patch {kind}" for kind in self.grown_leakage]

    def as_json(self) -> dict[str, Any]:
        """The fields of --json; docs/comparison.md describes them."""
        fields: dict[str, Any] = {"verdict": self.compared and self.compared.verdict, "comparable": not self.reasons}
        fields |= dict(zip(("base", "head"), self.names, strict=True))
        if self.compared:
            fields |= asdict(self.compared)
        if self.baselines is not None:
            fields |= {"baselines": self.baselines, "grown_leakage": self.grown_leakage}
        return fields | {"reasons": self.reasons, "regressions": self.regressions}


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


def compare_tables(names: tuple[str, str], metric: str) -> Outcome:
    before, after = map(read_table, names)
    if reasons := mismatches(before, after):
        return Outcome(names, lambda folder: f"{pages.not_comparable(reasons)}\n", reasons=reasons)
    compared = compare(before, after, named(metric))
    return Outcome(names, lambda folder: pages.tables_page(compared, names, before, after), compared)


def compare_revisions(names: tuple[str, str], metric: str | None, tensors_dir: Path) -> Outcome:
    base, head = (read_reports(Revision(name)) for name in names)
    names = (str(base.revision), str(head.revision))
    if reasons := incomparable(base, head):
        return Outcome(names, lambda folder: pages.incomparable_page(reasons, base, head), reasons=reasons)
    metric = metric or validate("evaluate", Evaluation, head.params["evaluate"]).verdict
    compared = compare(base.predictions, head.predictions, named(metric))
    against = {"before": base.against_baselines(), "after": head.against_baselines()}
    page = partial(pages.comparison_page, compared, against, base, head, tensors_dir)
    return Outcome(names, page, compared, baselines=against, grown_leakage=grown_leakage(base, head))


def main(arguments: list[str]) -> None:
    description = "Compare two revisions, or two tables of predictions."
    parser = argparse.ArgumentParser(prog="python -m landcover compare", description=description)
    parser.add_argument("--base", help="revision or table to compare with; default: merge base with the main branch")
    parser.add_argument("--head", default=WORKSPACE, help="revision or table to compare; default: the workspace")
    parser.add_argument("--output", type=Path, help="page to write; default: comparison.md, or none with --json")
    parser.add_argument("--json", action="store_true", help="print the verdict and all figures as JSON")
    parser.add_argument("--verdict", choices=METRICS, help="decisive metric; default: head's evaluate.verdict")
    parser.add_argument("--tensors", type=Path, default=Path("data/tensors"), help="source of the thumbnails")
    gate = f"exit with {REGRESSION} if {GATED} is significantly worse or leakage grew"
    parser.add_argument("--fail-on-regression", action="store_true", help=gate)
    given = parser.parse_args(arguments)
    output = given.output or (None if given.json else Path("comparison.md"))
    if output and output.suffix != ".md":
        raise InputError(f"--output {output}: give a name ending in .md; its pictures go to a folder beside it")
    match [str(name).endswith(".csv") for name in (given.base, given.head)]:
        case [True, True]:
            outcome = compare_tables((given.base, given.head), given.verdict or "accuracy")
        case [False, False]:
            outcome = compare_revisions((given.base or merge_base(), given.head), given.verdict, given.tensors)
        case _:
            raise InputError("--base and --head: give two revisions, or two tables (.csv), not one of each")
    if output:
        page = outcome.page(output.with_suffix(""))
        with files.replacing(output) as part:
            part.write_text(page, encoding="utf-8")
    if given.json:
        print(json.dumps(outcome.as_json(), indent=2, allow_nan=False, default=asdict))
    else:
        print(outcome.headline.replace("**", "").replace("\n\n", "\n"))
    compared = outcome.compared
    if outcome.baselines is not None and compared.scope == "two runs" and compared.verdict != "no difference":
        print(f"to compare the configurations, run both sides with seeds: {WITH_SEEDS}", file=sys.stderr)
    if output:
        print(output, file=sys.stderr)
    if outcome.reasons:
        sys.exit(NOT_COMPARABLE)
    if given.fail_on_regression and outcome.regressions:
        print(f"regression: {'; '.join(outcome.regressions)}", file=sys.stderr)
        sys.exit(REGRESSION)

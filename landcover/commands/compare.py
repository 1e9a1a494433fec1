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
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from landcover import files
from landcover.config import Evaluation, validate
from landcover.errors import InputError
from landcover.evaluation import sides
from landcover.evaluation.comparison import VERDICTS_BY, compare
from landcover.evaluation.predictions import Predictions, parse
from landcover.evaluation.revisions import WORKSPACE, Revision, merge_base
from landcover.report.comparison import comparison_page, incomparable_page, not_comparable, tables_page, verdict

REGRESSION = 3  # exit codes, besides 1 for bad input
NOT_COMPARABLE = 4
NAMES = dict.fromkeys(("patch_id", "actual", "predicted"), str)  # a class may be called NA or None
WITH_SEEDS = "dvc exp run -S 'repeat.seeds=[1,2,3,4,5]' (one more training per seed)"


class Outcome(NamedTuple):
    """The result of a comparison."""

    headline: str
    facts: dict[str, Any]  # for --json
    page: Callable[[Path], str]  # given the folder for its pictures
    reasons: list[str]  # why the two cannot be compared
    regressions: list[str]


def read_table(path: str) -> Predictions:
    """A table of predictions.

    Raises:
        InputError: it is missing or is not such a table.
    """
    try:
        found = parse(pd.read_csv(path, dtype=NAMES, keep_default_na=False, na_values=[""]))
        if len(found.patch_ids) < 2:
            raise InputError("has fewer than two patches")
        return found
    except FileNotFoundError:
        raise InputError(f"{path}: not found; give a table of predictions, or a revision") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as CSV ({' '.join(str(error).split())})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _losses(facts: dict[str, Any]) -> list[str]:
    return [f"{name} is significantly worse" for name in facts["losses"]]


def compare_tables(names: tuple[str, str], metric: str) -> Outcome:
    before, after = map(read_table, names)
    facts: dict[str, Any] = {"base": names[0], "head": names[1]}
    if reasons := sides.other_patches(before, after):
        line = not_comparable(reasons)
        return Outcome(line, facts, lambda folder: f"{line}\n", reasons, [])
    facts |= compare(before, after, metric)
    return Outcome(verdict(facts), facts, lambda folder: tables_page(facts, names, before, after), [], _losses(facts))


def compare_revisions(names: tuple[str, str], metric: str | None, tensors_dir: Path) -> Outcome:
    base, head = (sides.read(Revision(name)) for name in names)
    facts: dict[str, Any] = {"base": str(base.revision), "head": str(head.revision)}
    if reasons := sides.incomparable(base, head):
        page = incomparable_page(reasons, base, head)
        return Outcome(not_comparable(reasons), facts, lambda folder: page, reasons, [])
    metric = metric or validate("evaluate", Evaluation, head.params["evaluate"]).verdict
    facts |= compare(base.predictions, head.predictions, metric)
    facts["baselines"] = {"before": sides.beside_baselines(base), "after": sides.beside_baselines(head)}
    facts["grown_leakage"] = sides.grown_leakage(base, head)
    leaks = [f"more test patches have a train patch {leak}" for leak in facts["grown_leakage"]]
    return Outcome(
        verdict(facts),
        facts,
        lambda folder: comparison_page(facts, base, head, folder, tensors_dir),
        [],
        _losses(facts) + leaks,
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m landcover compare", description="Compare two revisions, or two tables of predictions."
    )
    parser.add_argument(
        "--base", help="revision or table to compare with; default: the merge base with the main branch"
    )
    parser.add_argument("--head", default=WORKSPACE, help="revision or table to judge; default: the workspace")
    parser.add_argument("--output", type=Path, help="page to write; default: comparison.md, or none with --json")
    parser.add_argument("--json", action="store_true", help="print the verdict and all figures as JSON")
    parser.add_argument("--verdict", choices=VERDICTS_BY, help="decisive metric; default: head's evaluate.verdict")
    parser.add_argument("--tensors", type=Path, default=Path("data/tensors"), help="source of the thumbnails")
    parser.add_argument(
        "--fail-on-regression",
        action="store_true",
        help=f"exit with {REGRESSION} if accuracy or NLL is significantly worse or leakage grew",
    )
    given = parser.parse_args(arguments)
    output = given.output or (None if given.json else Path("comparison.md"))
    if output and output.suffix != ".md":
        raise InputError(f"--output {output}: give a name ending in .md; its pictures go to a folder beside it")
    names = (merge_base() if given.base is None else given.base, given.head)
    match [name.endswith(".csv") for name in names]:
        case [True, True]:
            outcome = compare_tables(names, given.verdict or "accuracy")
        case [False, False]:
            outcome = compare_revisions(names, given.verdict, given.tensors)
        case _:
            raise InputError("--base and --head: give two revisions, or two tables (.csv), not one of each")
    if output:
        page = outcome.page(output.with_suffix(""))
        with files.replacing(output) as part:
            part.write_text(page, encoding="utf-8")
    if given.json:
        first = {"verdict": outcome.facts.get("verdict"), "comparable": not outcome.reasons}
        last = {"reasons": outcome.reasons, "regressions": outcome.regressions}
        print(json.dumps(first | outcome.facts | last, indent=2, allow_nan=False))
    else:
        print(outcome.headline.replace("**", ""))
    facts = outcome.facts
    if "baselines" in facts and facts["scope"] == "two runs" and facts["verdict"] != "no difference":
        print(f"to compare the configurations, run both sides with seeds: {WITH_SEEDS}", file=sys.stderr)
    if output:
        print(f"{output}", file=sys.stderr)
    if outcome.reasons:
        sys.exit(NOT_COMPARABLE)
    if given.fail_on_regression and outcome.regressions:
        print(f"regression: {'; '.join(outcome.regressions)}", file=sys.stderr)
        sys.exit(REGRESSION)

"""Is this experiment better?  two revisions' reports -> one Markdown page

    python -m tools compare [--base REV] [--head REV] [--output FILE.md] [--fail-on-regression]

It needs neither network nor token. A revision is a commit, a branch, an experiment, or `workspace`.
"""

import argparse
import sys
from pathlib import Path

from landcover.ground import files
from landcover.ground.errors import InputError
from landcover.judgement.revisions import WORKSPACE, Revision, merge_base
from landcover.judgement.sides import compare, grown_leakage, incomparable, read
from landcover.judgement.verdict import judge
from landcover.pages.comparison import comparison_page, incomparable_page

REGRESSION = 3  # exit codes, apart from 1 for bad input
NOT_COMPARABLE = 4


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools compare", description="Compare the reports of two revisions on one Markdown page."
    )
    parser.add_argument("--base", help="revision to compare with; default: where HEAD left the main branch")
    parser.add_argument("--head", default=WORKSPACE, help="revision to judge; default: the workspace")
    parser.add_argument("--output", type=Path, default=Path("comparison.md"), help="default: comparison.md")
    parser.add_argument("--tensors", type=Path, default=Path("data/tensors"), help="where thumbnails come from")
    parser.add_argument(
        "--fail-on-regression",
        action="store_true",
        help=f"exit with {REGRESSION} if head is significantly worse or leakage grew",
    )
    given = parser.parse_args(arguments)
    if given.output.suffix != ".md":
        raise InputError(
            f"--output {given.output}: give a name that ends in .md; its pictures go to a folder beside it"
        )
    base, head = (read(Revision(name)) for name in (merge_base() if given.base is None else given.base, given.head))
    code = 0
    if reasons := incomparable(base, head):
        page, code = incomparable_page(reasons, base, head), NOT_COMPARABLE
    else:
        compared = compare(base, head)
        page = comparison_page(compared, base, head, given.output.with_suffix(""), given.tensors)
        worse = judge(compared["accuracy"]) == "worse"
        reasons = ["significantly worse"] * worse + [f"leakage grew {leak}" for leak in grown_leakage(base, head)]
        if given.fail_on_regression and reasons:
            print(f"regression: {'; '.join(reasons)}", file=sys.stderr)
            code = REGRESSION
    with files.replacing(given.output) as part:
        part.write_text(page)
    print(page.partition("\n")[0].replace("**", ""))
    print(f"{given.output}", file=sys.stderr)
    sys.exit(code)

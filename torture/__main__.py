"""Kill the pipeline, fill its disks, run it concurrently, and check that nothing is lost.

    nice python -m torture [--seed 0] [--rounds 1] [--minutes M] [--only TEXT] [--write]

prints a table of the injected faults and their results, and exits with 1 if anything failed. A round injects every
fault once; another seed draws other moments and sizes. With --write the table goes into torture/README.md. It works in
temporary clones of the working tree. Without root, faults that need it (disks of their own) are skipped and listed.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.measure import table, write
from torture.arena import SMALL, Arena
from torture.faults import Fault, Outcome, SkipError, plan

README = Path(__file__).with_name("README.md")


def name(fault: Fault) -> str:
    """The function and its arguments, as a name for the fault."""
    if not hasattr(fault, "keywords"):
        return fault.__name__
    return f"{fault.func.__name__}({', '.join(str(getattr(v, 'name', v)) for v in fault.keywords.values())})"


def run(
    arena: Arena, faults: list[tuple[str, Fault]], seed: int, rounds: int, minutes: float
) -> tuple[dict[str, list[Outcome]], dict[str, str]]:
    """The outcomes by row, and why faults were skipped, by fault."""
    outcomes: dict[str, list[Outcome]] = {row: [] for row, _ in faults}
    skipped: dict[str, str] = {}
    end = time.monotonic() + 60 * minutes
    jobs = list(enumerate(faults * rounds))
    random.Random(seed).shuffle(jobs)
    # One of each row, then another of each, so that a run that ends early has tried every row.
    turns: Counter[str] = Counter()
    queue = []
    for job, (row, fault) in jobs:
        turns[row] += 1
        queue.append((turns[row], job, row, fault))
    for _, job, row, fault in sorted(queue, key=lambda entry: entry[0]):
        if time.monotonic() > end:
            break
        began = time.monotonic()
        try:
            outcome = fault(arena, random.Random(f"{seed} {job}"))
        except SkipError as reason:
            skipped[name(fault)] = str(reason)
            continue
        outcome.bad = [f"{name(fault)}: {text}" for text in outcome.bad]
        outcomes[row].append(outcome)
        verdict = "bad" if outcome.bad else "survived"
        print(f"{name(fault)}: {outcome.injected} {verdict}, {time.monotonic() - began:.0f} s", file=sys.stderr)
        for text in outcome.bad:
            print(text, file=sys.stderr)
    return outcomes, skipped


def page(outcomes: dict[str, list[Outcome]], skipped: dict[str, str]) -> str:
    rows = []
    for row, found in outcomes.items():
        injected, lost = sum(each.injected for each in found), sum(bool(each.bad) for each in found)
        rows.append({"fault": row, "injected": injected, "survived": max(0, injected - lost), "failed": lost})
    lines = [table(rows)]
    remedies = [remedy for found in outcomes.values() for each in found for remedy in each.remedies]
    lines += [f"- {remedies.count(remedy)} times: {remedy}." for remedy in dict.fromkeys(remedies)]
    lines += [f"- Skipped, {fault}: {reason}." for fault, reason in skipped.items()]
    return "\n".join([lines[0], "", *lines[1:]]).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no fault after this time")
    parser.add_argument("--only", default="", help="only faults whose row or name contains this text")
    parser.add_argument("--write", action="store_true", help="put the table into torture/README.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder), SMALL)
        faults = [(row, fault) for row, fault in plan(arena.stages) if options.only in f"{row} {name(fault)}"]
        outcomes, skipped = run(arena, faults, options.seed, options.rounds, options.minutes)
    text = page(outcomes, skipped)
    print(text)
    if options.write:
        limit = f" --minutes {options.minutes:g}" if options.minutes < float("inf") else ""
        again = f"`python -m torture --seed {options.seed} --rounds {options.rounds}{limit}`"
        write("table", f"{again}:\n\n{text}", README)
    if any(each.bad for found in outcomes.values() for each in found):
        sys.exit(1)


if __name__ == "__main__":
    main()

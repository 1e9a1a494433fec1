"""Measure the cost of mapping a whole scene, compared with a plain loop over its windows.

    python -m benchmarks.scene [--steps 12 120] [--folder FOLDER] [--write]

prints Markdown, and with --write puts it into benchmarks/README.md. It works in a temporary folder, below FOLDER if one
is given, and needs 1 GB of disk.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import MIB, Clone, figure, table
from landcover.environment import AVX2

COMPARED, WHOLE = 5_490, 10_980  # pixels a side: a quarter of a product, and all of it


def compared(clone: Clone, steps: list[int]) -> str:
    """Loop and pipeline in turn, in one process that has imported everything; medians."""
    scene = f"{COMPARED}.tif"
    command = ("python", "-m", "benchmarks.windows", "compare", scene, "model.safetensors", *map(str, steps))
    found = json.loads(clone.run(*command, variables=AVX2).output)
    rows, apart = [], 0.0
    for step, runs in found.items():
        theirs, ours = (statistics.median(run[whose] for run in runs) for whose in ("loop", "ours"))
        apart = max(apart, *(run["apart"] for run in runs))
        rows.append(
            {
                "step": step,
                "windows": f"{runs[0]['windows']:,}",
                "looped over": f"{runs[0]['looped']:,}",
                "loop, s": figure(theirs),
                "pipeline, s": figure(ours),
                "loop / pipeline": figure(theirs / ours),
            }
        )
    return f"{table(rows)}\n\nNo probability from the pipeline differs from the loop's by more than {apart:.2g}."


def whole(clone: Clone, steps: list[int]) -> str:
    """The whole command."""
    rows = []
    for step in steps:
        command = ("landcover", "predict", f"{WHOLE}.tif", "--model", "model.safetensors", "--step", str(step))
        cost = clone.run("python", "-m", *command, watch=True)
        clone.remove("maps")
        figures = {"s": cost.seconds, "peak RSS, MiB": cost.rss / MIB, "peak anonymous, MiB": cost.anonymous / MIB}
        rows.append({"step": str(step)} | {name: figure(value) for name, value in figures.items()})
    return table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[12, 120])
    parser.add_argument(
        "--folder", type=Path, help="work below this folder; default: the system's folder for temporary files"
    )
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/README.md")
    given = parser.parse_args()
    machine = measure.machine()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        clone = Clone(Path(folder))
        clone.run("python", "-m", "benchmarks.windows", "write", ".", str(COMPARED), str(WHOLE))
        os.sync()  # or the system would write 1 GB to disk during the measurements
        result = (
            f"{machine}\n\nA scene of {COMPARED:,} x {COMPARED:,} pixels:\n\n{compared(clone, given.steps)}\n\n"
            f"`python -m landcover predict` on {WHOLE:,} x {WHOLE:,} pixels:\n\n{whole(clone, given.steps)}"
        )
    page = f"`python -m benchmarks.scene --steps {' '.join(map(str, given.steps))}`\n\n{result}"
    print(page)
    if given.write:
        measure.write("scene", page)


if __name__ == "__main__":
    main()

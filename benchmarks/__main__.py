"""Time the pipeline and the notebook's method side by side on the same archive.

    python -m benchmarks [--repetitions 3] [--write]

prints medians as a Markdown table; with --write it puts them into benchmarks/README.md, which explains each row. It
works in a temporary clone of the working tree and leaves the workspace, its cache and its lock unchanged.
"""

import argparse
import csv
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import yaml

from benchmarks import measure
from benchmarks.measure import Clone, figure, table
from landcover.environment import AVX2

EPOCH, FROM_TARBALL, EXPERIMENT, NOTHING = (
    "one epoch", "from tarball to report", "one experiment, `dvc exp run -S`", "nothing to do, `dvc repro`",
)  # fmt: skip
AT_LEAST = {EPOCH: 15, FROM_TARBALL: 4, EXPERIMENT: 5.5}  # times as fast as the notebook
AT_MOST = 1.25  # times as slow as the leanest loop
EPOCHS_IN_TURN = 5


class Comparison:
    """The seconds that each row took, for `notebook`, `pipeline` and, for an epoch, the `leanest` loop."""

    def __init__(self, folder: Path, epochs: int):
        self.folder, self.epochs, self.clone = folder, epochs, Clone(folder)
        self.seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.apart = 0.0  # the largest difference between the pipeline's losses and the notebook's in ten epochs
        self.clone.set({"train.epochs": epochs})
        self.clone.run("dvc", "repro")  # untimed, so that bytecode, the font cache and the file pages are warm for both
        self.clone.commit()
        (archive,) = yaml.safe_load((self.clone.folder / "dvc.yaml").read_text())["stages"]["download"]["outs"]
        self.archive = self.clone.folder / archive

    def set_aside(self, folder: Path) -> None:
        """Move a folder out of the way until the end: ext4 creates files slowly for minutes after many were deleted."""
        folder.rename(Path(tempfile.mkdtemp(dir=self.folder)) / folder.name)

    def measure(self, number: int) -> None:
        """Measure each row once."""
        self.from_tarball_to_report()
        self.nothing_to_do()
        self.one_experiment(0.0002 + number / 10_000)  # a new value each time, or DVC restores the run
        self.one_epoch()
        self.set_aside(self.folder / "unpacked")

    def notebook(self, row: str) -> str:
        """The notebook's output: a line of figures per epoch, and one of the test split."""
        command = ("python", "-m", "benchmarks.notebook", self.archive, self.folder / "unpacked")
        cost = self.clone.run(*command, "--epochs", str(self.epochs))
        self.seconds[row, "notebook"].append(cost.seconds)
        return cost.output

    def pipeline(self, row: str, *command: str) -> None:
        self.seconds[row, "pipeline"].append(self.clone.run(*command).seconds)

    def from_tarball_to_report(self) -> None:
        *theirs, _ = map(json.loads, self.notebook(FROM_TARBALL).splitlines())
        # The state after the download: nothing else exists or can be restored.
        self.set_aside(self.clone.folder / "data" / "patches")
        self.clone.remove("data/tensors", "reports", ".dvc/cache")
        self.pipeline(FROM_TARBALL, "dvc", "repro", "--force", "--downstream", "unpack")
        with open(self.clone.folder / "reports" / "history.csv") as file:
            for our, their in zip(csv.DictReader(file), theirs[:10], strict=False):
                apart = (abs(float(our[column]) - their[column]) for column in ("train_loss", "val_loss"))
                self.apart = max(self.apart, *apart)

    def nothing_to_do(self) -> None:
        self.clone.run("dvc", "repro")  # untimed: the archive goes back into the cache, which was emptied
        self.pipeline(NOTHING, "dvc", "repro")

    def one_experiment(self, learning_rate: float) -> None:
        self.notebook(EXPERIMENT)
        self.pipeline(EXPERIMENT, "dvc", "exp", "run", "-S", f"train.learning_rate={learning_rate:g}")
        self.clone.run("git", "checkout", "--quiet", ".")
        self.clone.run("dvc", "checkout")

    def one_epoch(self) -> None:
        (root,) = (self.folder / "unpacked").iterdir()
        command = ("python", "-m", "benchmarks.epochs", root, "data/tensors", str(min(EPOCHS_IN_TURN, self.epochs)))
        output = self.clone.run(*command, variables=AVX2).output  # all three with the pipeline's set
        for whose, seconds in json.loads(output).items():
            self.seconds[EPOCH, whose] += seconds

    def text(self) -> str:
        """The medians, in Markdown."""
        median = {key: statistics.median(seconds) for key, seconds in self.seconds.items()}
        rows = []
        for row in (EPOCH, FROM_TARBALL, EXPERIMENT, NOTHING):
            theirs, ours = median.get((row, "notebook")), median[row, "pipeline"]
            rows.append(
                {
                    "": row,
                    "notebook, s": figure(theirs),
                    "pipeline, s": figure(ours),
                    "notebook / pipeline": figure(theirs and theirs / ours),
                    "target, at least": str(AT_LEAST.get(row, "-")),
                }
            )
        ours, leanest = median[EPOCH, "pipeline"], median[EPOCH, "leanest"]
        return (
            f"{table(rows)}\n\nThe leanest loop takes {figure(leanest)} s an epoch, and the pipeline's "
            f"{figure(ours / leanest)} times as long; the target is at most {AT_MOST}.\n\n"
            f"In the first {min(10, self.epochs)} epochs, the largest difference of a loss from the notebook's is "
            f"{self.apart:.2g}."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/README.md")
    given = parser.parse_args()
    machine = measure.machine()
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(Path(folder), given.epochs)
        for number in range(given.repetitions):
            comparison.measure(number)
    command = f"python -m benchmarks --repetitions {given.repetitions} --epochs {given.epochs}"
    measure.publish("comparison", command, f"{machine}\n\n{comparison.text()}", write_it=given.write)


if __name__ == "__main__":
    main()

"""Time the pipeline and the notebook's method side by side on the same archive.

    python -m benchmarks [--repetitions 3] [--write]

prints medians as a Markdown table; with --write it puts them into benchmarks/README.md, which explains each row. It
works in a temporary clone of the working tree and leaves the workspace, its cache and its lock unchanged.
"""

import argparse
import csv
import json
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from benchmarks import measure
from benchmarks.measure import MIB, Clone, Cost, figure, table
from landcover.environment import AVX2

UNPACK_ALL = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='data')"
PIECE = MIB
EPOCHS_IN_TURN = 5

EXPERIMENT, EDIT = "one experiment, `dvc exp run -S`", "one experiment, params.yaml and `dvc repro`"
FROM_TARBALL, NOTHING = "from tarball to report", "nothing to do, `dvc repro`"


def read_raw(paths: Iterable[Path]) -> None:
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(PIECE):
                pass


def write_raw(sizes: Iterable[int], folder: Path) -> None:
    folder.mkdir()
    for number, size in enumerate(sizes):
        with open(folder / str(number), "wb", buffering=0) as file:
            for start in range(0, size, PIECE):
                file.write(bytes(min(PIECE, size - start)))


def seconds(action: Callable[..., None], *arguments: Any) -> float:
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start


class Comparison:
    """The measurements of each row, for `peer`, `ours` and `floor`."""

    def __init__(self, folder: Path, epochs: int):
        self.clone, self.scratch, self.epochs = Clone(folder), folder, epochs
        self.all_epochs = f"{epochs} epochs"
        self.times: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.memory: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.apart = 0.0  # the largest difference between our losses and the notebook's in the first ten epochs
        self.stages = list(yaml.safe_load((self.clone.folder / "dvc.yaml").read_text())["stages"])
        self.imports_torch: dict[str, bool] = {}
        self.rates = iter(number / 10_000 for number in range(2, 1000))  # a new one each time, or DVC restores the run

        # One untimed run, so that bytecode, the font cache and the file pages are warm for both.
        self.clone.set({"train.epochs": epochs})
        self.clone.commit()
        self.clone.run("dvc", "repro", "download")
        self.archive = self.clone.folder / "data" / "archive"
        self.lock = (self.clone.folder / "dvc.lock").read_text()
        self.clone.run("dvc", "repro")
        self.unpacked = self.scratch / "unpacked"
        self.clone.run("python", "-c", UNPACK_ALL, self.archive, self.unpacked)

    def note(self, row: str, whose: str, cost: Cost | float) -> None:
        if isinstance(cost, Cost):
            self.memory[row, whose].append(cost.rss)
            cost = cost.seconds
        self.times[row, whose].append(cost)

    def notebook(self, unpacked: Path) -> Cost:
        return self.clone.run(
            "python", "-m", "benchmarks.notebook", self.archive, unpacked, "--epochs", str(self.epochs)
        )

    def set_aside(self, *folders: Path) -> None:
        """Move folders out of the way until the end: ext4 creates files slowly for minutes after many were deleted."""
        for folder in folders:
            folder.rename(Path(tempfile.mkdtemp(dir=self.scratch)) / folder.name)

    def repeat(self) -> None:
        """Measure each row once. The stages run in the order of the pipeline, so that each finds what it reads."""
        self.unpack()
        self.preprocess()
        self.epoch_by_epoch()
        self.train_and_evaluate()
        self.from_tarball_to_report()
        self.change_parameters()
        self.imports()

    def unpack(self) -> None:
        folder = self.scratch / "again"
        self.note("unpack", "peer", self.clone.run("python", "-c", UNPACK_ALL, self.archive, folder))
        self.set_aside(folder, self.clone.folder / "data" / "patches")
        self.note("unpack", "ours", self.clone.stage("unpack"))
        self.note("unpack", "floor", seconds(read_raw, [self.archive]))

    def preprocess(self) -> None:
        folder = self.scratch / "tensors"
        root = next(self.unpacked.iterdir())
        self.note("preprocess", "peer", self.clone.run("python", "-m", "benchmarks.serial", root, folder))
        shutil.rmtree(folder)
        self.note("preprocess", "ours", self.clone.stage("preprocess"))
        tiles = [path for path in (self.clone.folder / "data" / "patches").rglob("*") if path.is_file()]
        sizes = [path.stat().st_size for path in (self.clone.folder / "data" / "tensors").iterdir()]
        self.note("preprocess", "floor", seconds(read_raw, tiles) + seconds(write_raw, sizes, folder))
        shutil.rmtree(folder)

    def epoch_by_epoch(self) -> None:
        counts = str(min(EPOCHS_IN_TURN, self.epochs)), str(self.epochs)
        root = next(self.unpacked.iterdir())
        command = ("python", "-m", "benchmarks.epochs", root, "data/tensors", *counts)
        found = json.loads(self.clone.run(*command, variables=AVX2).output)  # all three with the pipeline's set
        for whose in ("peer", "ours", "floor"):
            self.times["one epoch", whose] += found[whose]
        for row in (self.all_epochs, EXPERIMENT, EDIT):
            self.note(row, "floor", found["all"])
        self.note("evaluate", "floor", found["test"])

    def train_and_evaluate(self) -> None:
        done = self.notebook(self.unpacked)
        for row in (EXPERIMENT, EDIT):
            self.note(row, "peer", done)
        *theirs, test = map(json.loads, done.output.splitlines())
        self.note("evaluate", "peer", test["seconds"]["test"])
        self.note(self.all_epochs, "peer", done._replace(seconds=done.seconds - test["seconds"]["test"]))
        self.note(self.all_epochs, "ours", self.clone.stage("train"))
        self.clone.stage("repeat")  # without a seed; evaluate reads what it writes
        self.note("evaluate", "ours", self.clone.stage("evaluate"))
        with open(self.clone.folder / "reports" / "history.csv") as file:
            for our, their in zip(csv.DictReader(file), theirs[:10], strict=False):
                apart = (abs(float(our[column]) - their[column]) for column in ("train_loss", "val_loss"))
                self.apart = max(self.apart, *apart)

    def from_tarball_to_report(self) -> None:
        folder = self.scratch / "again"
        self.note(FROM_TARBALL, "peer", self.notebook(folder))
        # The state after the download: nothing else exists or can be restored.
        self.set_aside(folder, self.clone.folder / "data" / "patches")
        self.clone.remove("data/tensors", "models/model.safetensors", "reports", ".dvc/cache")
        (self.clone.folder / "dvc.lock").write_text(self.lock)
        self.clone.run("dvc", "commit", "--force", "download")
        self.note(FROM_TARBALL, "ours", self.clone.run("dvc", "repro"))
        self.clone.commit()

    def change_parameters(self) -> None:
        change = f"train.learning_rate={next(self.rates)}"
        self.note(EXPERIMENT, "ours", self.clone.run("dvc", "exp", "run", "-S", change))
        self.restore()
        self.clone.set({"train.learning_rate": next(self.rates)})
        self.note(EDIT, "ours", self.clone.run("dvc", "repro"))
        self.note(NOTHING, "ours", self.clone.run("dvc", "repro"))
        self.note(NOTHING, "floor", self.clone.run("python", "-c", "import dvc.repo"))
        self.restore()

    def restore(self) -> None:
        self.clone.run("git", "checkout", "--quiet", ".")
        self.clone.run("dvc", "checkout")

    def imports(self) -> None:
        for name in ("pass", "import torch"):
            self.note(name, "floor", self.clone.run("python", "-c", name))
        for verb in self.stages:
            done = self.clone.run("python", "-c", f"import sys, stages.{verb}; print('torch' in sys.modules)")
            self.note(f"import {verb}", "ours", done)
            self.imports_torch[verb] = done.output.strip() == "True"

    def text(self) -> str:
        """The medians, in Markdown."""

        def median(row: str, whose: str) -> float | None:
            return statistics.median(self.times[row, whose]) if self.times[row, whose] else None

        parts = ("unpack", "preprocess", self.all_epochs, "evaluate")
        self.times[FROM_TARBALL, "floor"] = [sum(median(row, "floor") for row in parts)]
        rows = []
        for row in (
            "unpack", "preprocess", "one epoch", self.all_epochs, "evaluate", FROM_TARBALL, EXPERIMENT, EDIT, NOTHING,
        ):  # fmt: skip
            peer, ours, floor = (median(row, whose) for whose in ("peer", "ours", "floor"))
            rss = [
                statistics.median(self.memory[row, whose]) / MIB if self.memory[row, whose] else None
                for whose in ("peer", "ours")
            ]
            rows.append(
                {
                    "": row,
                    "notebook, s": figure(peer),
                    "pipeline, s": figure(ours),
                    "notebook / pipeline": figure(peer and peer / ours),
                    "floor, s": figure(floor),
                    "pipeline / floor": figure(ours / floor),
                    "notebook, MiB": figure(rss[0]),
                    "pipeline, MiB": figure(rss[1]),
                }
            )
        nothing, torch = median("pass", "floor"), median("import torch", "floor")
        imports = [
            {
                "import": verb,
                "s": figure(median(f"import {verb}", "ours")),
                "floor, s": figure(torch if needs_torch else nothing),
                "floor is": "`import torch`" if needs_torch else "`pass`",
            }
            for verb, needs_torch in self.imports_torch.items()
        ]
        return "\n\n".join(
            (
                table(rows),
                f"In the first {min(10, self.epochs)} epochs, the largest difference of a loss from the notebook's is "
                f"{self.apart:.2g}.",
                table(imports),
            )
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/README.md")
    given = parser.parse_args()
    machine = measure.machine()
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(Path(folder), given.epochs)
        for _ in range(given.repetitions):
            comparison.repeat()
    command = f"`python -m benchmarks --repetitions {given.repetitions} --epochs {given.epochs}`"
    text = f"{command}\n\n{machine}\n\n{comparison.text()}"
    print(text)
    if given.write:
        measure.write("comparison", text)


if __name__ == "__main__":
    main()

"""Measure how time and memory grow with the number of patches, and estimate the cost of the full ben-ge.

    python -m benchmarks.growth [--patches 800 8000 40000] [--folder FOLDER] [--write]

prints Markdown; with --write it puts it into benchmarks/README.md. It works in a temporary folder, below FOLDER if one
is named, on 13 GB of disk for 40,000 patches. Memory is read from /proc, so it runs on Linux only.

The first 8,000 patches are the sample's own. Further patches are hard links to these under new ids: in the same
acquisition, in columns beyond the sample's grid; the tables repeat their labels.
"""

import argparse
import csv
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks import measure
from benchmarks.measure import GB, MIB, Clone, Cost, figure, table

DISTINCT = 8_000
GRID = 90  # columns of patches in an acquisition of the sample
NAME = "ben-ge-grown"
EPOCHS = 2
WRITE_SAMPLE = (
    "import pathlib; from landcover.synthetic import writer; writer.write_sample(pathlib.Path('{}'), patches={})"
)
FULL, FULL_EPOCHS, BANDS = 590_326, 30, 4  # the full ben-ge, trained as in the notebook


def renamed(patch_id: str, copy: int) -> str:
    """The id of a patch's copy, shifted by the width of the grid; copy 0 is the patch itself."""
    acquisition, column, row = patch_id.rsplit("_", 2)
    return f"{acquisition}_{int(column) + copy * GRID}_{row}"


def grow(source: Path, folder: Path, patches: int) -> None:
    """Write a dataset of `patches` patches: links to the source's tiles, and tables that repeat its rows."""
    root = folder / NAME
    root.mkdir(parents=True)
    for name in ("meta", "esaworldcover"):
        with open(source / f"{source.name}_{name}.csv", newline="") as file:
            header, *rows = csv.reader(file)
        with open(root / f"{NAME}_{name}.csv", "w", newline="") as file:
            grown = csv.writer(file)
            grown.writerow(header)
            for number in range(patches):
                copy, row = divmod(number, len(rows))
                grown.writerow([renamed(rows[row][0], copy), *rows[row][1:]])
    # The tables hold the patches in the same order, and the first column of both is the patch id.
    for number in range(patches):
        copy, row = divmod(number, len(rows))
        old, new = rows[row][0], renamed(rows[row][0], copy)
        (root / "sentinel-2" / new).mkdir(parents=True)
        for tile in (source / "sentinel-2" / old).iterdir():
            os.link(tile, root / "sentinel-2" / new / tile.name.replace(old, new))


class Row(NamedTuple):
    what: str
    patches: int
    cost: Cost


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure_all(clone: Clone, sizes: list[int]) -> tuple[list[Row], dict[str, float]]:
    """One row per stage and size, and the bytes per patch in the archive, in tiles and in tensors."""
    data = clone.folder / "data"
    distinct = min(max(sizes), DISTINCT)
    clone.set({"train.epochs": EPOCHS})
    clone.run("python", "-c", WRITE_SAMPLE.format("data/archive", distinct))
    rows = [Row("unpack", distinct, clone.stage("unpack", watch=True))]
    sample = clone.folder / "sample"
    (data / "patches").rename(sample)
    (source,) = (path for path in sample.iterdir() if path.is_dir())
    space = {"archive": (data / "archive").stat().st_size / distinct, "patches": bytes_of(source) / distinct}
    clone.remove("data/archive")

    resident = clone.params()["runtime"]["resident_gigabytes"]
    for patches in sizes:
        grow(source, data / "patches", patches)
        held = patches * 150 // 800
        split = {"method": "order", "train": patches - 2 * held, "val": held, "test": held}
        clone.set({"dataset": NAME, f"datasets.{NAME}": {"source": "data/patches", "split": split}})
        rows.append(Row("preprocess", patches, clone.stage("preprocess", watch=True)))
        space["tensors"] = bytes_of(data / "tensors") / patches
        clone.remove("data/patches")
        for gigabytes, where in ((resident, ""), (0, ", from disk")):
            clone.set({"runtime.resident_gigabytes": gigabytes})
            rows.append(Row(f"train{where}", patches, clone.stage("train", watch=True)))
        for needed in ("baseline", "repeat"):  # what evaluate reads, of these patches
            clone.stage(needed)
        rows.append(Row("evaluate", patches, clone.stage("evaluate", watch=True)))
        clone.remove("data/tensors")
    return rows, space


def full(rows: list[Row], space: dict[str, float]) -> str:
    """The cost of the full ben-ge: time in proportion, memory along the line through the two largest sizes."""

    def memory(measured: list[Row]) -> float:
        """GB of anonymous memory, of all processes."""
        before, last = measured[-2:] if len(measured) > 1 else measured * 2
        slope = max(0, last.cost.total - before.cost.total) / max(1, last.patches - before.patches)
        return (last.cost.total + slope * (FULL - last.patches)) / GB

    lines = []
    for what in ("unpack", "preprocess", "train, from disk", "evaluate"):
        measured = [row for row in rows if row.what == what]
        epochs = FULL_EPOCHS / EPOCHS if what.startswith("train") else 1
        hours = measured[-1].cost.seconds * epochs * FULL / measured[-1].patches / 3600
        name = what.replace("train", f"train, {FULL_EPOCHS} epochs")
        lines.append({"": name, "hours": figure(hours), "memory, GB": figure(memory(measured))})
    size = {name: figure(value * FULL / GB) for name, value in space.items()}
    return (
        f"Linear extrapolation to the full ben-ge, {FULL:,} patches:\n\n{table(lines)}\n\n"
        f"On disk: {size['archive']} GB of archive, {size['patches']} GB of patches in {FULL * BANDS:,} files and "
        f"{size['tensors']} GB of tensors; archive and tensors twice if DVC's cache copies instead of linking. If an "
        "epoch reads more than the page cache holds, the disk may limit the speed."
    )


def text(rows: list[Row], space: dict[str, float]) -> str:
    order = list(dict.fromkeys(row.what for row in rows))
    measured = [
        {
            "": row.what,
            "patches": f"{row.patches:,}",
            "s": figure(row.cost.seconds),
            "s / 1,000 patches": figure(row.cost.seconds / row.patches * 1000),
            "peak RSS, MiB": figure(row.cost.rss / MIB),
            "peak anonymous, MiB": figure(row.cost.anonymous / MIB),
            "anonymous, all processes, MiB": figure(row.cost.total / MIB),
        }
        for row in sorted(rows, key=lambda row: order.index(row.what))
    ]
    return f"{table(measured)}\n\n{full(rows, space)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--patches", type=int, nargs="+", default=[800, 8_000, 40_000])
    parser.add_argument("--folder", type=Path, help="working folder; default: the system's temporary folder")
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/README.md")
    given = parser.parse_args()
    sizes = sorted(given.patches)
    machine = measure.machine()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        result = text(*measure_all(Clone(Path(folder)), sizes))
    command = f"python -m benchmarks.growth --patches {' '.join(map(str, sizes))}"
    measure.publish("growth", command, f"{machine}\n\n{result}", write_it=given.write)


if __name__ == "__main__":
    main()

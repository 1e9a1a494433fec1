"""Measure what more inputs cost, from the archive to tensors.

    python -m benchmarks.inputs [--repetitions 3] [--write]

prints Markdown, and with --write puts it into benchmarks/README.md. It works in a temporary clone of the working tree.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks import measure
from benchmarks.measure import GB, MIB, Clone, figure, table
from landcover.constants import BANDS, METRES_PER_PIXEL, PATCH_SIZE, RADAR_BANDS

MB = GB / 1000
CONTEXT = ["climate_zone", "season", "weather"]
TWELVE = list(BANDS)
PATCHES = 800  # of the default dataset
SELECTIONS = {
    "four bands": {},
    "twelve bands": {"bands": TWELVE},
    "radar": {"inputs": ["sentinel-1"]},
    "four bands, radar": {"inputs": ["sentinel-2", "sentinel-1"]},
    "four bands, elevation": {"inputs": ["sentinel-2", "elevation"]},
    "everything, four bands": {"inputs": ["sentinel-2", "sentinel-1", "elevation", *CONTEXT]},
    "everything, twelve bands": {"inputs": ["sentinel-2", "sentinel-1", "elevation", *CONTEXT], "bands": TWELVE},
}


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def pixel_bytes(params: dict[str, Any]) -> int:
    """Bytes of all pixels, uint16 for bands, float32 for radar and int16 for elevation."""
    inputs, side = params["inputs"], PATCH_SIZE * METRES_PER_PIXEL
    bands = sum(2 * (side // BANDS[band]) ** 2 for band in params["bands"]) if "sentinel-2" in inputs else 0
    others = PATCH_SIZE**2 * (len(RADAR_BANDS) * 4 * ("sentinel-1" in inputs) + 2 * ("elevation" in inputs))
    return PATCHES * (bands + others)


def rows(clone: Clone, repetitions: int) -> list[dict[str, str]]:
    """One row per selection; medians of the times, of runs in turn."""
    default = clone.params()
    clone.stage("download")
    seconds, costs = {name: [] for name in SELECTIONS}, {}
    for _ in range(repetitions):
        for name, changes in SELECTIONS.items():
            (clone.folder / "params.yaml").write_text(yaml.safe_dump(default | changes, sort_keys=False))
            clone.stage("unpack")
            cost = clone.stage("preprocess", watch=True)
            seconds[name].append(cost.seconds)
            costs[name] = cost, size(clone.folder / "data" / "patches"), size(clone.folder / "data" / "tensors")
    found = []
    for name, (cost, unpacked, tensors) in costs.items():
        pixels, median = pixel_bytes(default | SELECTIONS[name]), statistics.median(seconds[name])
        figures = {
            "unpacked, MB": unpacked / MB,
            "pixels, MB": pixels / MB,
            "tensors, MB": tensors / MB,
            "preprocess, s": median,
            "pixels, MB/s": pixels / MB / median,
            "unpacked, MB/s": unpacked / MB / median,
            "peak anonymous, MiB": cost.anonymous / MIB,
        }
        found.append({"inputs": name} | {title: figure(value) for title, value in figures.items()})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/README.md")
    given = parser.parse_args()
    machine = measure.machine()
    with tempfile.TemporaryDirectory() as folder:
        found = table(rows(Clone(Path(folder)), given.repetitions))
    page = f"`python -m benchmarks.inputs --repetitions {given.repetitions}`\n\n{machine}\n\n{found}"
    print(page)
    if given.write:
        measure.write("inputs", page)


if __name__ == "__main__":
    main()

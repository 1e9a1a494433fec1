"""Measure the cost of mapping a scene, compared with a batched loop over its windows.

    python -m benchmarks.scene [--steps 12 120] [--folder FOLDER] [--write]

prints Markdown, and with --write puts it into benchmarks/README.md. It works in a temporary folder, below FOLDER if one
is given, and needs 1 GB of disk. The networks are those of experiments in experiments.yaml, with initial weights.

The loop reads a row of windows at a time, and applies the network to batches of 256 windows, channels last, for enough
evenly spaced rows.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
import yaml
from rasterio import Affine
from rasterio.windows import Window

from benchmarks import measure
from benchmarks.measure import MIB, Clone, figure, table
from landcover import config
from landcover.config import Runtime
from landcover.constants import CLASSES, PATCH_SIZE
from landcover.data.conversion import to_reflectance
from landcover.environment import AVX2
from landcover.mapping.maps import predict
from landcover.mapping.predictor import Predictor
from landcover.mapping.scenes import open_scene
from landcover.models.metadata import Inputs, Metadata
from landcover.models.model import Model
from landcover.models.registry import Architecture, build
from landcover.models.weights import save
from landcover.synthetic.scene import SCENE, write_scene
from landcover.training.determinism import set_deterministic

COMPARED, WHOLE = 2_745, 10_980  # pixels a side: a sixteenth of a product, and all of it
NETWORKS = {  # an experiment, and what is changed in it
    "the notebook's": ("notebook", {}),
    "strong": ("strong", {}),
    "strong, unpadded": ("strong", {"model.cnn.padding": "valid"}),
    "residual, one orientation": ("residual", {"model.symmetries": False}),
}
REPETITIONS, BATCH = 3, 256
LOOPED = 1000  # windows, at least


def write_scenes(folder: Path, sizes: list[int], bands: list[str]) -> None:
    """Write <size>.tif: the synthetic scene, mirrored repeatedly, as scenes are published."""
    with tempfile.TemporaryDirectory() as place:
        write_scene(Path(place))
        with rasterio.open(Path(place) / SCENE) as raster:
            numbers, crs = raster.read([raster.descriptions.index(band) + 1 for band in bands]), raster.crs
    for size in sizes:
        side = numbers.shape[1]
        pixels = np.pad(numbers, ((0, 0), (0, size - side), (0, size - side)), mode="symmetric")
        profile = {"driver": "COG", "count": len(bands), "dtype": "uint16", "height": size, "width": size, "crs": crs}
        profile |= {"blocksize": 512, "compress": "deflate", "predictor": "yes"}
        with rasterio.open(folder / f"{size}.tif", "w", transform=Affine(10, 0, 6e5, 0, -10, 5e6), **profile) as raster:
            raster.descriptions = tuple(bands)
            raster.write(pixels)


def write_models(folder: Path, params: dict) -> None:
    """Write a file for each of NETWORKS."""
    experiments = yaml.safe_load(Path("experiments.yaml").read_text())["network"]
    inputs = Inputs(tuple(params["bands"]), CLASSES, PATCH_SIZE)
    for name, (experiment, changes) in NETWORKS.items():
        model = copy.deepcopy(params["model"])
        for key, value in (experiments[experiment] | changes).items():
            section, *family, last = key.split(".")
            if section == "model":
                (model[family[0]] if family else model)[last] = value
        architecture = Architecture.model_validate(model)
        torch.manual_seed(0)
        network = build(architecture, inputs)
        metadata = Metadata(architecture=architecture, inputs=inputs, parameters=network.parameter_count)
        save(folder / f"{name}.safetensors", network, metadata)


@torch.inference_mode()
def loop(scene: Path, network: Model, step: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Probabilities (N, columns, K) of some rows of windows, which rows they are, and how many rows there are."""
    size = network.inputs.patch_size
    with rasterio.open(scene) as raster:
        rows, columns = ((length - size) // step + 1 for length in raster.shape)
        chosen = np.linspace(0, rows - 1, min(rows, -(-LOOPED // columns))).astype(int)
        probabilities = []
        for row in chosen:
            pixels = torch.from_numpy(to_reflectance(raster.read(window=Window(0, row * step, raster.width, size))))
            for windows in pixels.unfold(2, size, step).permute(2, 0, 1, 3).split(BATCH):
                batch = windows.contiguous(memory_format=torch.channels_last)
                probabilities.append(network(batch).softmax(1).numpy())
    return np.concatenate(probabilities).reshape(len(chosen), columns, -1), chosen, rows


def compare(scene: Path, model: Path, step: int) -> dict[str, float]:
    """Seconds of the loop, extrapolated to all windows, and of the pipeline, and their largest difference."""
    runtime = Runtime(**config.load()["runtime"])
    predictor, cpu = Predictor.load(model), torch.device("cpu")
    set_deterministic(runtime.threads, cpu)
    start = time.perf_counter()
    theirs, chosen, rows = loop(scene, predictor.networks[0], step)
    seconds = (time.perf_counter() - start) * rows / len(chosen)
    set_deterministic(1, cpu)  # as in the command: tiles are computed in parallel
    start = time.perf_counter()
    ours = predict(open_scene(str(scene), predictor.bands), predictor, step, runtime, keep_probabilities=True)
    return {
        "windows": ours.labels.size,
        "looped": theirs.shape[0] * theirs.shape[1],
        "loop": seconds,
        "ours": time.perf_counter() - start,
        "difference": float(np.abs(ours.probabilities[:, chosen].transpose(1, 2, 0) - theirs).max()),
    }


def compared(clone: Clone, steps: list[int], repetitions: int) -> str:
    """Loop and pipeline in turn, in one process that has imported everything; medians."""
    rows, difference = [], 0.0
    for name in NETWORKS:
        for step in steps:
            command = ("compare", f"{COMPARED}.tif", f"{name}.safetensors", str(step), str(repetitions))
            runs = json.loads(clone.run("python", "-m", "benchmarks.scene", *command, variables=AVX2).output)
            theirs, ours = (statistics.median(run[whose] for run in runs) for whose in ("loop", "ours"))
            difference = max(difference, *(run["difference"] for run in runs))
            rows.append(
                {
                    "network": name,
                    "step": step,
                    "windows": f"{runs[0]['windows']:,}",
                    "looped over": f"{runs[0]['looped']:,}",
                    "loop, s": figure(theirs),
                    "pipeline, s": figure(ours),
                    "loop / pipeline": figure(theirs / ours),
                }
            )
    return f"{table(rows)}\n\nNo probability from the pipeline differs from the loop's by more than {difference:.2g}."


def whole(clone: Clone, steps: list[int]) -> str:
    """The whole command, with the notebook's network."""
    rows = []
    for step in steps:
        options = ("--model", f"{next(iter(NETWORKS))}.safetensors", "--step", str(step))
        cost = clone.run("python", "-m", "landcover", "predict", f"{WHOLE}.tif", *options, watch=True)
        clone.remove("maps")
        figures = {"s": cost.seconds, "peak RSS, MiB": cost.rss / MIB, "peak anonymous, MiB": cost.anonymous / MIB}
        rows.append({"step": str(step)} | {name: figure(value) for name, value in figures.items()})
    return table(rows)


def main() -> None:
    match sys.argv[1:]:
        case ["prepare"]:
            params = config.load()
            write_scenes(Path(), [COMPARED, WHOLE], params["bands"])
            write_models(Path(), params)
            return
        case ["compare", scene, model, step, repetitions]:
            print(json.dumps([compare(Path(scene), Path(model), int(step)) for _ in range(int(repetitions))]))
            return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[12, 120])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument(
        "--folder", type=Path, help="work below this folder; default: the system's folder for temporary files"
    )
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/README.md")
    options = parser.parse_args()
    machine = measure.machine()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        clone = Clone(Path(folder))
        clone.run("python", "-m", "benchmarks.scene", "prepare")
        os.sync()  # or the system would write 1 GB to disk during the measurements
        result = (
            f"{machine}\n\nA scene of {COMPARED:,} x {COMPARED:,} pixels:\n\n"
            f"{compared(clone, options.steps, options.repetitions)}\n\n"
            f"`python -m landcover predict` on {WHOLE:,} x {WHOLE:,} pixels:\n\n{whole(clone, options.steps)}"
        )
    command = f"python -m benchmarks.scene --steps {' '.join(map(str, options.steps))}"
    command += f" --repetitions {options.repetitions}"
    measure.publish("scene", command, result, write_it=options.write)


if __name__ == "__main__":
    main()

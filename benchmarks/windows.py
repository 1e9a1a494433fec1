"""Slide windows over a scene with a plain loop and with the pipeline, in turn, in one process.

    python -m benchmarks.windows write FOLDER SIZE ...         scenes of SIZE x SIZE pixels, and an untrained model
    python -m benchmarks.windows compare SCENE MODEL STEP ...  prints JSON

The loop opens the scene once. It reads one window after another with rasterio, and applies the network to it. If the
step is smaller than a window, it does so for some evenly spaced rows. `python -m benchmarks.scene` runs both.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio import Affine
from rasterio.windows import Window

from landcover import config
from landcover.constants import CLASSES, PATCH_SIZE
from landcover.data.conversion import to_reflectance
from landcover.mapping.maps import predict
from landcover.mapping.models import Model, load_model
from landcover.mapping.scenes import open_scene
from landcover.models.cnn import Network, save
from landcover.synthetic.scene import SCENE, write_scene
from landcover.training.determinism import set_deterministic

REPETITIONS = 3
LOOPED = 2000  # windows, at least


def write(folder: Path, sizes: list[int]) -> None:
    """Write <size>.tif, the synthetic scene mirrored repeatedly, as scenes are published, and a model."""
    chosen = config.check(config.load())
    with tempfile.TemporaryDirectory() as place:
        write_scene(Path(place))
        with rasterio.open(Path(place) / SCENE) as raster:
            bands = [raster.descriptions.index(band) + 1 for band in chosen["bands"]]
            numbers, crs = raster.read(bands), raster.crs
    for size in sizes:
        side = numbers.shape[1]
        pixels = np.pad(numbers, ((0, 0), (0, size - side), (0, size - side)), mode="symmetric")
        profile = {"driver": "COG", "count": len(bands), "dtype": "uint16", "height": size, "width": size, "crs": crs}
        profile |= {"blocksize": 512, "compress": "deflate", "predictor": "yes"}
        with rasterio.open(folder / f"{size}.tif", "w", transform=Affine(10, 0, 6e5, 0, -10, 5e6), **profile) as raster:
            raster.descriptions = tuple(chosen["bands"])
            raster.write(pixels)
    torch.manual_seed(0)
    network = Network(chosen["model"], chosen["bands"], len(CLASSES))
    facts = {"architecture": chosen["model"].model_dump(), "bands": chosen["bands"], "classes": CLASSES}
    save(folder / "model.safetensors", network, facts | {"scale": {}, "parameters": 0, "epochs": 0})


def loop(scene: Path, network: Network, step: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Probabilities (N, columns, K) of some rows of windows, which rows they are, and how many rows there are."""
    with rasterio.open(scene) as raster, torch.inference_mode():
        rows, columns = ((length - PATCH_SIZE) // step + 1 for length in raster.shape)
        chosen = np.linspace(0, rows - 1, min(rows, -(-LOOPED // columns))).astype(int)
        found = np.empty((len(chosen), columns, len(CLASSES)), np.float32)
        for place, row in enumerate(chosen):
            for column in range(columns):
                numbers = raster.read(window=Window(column * step, row * step, PATCH_SIZE, PATCH_SIZE))
                images = torch.from_numpy(to_reflectance(numbers))[None]
                found[place, column] = network(images).softmax(1)[0].numpy()
    return found, chosen, rows


def compare(scene: Path, model: Model, step: int) -> dict[str, float]:
    """Seconds of the loop, extrapolated to all windows, and of the pipeline, and their largest difference."""
    runtime = config.check(config.load())["runtime"]
    cpu = torch.device("cpu")
    set_deterministic(runtime.threads, cpu)
    start = time.perf_counter()
    theirs, chosen, rows = loop(scene, model.networks[0], step)
    seconds = (time.perf_counter() - start) * rows / len(chosen)
    set_deterministic(1, cpu)  # as in the command: strips are computed in parallel
    start = time.perf_counter()
    ours = predict(open_scene(str(scene), model.bands), model, step, runtime, keep_probabilities=True)
    return {
        "windows": ours.labels.size,
        "looped": theirs.shape[0] * theirs.shape[1],
        "loop": seconds,
        "ours": time.perf_counter() - start,
        "apart": float(np.abs(ours.probabilities[:, chosen].transpose(1, 2, 0) - theirs).max()),
    }


def main() -> None:
    verb, first, *others = sys.argv[1:]
    if verb == "write":
        write(Path(first), list(map(int, others)))
        return
    model = load_model(Path(others[0]))
    steps = list(map(int, others[1:]))
    print(json.dumps({step: [compare(Path(first), model, step) for _ in range(REPETITIONS)] for step in steps}))


if __name__ == "__main__":
    main()

"""Measure an epoch of some networks, compared with a minimal loop over the same network.

    python -m benchmarks.networks [--device cuda] [--epochs 3] [--write]

prints Markdown, and with --write puts it into benchmarks/README.md. The patches are random numbers, held on the device;
an epoch is a pass over 512 train and one over 128 val patches. Both sides train in turn, in one process.

The minimal loop is what a script does: the same network, channels last, fused Adam, losses and hits summed on the
device. It takes batches in order, without augmentation, and keeps nothing.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

from benchmarks import measure
from benchmarks.measure import figure, table
from landcover import config
from landcover.config import Runtime, Training
from landcover.constants import CLASSES
from landcover.device import choose_device
from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import Architecture, build
from landcover.training.determinism import set_deterministic
from landcover.training.loader import Patches
from landcover.training.loop import Run

TRAIN, VAL = 512, 128  # patches


class Case(NamedTuple):
    """A network and its patches."""

    name: str
    model: dict[str, object]  # what is changed in `model`
    bands: tuple[str, ...]
    size: int  # of patches, in pixels
    batch: int


RGB, FOUR = ("B04", "B03", "B02"), ("B02", "B03", "B04", "B08")
CASES = (
    Case("the notebook's, 120 px", {}, FOUR, 120, 8),
    Case("ResNet-18, 64 px", {"name": "standard_resnet"}, RGB, 64, 32),
)


def draw(case: Case, count: int, device: torch.device) -> Patches:
    images = torch.rand(count, len(case.bands), case.size, case.size)
    labels = torch.arange(count) % len(CLASSES)
    return Patches(images.to(device, memory_format=torch.channels_last), labels.to(device))


def minimal(network: Model, train: Patches, val: Patches, settings: Training) -> Iterator[None]:
    """Epochs of the minimal loop."""
    adam = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    kind, low = train.labels.device.type, settings.precision == "bfloat16"
    batches = [*zip(*(part.split(settings.batch_size) for part in (train.images, train.labels)), strict=True)]
    while True:
        sums = torch.zeros(2, device=train.labels.device)
        network.train()
        for images, labels in batches:
            with torch.autocast(kind, torch.bfloat16, enabled=low):
                logits = network(images)
            loss = F.cross_entropy(logits.float(), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
            sums[0] += loss.detach()
        network.eval()
        with torch.inference_mode():
            for images in val.images.split(settings.eval_batch_size):
                sums[1] += network(images).sum()
        sums.tolist()  # waits for the device
        yield


def compare(case: Case, settings: Training, device: torch.device, epochs: int) -> tuple[float, float]:
    """Median seconds of an epoch of the pipeline and of the minimal loop, after one that warms up."""
    inputs = Inputs(case.bands, CLASSES, case.size)
    architecture = Architecture.model_validate(config.load()["model"] | case.model)
    networks = [build(architecture, inputs).to(device, memory_format=torch.channels_last) for _ in range(2)]
    train, val = draw(case, TRAIN, device), draw(case, VAL, device)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(networks[0], train, val, settings)
        loops = run.epochs(Path(folder, "checkpoint.safetensors")), minimal(networks[1], train, val, settings)
        seconds: list[list[float]] = [[], []]
        for _ in range(epochs + 1):
            for loop, times in zip(loops, seconds, strict=True):
                start = time.perf_counter()
                next(loop)
                times.append(time.perf_counter() - start)
    ours, theirs = (statistics.median(times[1:]) for times in seconds)
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu, or cuda, where bfloat16 is measured, too; default: cpu")
    parser.add_argument("--epochs", type=int, default=5, help="measured of each; default: 5")
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/README.md")
    options = parser.parse_args()
    params = config.load()
    runtime, device = Runtime(**params["runtime"]), choose_device(options.device)
    set_deterministic(runtime.threads, device)
    rows, machine = [], measure.machine()
    for case in CASES:
        for precision in ("float32", "bfloat16") if device.type == "cuda" else ("float32",):
            changes = {"epochs": options.epochs + 1, "batch_size": case.batch, "precision": precision}
            ours, theirs = compare(case, Training(**params["train"] | changes), device, options.epochs)
            row = {"network": case.name, "batch": case.batch, "precision": precision}
            row |= {"pipeline, s": figure(ours), "minimal loop, s": figure(theirs)}
            rows.append(row | {"pipeline / loop": figure(ours / theirs)})
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    command = f"python -m benchmarks.networks --device {options.device} --epochs {options.epochs}"
    result = f"{machine}; on {on}\n\n{table(rows)}"
    measure.publish("networks", command, result, write_it=options.write)


if __name__ == "__main__":
    main()

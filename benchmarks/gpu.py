"""Time an epoch of the default training on a GPU, and what CUDA graphs would save.

    python -m benchmarks.gpu

Needs a GPU and the tensors of the default dataset: run `dvc repro preprocess` first. A graph records the kernels of a
training step once and then launches them together.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from landcover import config
from landcover.data import tensors
from landcover.training.determinism import set_deterministic
from landcover.training.inputs import make_network
from landcover.training.loader import load
from landcover.training.loop import Run

TENSORS = Path("data/tensors")
WARM_UP, EPOCHS = 2, 10


def milliseconds(action: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def epoch(chosen: dict, device: torch.device) -> float:
    """The median time of an epoch of the pipeline's loop, in milliseconds."""
    train, val = (load(tensors.load_split(TENSORS, split), device) for split in ("train", "val"))
    facts = tensors.load_split(TENSORS, "train")
    network = make_network(facts, chosen["model"], chosen["train"].seed, device)
    with tempfile.TemporaryDirectory() as folder:
        epochs = Run(network, train, val, chosen["train"]).epochs(Path(folder) / "checkpoint.safetensors")
        times = [milliseconds(lambda: next(epochs)) for _ in range(WARM_UP + EPOCHS)]
        epochs.close()
    return float(np.median(times[WARM_UP:]))


def train_pass(chosen: dict, device: torch.device, *, graph: bool) -> float:
    """The median time of a minimal loop over the full train batches, in milliseconds."""
    facts = tensors.load_split(TENSORS, "train")
    train, size = load(facts, device), chosen["train"].batch_size
    network = make_network(facts, chosen["model"], chosen["train"].seed, device)
    optimizer = torch.optim.Adam(network.parameters(), fused=True, capturable=True)
    whole = len(train.labels) // size * size
    batches = list(zip(train.images[:whole].split(size), train.labels[:whole].split(size), strict=True))
    images, labels = train.images[:size].clone(memory_format=torch.channels_last), train.labels[:size].clone()

    def learn() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()

    if graph:
        side = torch.cuda.Stream()  # a recording needs gradients and moments that exist already
        with torch.cuda.stream(side):
            learn()
        torch.cuda.current_stream().wait_stream(side)
        recording = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recording):
            learn()

    def go_through() -> None:
        for some, own in batches:
            images.copy_(some)
            labels.copy_(own)
            recording.replay() if graph else learn()

    return float(np.median([milliseconds(go_through) for _ in range(WARM_UP + EPOCHS)][WARM_UP:]))


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("error: there is no GPU that torch can use")
    chosen, gpu = config.check(config.load()), torch.device("cuda")
    set_deterministic(chosen["runtime"].threads, gpu)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"an epoch: {epoch(chosen, gpu):.0f} ms")
    print(f"a minimal loop over its full train batches: {train_pass(chosen, gpu, graph=False):.0f} ms")
    print(f"the same as a CUDA graph: {train_pass(chosen, gpu, graph=True):.0f} ms")


if __name__ == "__main__":
    main()

"""Time an epoch of the notebook's loop, of the pipeline's and of a minimal loop, in turn, in one process.

    python -m benchmarks.epochs PATCHES TENSORS IN_TURN ALL

PATCHES is the unpacked dataset's root, TENSORS the output of preprocess. An epoch is a pass over the train split and
one over the val split. IN_TURN epochs of each loop are run in turn, then ALL epochs of the minimal loop alone, and its
pass over the test split. Prints JSON; `python -m benchmarks` runs it.
"""

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.adam import adam

from benchmarks import notebook
from landcover import config
from landcover.data import tensors
from landcover.training.determinism import set_deterministic
from landcover.training.inputs import make_network
from landcover.training.loader import Patches, load
from landcover.training.loop import Run

THREADS = 2
CPU = torch.device("cpu")


class Lean:
    """The notebook's arithmetic on resident tensors and nothing else: the floor for any loop in torch."""

    def __init__(self):
        torch.manual_seed(42)
        layers = [nn.Conv2d(4, 8, 5, stride=2), nn.Conv2d(8, 16, 5, stride=2), nn.Linear(576, 100), nn.Linear(100, 11)]
        for layer in layers[:2]:
            layer.to(memory_format=torch.channels_last)
        self.weights = [weights for layer in layers for weights in layer.parameters()]
        self.moments = [[torch.zeros_like(weights) for weights in self.weights] for _ in range(2)]
        self.steps = [torch.zeros(()) for _ in self.weights]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel1, bias1, kernel2, bias2, linear1, bias3, linear2, bias4 = self.weights
        x = F.max_pool2d(F.conv2d(x, kernel1, bias1, 2).relu_(), 2)
        x = F.max_pool2d(F.conv2d(x, kernel2, bias2, 2).relu_(), 2)
        return F.linear(F.linear(x.flatten(1), linear1, bias3).relu_(), linear2, bias4)

    @torch.no_grad()
    def adjust(self, gradients: tuple[torch.Tensor, ...]) -> None:
        adam(
            self.weights, list(gradients), *self.moments, [], self.steps, fused=True, foreach=False,
            lr=0.0001, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip

    def epochs(self, train: Patches, val: Patches) -> Iterator[dict[str, float]]:
        for weights in self.weights:
            weights.requires_grad_()
        batches = [list(zip(p.images.split(n), p.labels.split(n), strict=True)) for p, n in ((train, 8), (val, 16))]
        while True:
            losses, hits = torch.zeros(2), torch.zeros(2)
            for images, labels in batches[0]:
                logits = self.forward(images)
                loss = F.cross_entropy(logits, labels)
                self.adjust(torch.autograd.grad(loss, self.weights))
                losses[0] += loss.detach()
                hits[0] += (logits.detach().argmax(1) == labels).sum()
            with torch.inference_mode():
                for images, labels in batches[1]:
                    logits = self.forward(images)
                    losses[1] += F.cross_entropy(logits, labels)
                    hits[1] += (logits.argmax(1) == labels).sum()
            means = losses / torch.tensor([len(part) for part in batches])
            yield dict(zip(("train_loss", "val_loss"), means.tolist(), strict=True))


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = action()
    return time.perf_counter() - start, found


def main() -> None:
    root, tensors_dir, in_turn, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    chosen = config.check(config.load())
    default_threads = torch.get_num_threads()
    facts = tensors.load_split(tensors_dir, "train")
    train, val, test = (load(tensors.load_split(tensors_dir, split), CPU) for split in ("train", "val", "test"))

    def settle(threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("default")

    with tempfile.TemporaryDirectory() as folder:
        network = make_network(facts, chosen["model"], chosen["train"].seed, CPU)
        run = Run(network, train, val, chosen["train"])
        # Each with the threads and the determinism settings that it has in a process of its own.
        contenders = {
            "peer": (lambda: settle(default_threads), notebook.run(root, in_turn)),
            "ours": (
                lambda: set_deterministic(chosen["runtime"].threads, CPU),
                run.epochs(Path(folder) / "checkpoint.safetensors"),
            ),
            "floor": (lambda: settle(THREADS), Lean().epochs(train, val)),
        }
        found: dict[str, Any] = {name: [] for name in contenders}
        for _ in range(in_turn):
            for name, (prepare, history) in contenders.items():
                prepare()
                found[name].append(seconds(lambda history=history: next(history))[0])

    lean = Lean()
    history = lean.epochs(train, val)
    found["all"], found["history"] = seconds(lambda: list(itertools.islice(history, count)))

    @torch.inference_mode()
    def infer() -> list[torch.Tensor]:
        return [lean.forward(images) for images in test.images.split(64)]

    infer()
    found["test"], _ = seconds(infer)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

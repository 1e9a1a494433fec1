"""Time an epoch of the notebook's loop, of the pipeline's and of the leanest loop, in turn, in one process.

    python -m benchmarks.epochs PATCHES TENSORS COUNT

PATCHES is the unpacked dataset's root, TENSORS the output of preprocess. An epoch is a pass over the train split and
one over the val split. Prints the seconds of COUNT epochs of each as JSON; `python -m benchmarks` runs it.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

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


def main() -> None:
    root, tensors_dir, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    chosen = config.check(config.load())
    default_threads = torch.get_num_threads()
    facts = tensors.load_split(tensors_dir, "train")
    train, val = (load(tensors.load_split(tensors_dir, split), CPU) for split in ("train", "val"))

    def settle(threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("default")

    with tempfile.TemporaryDirectory() as folder:
        network = make_network(facts, chosen.model, chosen.train.seed, CPU)
        run = Run(network, train, val, chosen.train)
        # Each with the threads and the determinism settings that it has in a process of its own.
        loops = {
            "notebook": (lambda: settle(default_threads), notebook.run(root, count)),
            "pipeline": (
                lambda: set_deterministic(chosen.runtime.threads, CPU),
                run.epochs(Path(folder) / "checkpoint.safetensors"),
            ),
            "leanest": (lambda: settle(THREADS), Lean().epochs(train, val)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(count):
            for name, (prepare, epochs) in loops.items():
                prepare()
                start = time.perf_counter()
                next(epochs)
                seconds[name].append(time.perf_counter() - start)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()

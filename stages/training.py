"""How a network learns: batches, augmentation, optimizer, schedule, and the epochs of a run."""

import copy
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from stages import files, partial, tensors
from stages.distributed import ALONE, Group, Rows
from stages.errors import InputError
from stages.loader import Patches
from stages.model import Network, infer
from stages.params import Architecture, Training

EXPLODED = 1e4  # nats; from such a loss no training comes back


class Epoch(NamedTuple):
    """A row of the history: losses are means over batches, accuracies over patches."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


def epoch_seed(seed: int, *parts: int) -> int:
    """A seed of its own for each epoch, so that a run can go on from any of them."""
    return int(np.random.SeedSequence([seed, *parts]).generate_state(1, np.uint64)[0])


def visits(count: int, settings: Training, generator: torch.Generator) -> Iterator[tuple[slice, Rows]]:
    """Of each batch of an epoch its place among all visits, and its rows: in the order of the index, or shuffled."""
    order = torch.randperm(count, generator=generator) if settings.shuffle else None
    for start in range(0, count, settings.batch_size):
        places = slice(start, min(start + settings.batch_size, count))
        yield places, places if order is None else order[places]


def augment(images: torch.Tensor, flipped: torch.Tensor | None, turns: torch.Tensor | None) -> torch.Tensor:
    """Mirror and turn the patches of a batch (N, C, H, W).

    Args:
        flipped: bool (N,), on the host, or None for no flips.
        turns: quarter turns, int64 (N,), on the host, or None for no turns.
    """
    if flipped is not None:
        images = torch.where(flipped.to(images.device).view(-1, 1, 1, 1), images.flip(-1), images)
    if turns is not None:
        turned = images.clone()
        for turn in (1, 2, 3):
            chosen = (turns == turn).nonzero().squeeze(1).to(images.device)
            turned[chosen] = images[chosen].rot90(turn, (-2, -1))
        images = turned
    return images


def draw_symmetries(
    count: int, settings: Training, generator: torch.Generator
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """For each of `count` patches, whether it is flipped and how often it is turned.

    Land cover looks the same from any side, so the eight of them are equally likely.
    """
    flipped = torch.rand(count, generator=generator) < 0.5 if settings.flips else None
    turns = torch.randint(4, (count,), generator=generator) if settings.quarter_turns else None
    return flipped, turns


def learning_rate(settings: Training, step: int, steps: int) -> float:
    """The learning rate of one optimizer step, the first being 0, of `steps`.

    Source of one_cycle: Smith and Topin, "Super-Convergence", 2018, with cosines as torch's OneCycleLR has them.
    """

    def anneal(start: float, end: float, share: float) -> float:
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    highest = settings.learning_rate
    match settings.schedule:
        case "constant":
            return highest
        case "cosine":
            return anneal(highest, 0, step / steps)
        case "one_cycle":
            first, last, top = highest / 25, highest / 25e4, max(0.3 * steps - 1, 0)
            if step < top:
                return anneal(first, highest, step / top)
            return anneal(highest, last, (step - top) / max(steps - 1 - top, 1))


class Optimizer:
    """Adam, AdamW or SGD over the weights of a network, each step by one fused operator of torch.

    Not torch.optim's classes, since these import torch's compiler, which takes as long as torch itself and is not used.
    """

    MOMENTUM, BETAS, EPSILON = 0.9, (0.9, 0.999), 1e-8  # torch's own defaults, and Nesterov's momentum for SGD

    def __init__(self, weights: Iterable[torch.Tensor], settings: Training):
        self.weights, self.settings = list(weights), settings
        # In the memory layout of the weights, which the operators go through side by side.
        count = 1 if settings.optimizer == "sgd" else 2
        self.moments = [[torch.zeros_like(value) for value in self.weights] for _ in range(count)]
        self.steps = torch.zeros((), device=self.weights[0].device)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Adjust the weights by their gradients, which are then dropped."""
        gradients = [value.grad for value in self.weights]
        options = {"lr": rate, "weight_decay": self.settings.weight_decay, "maximize": False}
        if self.settings.optimizer == "sgd":
            torch._fused_sgd_(
                self.weights, gradients, *self.moments, **options,
                momentum=self.MOMENTUM, dampening=0.0, nesterov=True, is_first_step=False,
            )  # fmt: skip
        else:
            self.steps += 1
            operator = torch._fused_adam_ if self.settings.optimizer == "adam" else torch._fused_adamw_
            operator(
                self.weights, gradients, *self.moments, [], [self.steps] * len(self.weights), **options,
                amsgrad=False, beta1=self.BETAS[0], beta2=self.BETAS[1], eps=self.EPSILON,
            )  # fmt: skip
        for value in self.weights:
            value.grad = None

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors that change from step to step, by name."""
        moments = {f"moment{i}.{k}": value for i, row in enumerate(self.moments) for k, value in enumerate(row)}
        return moments | {"steps": self.steps}


def balanced_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Weights by class, inverse to its patches, with a mean of 1 over the patches; 0 for a class without any."""
    counts = torch.bincount(labels, minlength=classes).float()
    weights = len(labels) / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0.0)


def check(network: Network, train: int, val: int, settings: Training, group: Group) -> None:
    """Refuse what so many patches cannot be trained with.

    Raises:
        InputError: says why, and what to change.
    """
    batch_norm = any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    last = train % settings.batch_size or settings.batch_size
    if batch_norm and last == 1:
        raise InputError(
            f"train.batch_size = {settings.batch_size}: leaves one of {train} patches alone in the last batch, too few "
            "for batch norm; choose another size, or model.batch_norm: false"
        )
    if group.size > 1 and batch_norm:
        raise InputError(
            f"model.batch_norm: each of {group.size} processes would normalize by its own share of a batch; train in "
            "one process, or without it"
        )
    if group.size > min(settings.batch_size, train, val):
        raise InputError(
            f"{group.size} processes share train.batch_size = {settings.batch_size}, {train} train and {val} val "
            "patches: start no more than the least of them"
        )


def checkpoint_path(stage: str, tensors_dir: Path, *facts: Any) -> Path:
    """Where a run of these tensors and these facts is kept over a crash."""
    code = partial.code("torch", "numpy", "safetensors")
    return partial.PARTIAL / f"{stage}-{partial.fingerprint(partial.identity(tensors_dir), code, *facts)}.safetensors"


class Run:
    """The training of one network, in place, epoch by epoch.

    Args:
        group: the processes that share each batch; all hold the same network, and end with the same.

    Raises:
        InputError: what is asked for cannot be trained, or the loss explodes.
    """

    def __init__(self, network: Network, train: Patches, val: Patches, settings: Training, group: Group = ALONE):
        self.network, self.train, self.val, self.settings, self.group = network, train, val, settings, group
        self.forward = torch.nn.parallel.DistributedDataParallel(network) if group.size > 1 else network
        count = len(train.labels)
        check(network, count, len(val.labels), settings, group)
        classes = network.classifier[-1].out_features
        self.weights = balanced_weights(train.labels, classes) if settings.class_weights == "balanced" else None
        self.optimizer = Optimizer(network.parameters(), settings)
        self.history: list[Epoch] = []
        self.best_weights: dict[str, torch.Tensor] = {}

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation loss so far; 0 before the first."""
        return min(self.history, key=lambda epoch: epoch.val_loss).epoch if self.history else 0

    @property
    def finished(self) -> bool:
        done, patience = len(self.history), self.settings.patience
        return done == self.settings.epochs or bool(patience and done - self.best_epoch >= patience)

    def epochs(self, checkpoint: Path) -> Iterator[Epoch]:
        """Train until it is finished; the network then has the weights of the last or of the best epoch.

        Args:
            checkpoint: where each finished epoch is kept, to go on from if it is there already.
        """
        if checkpoint.is_file():
            try:
                self.restore(checkpoint)
                told = f"going on after epoch {len(self.history)}"
            except InputError as error:  # torn by a crash of the machine, say
                told = f"training from the start, since {error}"
            if self.group.rank == 0:
                print(told, file=sys.stderr)
            yield from self.history
        while not self.finished:
            number = len(self.history) + 1
            self.history.append(Epoch(number, *self._train_epoch(number), *self._evaluate(), self._rate(number, 0)))
            if self.settings.keep == "best" and self.best_epoch == number:
                self.best_weights = copy.deepcopy(self.network.state_dict())
            if self.group.rank == 0:
                self.save(checkpoint)
            yield self.history[-1]
        if self.best_weights:
            self.network.load_state_dict(self.best_weights)

    @property
    def _remedy(self) -> str:
        return f"lower train.learning_rate = {self.settings.learning_rate:g}"

    def _rate(self, number: int, batch: int) -> float:
        """The learning rate of a batch, the first being 0, of an epoch, the first being 1."""
        batches = math.ceil(len(self.train.labels) / self.settings.batch_size)
        return learning_rate(self.settings, (number - 1) * batches + batch, self.settings.epochs * batches)

    def _train_epoch(self, number: int) -> tuple[float, float]:
        """One pass over the train split: the mean over batches of the loss, and the accuracy while training."""
        settings, group, count = self.settings, self.group, len(self.train.labels)
        # Each process draws the same for the whole batch and takes its share; dropout alone is its own.
        generator = torch.Generator().manual_seed(epoch_seed(settings.seed, number))
        torch.manual_seed(epoch_seed(settings.seed, number, group.rank))
        order = list(visits(count, settings, generator))
        symmetries = draw_symmetries(count, settings, generator)
        autocast = torch.autocast(
            self.train.labels.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"
        )
        self.network.train()
        # Filled in on the device: to look at a number here would have the host wait for each batch.
        losses = torch.zeros(len(order), device=self.train.labels.device)
        hits = torch.zeros((), dtype=torch.int64, device=losses.device)
        batches = self.train.batches(group.share(rows) for _, rows in order)
        for batch, ((places, rows), (images, labels)) in enumerate(zip(order, batches, strict=True)):
            mine = group.share(places)
            images = augment(images, *(drawn if drawn is None else drawn[mine] for drawn in symmetries))
            with autocast:
                logits = self.forward(images)
            total = places.stop - places.start
            if self.weights is not None:
                total = self.weights[self.train.labels[rows]].sum()
            loss = F.cross_entropy(
                logits.float(), labels, self.weights, reduction="sum", label_smoothing=settings.label_smoothing
            )
            # The processes' gradients are averaged, so that each is as large as if it were alone.
            loss = loss / (total / group.size)
            loss.backward()
            self.optimizer.step(self._rate(number, batch))
            losses[batch] = loss.detach()
            hits += (logits.detach().argmax(1) == labels).sum()
        means = group.sum(losses) / group.size
        exploded = (means.abs() < EXPLODED).logical_not()  # true of NaN, too
        if exploded.any():
            batch = int(exploded.nonzero()[0])
            raise InputError(
                f"train: the loss is {means[batch]:g} in epoch {number}, batch {batch + 1}; {self._remedy}"
            )
        return float(means.mean()), float(group.sum(hits) / count)

    def _evaluate(self) -> tuple[float, float]:
        """Of the val split, the mean over batches of the negative log-likelihood, and the accuracy over patches."""
        size, group, labels = self.settings.eval_batch_size, self.group, self.val.labels
        mine = slice(group.rank, None, group.size)
        logits = infer(self.network, self.val, size, group)
        # Each process fills in its own patches, so that each patch counts once.
        figures = torch.zeros(2, len(labels), device=labels.device)
        figures[0, mine] = F.cross_entropy(logits, labels[mine], reduction="none")
        figures[1, mine] = (logits.argmax(1) == labels[mine]).float()
        losses, hits = group.sum(figures)
        loss = float(torch.stack([batch.mean() for batch in losses.split(size)]).mean())
        if not abs(loss) < EXPLODED:
            epoch = len(self.history) + 1
            raise InputError(f"train: the loss of the val split is {loss:g} after epoch {epoch}; {self._remedy}")
        return loss, float(hits.mean())

    def _state(self) -> dict[str, torch.Tensor]:
        parts = {"network": self.network.state_dict(), "optimizer": self.optimizer.state()}
        return {f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()}

    def save(self, path: Path) -> None:
        """Write all that `restore` needs to go on after the last epoch; no random state, since epochs have seeds."""
        state = self._state() | {f"best.{name}": value for name, value in self.best_weights.items()}
        with files.replacing(path) as part:
            arrays = {name: value.cpu().contiguous().numpy() for name, value in state.items()}
            tensors.save(part, arrays, {"history": self.history})

    def restore(self, path: Path) -> None:
        """Go on from what `save` wrote for a run of the same network, patches and settings."""
        arrays, metadata = tensors.load(path)
        for name, value in self._state().items():
            value.copy_(torch.from_numpy(arrays[name]))
        self.best_weights = {
            name.removeprefix("best."): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith("best.")
        }
        self.history = [Epoch(*row) for row in metadata["history"]]


def band_moments(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each band over all pixels of images (C, H, W); float32 (C,)."""
    # Patch by patch, since there may be more of them than memory holds.
    moments = [[np.mean(image**power, axis=(1, 2), dtype=np.float64) for power in (1, 2)] for image in images]
    mean, square = np.mean(moments, axis=0)
    std = np.sqrt(np.maximum(square - mean**2, 0))
    if not std.all():
        raise InputError(
            f"model.standardize: band {int(np.flatnonzero(std == 0)[0]) + 1} of {len(std)} is the same everywhere; "
            "leave it out of bands, or set standardize to false"
        )
    return mean.astype(np.float32), std.astype(np.float32)


def make_network(facts: tensors.Split, architecture: Architecture, seed: int, device: torch.device) -> Network:
    """A network for the bands and classes of `facts`, the train split, with weights drawn from `seed`."""
    moments = band_moments(facts.images) if architecture.standardize else (None, None)
    # Drawn on the CPU, so that the weights are the same wherever the network then trains.
    torch.manual_seed(seed)
    network = Network(architecture, len(facts.bands), len(facts.classes), *moments)
    return network.to(device, memory_format=torch.channels_last)

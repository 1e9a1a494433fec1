"""Training: batches, optimizer, schedule, and the epochs of a run."""

import copy
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics.classification import MulticlassAccuracy

from landcover import files, processes
from landcover.config import Architecture, Training
from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.cnn import Network, infer, parameter_count
from landcover.training.augmentation import augment, draw_present, draw_symmetries
from landcover.training.distributed import ALONE, Group, Rows
from landcover.training.loader import Patches

STEP = 1e-4  # of values: one digital number of a band, 0.008 dB, 0.95 m of elevation
EXPLODED = 1e4  # nats; training does not recover from such a loss


class Epoch(NamedTuple):
    """A row of the history: losses are means over batches, accuracies over patches."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


def epoch_seed(seed: int, *parts: int) -> int:
    """A separate seed for each epoch, so that a run can resume after any of them."""
    return int(np.random.SeedSequence([seed, *parts]).generate_state(1, np.uint64)[0])


def visits(count: int, settings: Training, generator: torch.Generator) -> Iterator[tuple[slice, Rows]]:
    """For each batch of an epoch, its range of visits and its rows, in index order or shuffled."""
    order = torch.randperm(count, generator=generator) if settings.shuffle else None
    for start in range(0, count, settings.batch_size):
        places = slice(start, min(start + settings.batch_size, count))
        yield places, places if order is None else order[places]


def make_optimizer(weights: Iterable[torch.Tensor], settings: Training) -> Optimizer:
    """Adam, AdamW, or SGD with Nesterov momentum; each step is one fused operator over all weights."""
    options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(weights, **options)
        case "adamw":
            return torch.optim.AdamW(weights, **options)
        case "sgd":
            return torch.optim.SGD(weights, momentum=0.9, nesterov=True, **options)


def make_schedule(optimizer: Optimizer, settings: Training, steps: int) -> LRScheduler:
    """The learning rate over the optimizer's steps.

    Source of one_cycle: Smith and Topin, "Super-Convergence", 2018.
    """
    match settings.schedule:
        case "constant":
            return lr_scheduler.ConstantLR(optimizer, factor=1.0)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        case "one_cycle":
            return lr_scheduler.OneCycleLR(
                optimizer, max_lr=settings.learning_rate, total_steps=steps, cycle_momentum=False
            )


def balanced_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Class weights, inversely proportional to the number of patches, with a mean of 1 over patches; 0 if none."""
    counts = torch.bincount(labels, minlength=classes).float()
    weights = len(labels) / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0.0)


def check(network: Network, train: int, val: int, settings: Training, group: Group) -> None:
    """Refuse settings that do not fit the number of patches or processes.

    Raises:
        InputError: says why, and what to change.
    """
    batch_norm = any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    last = train % settings.batch_size or settings.batch_size
    if batch_norm and last == 1:
        raise InputError(
            f"train.batch_size = {settings.batch_size}: leaves one of {train} patches alone in the last batch, too few "
            "for batch norm; choose another size, or another model.normalization"
        )
    if group.size > 1 and batch_norm:
        raise InputError(
            f"model.normalization = 'batch': each of {group.size} processes would normalize by its own share of a "
            "batch; train in one process, or use 'group'"
        )
    if group.size > min(settings.batch_size, train, val):
        raise InputError(
            f"{group.size} processes share train.batch_size = {settings.batch_size}, {train} train and {val} val "
            "patches; start no more processes than the smallest of these"
        )


class Run:
    """The training of one network, in place, epoch by epoch.

    Args:
        group: the processes that share each batch; all hold the same network, before and after.

    Raises:
        InputError: the settings cannot be trained with, or the loss explodes.
    """

    def __init__(self, network: Network, train: Patches, val: Patches, settings: Training, group: Group = ALONE):
        self.network, self.train, self.val, self.settings, self.group = network, train, val, settings, group
        self.forward = torch.nn.parallel.DistributedDataParallel(network) if group.size > 1 else network
        count = len(train.labels)
        check(network, count, len(val.labels), settings, group)
        classes = network.classifier[-1].out_features
        self.accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False).to(train.labels.device)
        balanced = settings.class_weights == "balanced"
        self.weights = balanced_weights(train.labels, classes) if balanced else None
        self.optimizer = make_optimizer(network.parameters(), settings)
        batches = math.ceil(count / settings.batch_size)
        self.schedule = make_schedule(self.optimizer, settings, settings.epochs * batches)
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
        """Train until finished; the network then has the weights of the last or of the best epoch.

        Args:
            checkpoint: written after each epoch; if it exists already, training resumes from it.
        """
        if checkpoint.is_file():
            try:
                self.restore(checkpoint)
                told = f"resuming after epoch {len(self.history)}"
            except InputError as error:  # for example, damaged by a crash of the machine
                told = f"training from the start: {error}"
            if self.group.rank == 0 and not self.finished:
                print(told, file=sys.stderr)
            yield from self.history
        try:
            while not self.finished:
                number = len(self.history) + 1
                rate = self.schedule.get_last_lr()[0]  # of the epoch's first batch
                self.history.append(Epoch(number, *self._train_epoch(number), *self._evaluate(), rate))
                if self.settings.keep == "best" and self.best_epoch == number:
                    self.best_weights = copy.deepcopy(self.network.state_dict())
                processes.end_if_orphaned()
                if self.group.rank == 0:
                    self.save(checkpoint)
                yield self.history[-1]
        finally:
            # DDP must end before its process group does: otherwise it ends the group itself, without releasing the
            # interpreter, and waits forever for a thread of the group that waits for the interpreter.
            self.forward = self.network
        if self.best_weights:
            self.network.load_state_dict(self.best_weights)

    @property
    def _remedy(self) -> str:
        return f"lower train.learning_rate = {self.settings.learning_rate:g}"

    def _train_epoch(self, number: int) -> tuple[float, float]:
        """One pass over the train split: the mean over batches of the loss, and the accuracy while training."""
        settings, group, count = self.settings, self.group, len(self.train.labels)
        device = self.train.labels.device
        # Each process draws the same numbers for the whole batch and uses its share; only dropout differs.
        generator = torch.Generator().manual_seed(epoch_seed(settings.seed, number))
        torch.manual_seed(epoch_seed(settings.seed, number, group.rank))
        order = list(visits(count, settings, generator))
        modalities = len(self.network.image_modalities), len(self.network.context_modalities)
        drawn = *draw_symmetries(count, settings, generator), draw_present(count, *modalities, settings, generator)
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")
        self.network.train()
        # Kept on the device until the end: reading a value here would make the host wait for each batch. Allocated in
        # advance: a small tensor per batch between large temporary ones would fragment the memory.
        losses, done = torch.zeros(len(order), device=device), 0
        predicted, actual = self.train.labels.new_empty(2, count)
        batches = self.train.batches(group.share(rows) for _, rows in order)
        for step, ((places, rows), batch) in enumerate(zip(order, batches, strict=True)):
            mine = group.share(places)
            flipped, turns, present = (values if values is None else values[mine] for values in drawn)
            images = augment(batch.images, flipped, turns)
            present = present if present is None else present.to(device, non_blocking=True)
            with autocast:
                logits = self.forward(images, batch.context, present)
            total = places.stop - places.start
            if self.weights is not None:
                total = self.weights[self.train.labels[rows]].sum()
            loss = F.cross_entropy(
                logits.float(), batch.labels, self.weights, reduction="sum", label_smoothing=settings.label_smoothing
            )
            # DDP averages the processes' gradients, so each is scaled up by the number of processes.
            loss = loss / (total / group.size)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            losses[step] = loss.detach()
            until = done + len(batch.labels)
            predicted[done:until] = logits.detach().argmax(1)
            actual[done:until] = batch.labels
            done = until
        means = group.sum(losses) / group.size
        exploded = (means.abs() < EXPLODED).logical_not()  # also true for NaN
        if exploded.any():
            step = int(exploded.nonzero()[0])
            raise InputError(f"train: the loss is {means[step]:g} in epoch {number}, batch {step + 1}; {self._remedy}")
        return float(means.mean()), self._accuracy(predicted[:done], actual[:done])

    def _evaluate(self) -> tuple[float, float]:
        """For the val split, the mean over batches of the negative log-likelihood, and the accuracy over patches."""
        size, group, labels = self.settings.eval_batch_size, self.group, self.val.labels
        mine = slice(group.rank, None, group.size)
        logits = infer(self.network, self.val, size, group)
        # Each process fills in its own patches, so that each patch counts once.
        losses = torch.zeros(len(labels), device=labels.device)
        losses[mine] = F.cross_entropy(logits, labels[mine], reduction="none")
        loss = float(torch.stack([batch.mean() for batch in group.sum(losses).split(size)]).mean())
        if not abs(loss) < EXPLODED:
            epoch = len(self.history) + 1
            raise InputError(f"train: the loss of the val split is {loss:g} after epoch {epoch}; {self._remedy}")
        return loss, self._accuracy(logits.argmax(1), labels[mine])

    def _accuracy(self, predictions: torch.Tensor, labels: torch.Tensor) -> float:
        """The accuracy over all processes' patches; torchmetrics sums over the processes."""
        self.accuracy.reset()
        self.accuracy.update(predictions, labels)
        return float(self.accuracy.compute())

    def _state(self) -> dict[str, torch.Tensor]:
        """The tensors that change from step to step, by name."""
        moments = {
            f"optimizer.{number}.{name}": value
            for number, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        return {f"network.{name}": value for name, value in self.network.state_dict().items()} | moments

    def save(self, path: Path) -> None:
        """Write what `restore` needs to resume after the last epoch; no random state, since epochs have seeds."""
        state = self._state() | {f"best.{name}": value for name, value in self.best_weights.items()}
        facts = {
            "history": self.history,
            "groups": self.optimizer.state_dict()["param_groups"],
            "schedule": self.schedule.state_dict(),
        }
        with files.replacing(path) as part:
            arrays = {name: value.cpu().contiguous().numpy() for name, value in state.items()}
            tensors.save(part, arrays, facts)

    def restore(self, path: Path) -> None:
        """Restore what `save` wrote for a run with the same network, patches and settings."""
        arrays, facts = tensors.load(path)
        parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "optimizer": {}, "best": {}}
        for name, array in arrays.items():
            part, _, key = name.partition(".")
            parts[part][key] = torch.from_numpy(array)
        weights = list(self.network.parameters())
        state: dict[int, dict[str, torch.Tensor]] = defaultdict(dict)
        for key, value in parts["optimizer"].items():
            number, _, name = key.partition(".")
            # In the memory layout of the weights, because the fused operators traverse both together.
            moment = value.shape == weights[int(number)].shape
            state[int(number)][name] = torch.empty_like(weights[int(number)]).copy_(value) if moment else value
        self.network.load_state_dict(parts["network"])
        self.optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})
        self.schedule.load_state_dict(facts["schedule"])
        self.best_weights = parts["best"]
        self.history = [Epoch(*row) for row in facts["history"]]


def band_moments(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel over all valid pixels of images (C, H, W); float64 (C,)."""
    # Patch by patch, since they may exceed memory. Nodata, which is 0, adds nothing to a sum.
    moments, valid = [], []
    for image in images:
        moments.append([np.mean(image**power, axis=(1, 2), dtype=np.float64) for power in (1, 2)])
        valid.append(np.count_nonzero(image, axis=(1, 2)) / image[0].size)
    mean, square = np.mean(moments, axis=0) / np.mean(valid, axis=0)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def band_quantiles(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Median of each channel over all valid pixels of images (C, H, W), and half its middle 68%; float64 (C,).

    For a normal distribution, these are the mean and the standard deviation, but they are robust to some snow. They are
    exact to STEP.
    """
    counts = 0
    for image in images:
        steps = np.rint(image.reshape(len(image), -1) / STEP).astype(np.int64)
        counts += np.stack([np.bincount(channel, minlength=round(1 / STEP) + 1) for channel in steps])
    counts[:, 0] = 0  # nodata
    shares = np.cumsum(counts, axis=1) / counts.sum(1, keepdims=True)
    low, median, high = ((shares < quantile).sum(1) * STEP for quantile in (0.16, 0.5, 0.84))
    return median, (high - low) / 2


def scaling(train: tensors.Split, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Center and spread of each image channel and context feature, according to model.standardize; float32 (C + F,).

    Context features are scaled by their moments in any case, since most of them are 0 or 1. If one is the same in all
    patches, as is a climate zone that does not occur, its spread is 1.

    Raises:
        InputError: an image channel has no spread.
    """
    center, spread = band_moments(train.images) if method == "moments" else band_quantiles(train.images)
    if constant := [name for name, width in zip(train.bands, spread, strict=True) if not width]:
        raise InputError(
            f"model.standardize: nearly constant over the train split: {', '.join(constant)}; leave out of bands or "
            "inputs, or set standardize to none"
        )
    if train.context is not None:
        deviation = train.context.std(0, dtype=np.float64)
        center = np.append(center, train.context.mean(0, dtype=np.float64))
        spread = np.append(spread, np.where(np.ptp(train.context, 0) > 0, deviation, 1))
    return center.astype(np.float32), spread.astype(np.float32)


def patch_means(train: tensors.Split) -> dict[str, list[float]]:
    """For each image channel, the smallest and the largest mean of a patch over its valid pixels."""
    with np.errstate(invalid="ignore"):  # NaN where a patch has no valid pixel
        means = [image.sum((1, 2), dtype=np.float64) / np.count_nonzero(image, axis=(1, 2)) for image in train.images]
    ends = np.stack([np.nanmin(means, axis=0), np.nanmax(means, axis=0)], axis=1)
    return dict(zip(train.bands, ends.tolist(), strict=True))


def describe(network: Network, architecture: Architecture, settings: Training, train: tensors.Split) -> dict[str, Any]:
    """What the model file states about a network trained on the split: its inputs, outputs and training data."""
    if len(network.image_modalities) == 1:  # both fusions are the same network
        architecture = architecture.model_copy(update={"fusion": "early"})
    optional = {"context": train.context_names, "modality_dropout": settings.modality_dropout}
    return {name: value for name, value in optional.items() if value} | {
        "architecture": architecture.model_dump(exclude_defaults=True),
        "bands": train.bands,
        "classes": train.classes,
        "scale": train.scale,
        "patch_size": train.images.shape[-1],
        "patch_means": patch_means(train),
        "parameters": parameter_count(network),
    }


def make_network(facts: tensors.Split, architecture: Architecture, seed: int, device: torch.device) -> Network:
    """A network for the inputs and classes of `facts`, the train split, with weights drawn from `seed`."""
    standardize = architecture.standardize
    center, spread = (None, None) if standardize == "none" else scaling(facts, standardize)
    # Drawn on the CPU, so that the initial weights are the same on every device.
    torch.manual_seed(seed)
    size, context = facts.images.shape[-1], facts.context_names
    network = Network(architecture, facts.bands, len(facts.classes), center, spread, size, context)
    return network.to(device, memory_format=torch.channels_last)

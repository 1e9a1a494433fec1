"""How a network learns: batches, augmentation, optimizer, schedule, and the epochs of a run."""

import copy
import math
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pydantic
import torch
import torch.nn.functional as F

from stages import cli, tensors
from stages.model import Architecture, Network, infer

Positive = Annotated[float, pydantic.Field(gt=0)]
Batch = Annotated[int, pydantic.Field(ge=1)]


class Training(cli.Section):
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**63)]
    epochs: Annotated[int, pydantic.Field(ge=1)]
    batch_size: Batch
    eval_batch_size: Batch
    optimizer: Literal["adam", "adamw", "sgd"]
    learning_rate: Positive
    weight_decay: Annotated[float, pydantic.Field(ge=0)]
    schedule: Literal["constant", "cosine", "one_cycle"]
    label_smoothing: Annotated[float, pydantic.Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"]
    shuffle: bool
    flips: bool
    quarter_turns: bool
    patience: Annotated[int, pydantic.Field(ge=1)] | None
    keep: Literal["last", "best"]


class Patches(NamedTuple):
    """A split on the device."""

    images: torch.Tensor  # float32 (N, C, H, W)
    labels: torch.Tensor  # int64 (N,)


class Epoch(NamedTuple):
    """A row of the history: losses are means over batches, accuracies over patches."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


def on_device(split: tensors.Split, device: torch.device) -> Patches:
    """Hold a whole split on the device, its channels last, as convolutions are fastest."""
    images = torch.from_numpy(split.images).to(device, memory_format=torch.channels_last)
    return Patches(images, torch.from_numpy(split.labels).to(device))


def augment(images: torch.Tensor, generator: torch.Generator, *, flips: bool, quarter_turns: bool) -> torch.Tensor:
    """Turn each patch of a batch (N, C, H, W) into one of its flips and quarter turns, at random.

    Land cover looks the same from any side, so the eight of them are equally likely.
    """
    count = len(images)
    if flips:
        flipped = torch.rand(count, generator=generator) < 0.5
        images = torch.where(flipped.to(images.device).view(-1, 1, 1, 1), images.flip(-1), images)
    if quarter_turns:
        turns = torch.randint(4, (count,), generator=generator)
        turned = images.clone()
        for turn in (1, 2, 3):
            chosen = (turns == turn).nonzero().squeeze(1).to(images.device)
            turned[chosen] = images[chosen].rot90(turn, (-2, -1))
        images = turned
    return images


def batches(
    train: Patches, settings: Training, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch of (images, labels), in the order of the index or shuffled."""
    count = len(train.labels)
    if settings.shuffle:
        order = torch.randperm(count, generator=generator).to(train.labels.device)
        pairs = ((train.images[rows], train.labels[rows]) for rows in order.split(settings.batch_size))
    else:
        pairs = zip(train.images.split(settings.batch_size), train.labels.split(settings.batch_size), strict=True)
    for images, labels in pairs:
        yield augment(images, generator, flips=settings.flips, quarter_turns=settings.quarter_turns), labels


def make_optimizer(network: Network, settings: Training) -> torch.optim.Optimizer:
    options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(network.parameters(), **options)
        case "adamw":
            return torch.optim.AdamW(network.parameters(), **options)
        case "sgd":
            return torch.optim.SGD(network.parameters(), momentum=0.9, nesterov=True, **options)


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: Training, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate of each of `steps` optimizer steps.

    Raises:
        InputError: they are too few for the schedule.
    """
    match settings.schedule:
        case "constant":
            return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        case "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        case "one_cycle":
            if steps < 4:
                raise cli.InputError(
                    f"train.schedule = one_cycle: has {steps} steps; train for more epochs, or constant"
                )
            return torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)


def balanced_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Weights by class, inverse to its patches, with a mean of 1 over the patches; 0 for a class without any."""
    counts = torch.bincount(labels, minlength=classes).float()
    weights = len(labels) / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0.0)


def accuracy(predictions: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Share of patches that are predicted right."""
    # Here, since it takes as long to import as torch, and `repeat` without a seed needs none of it.
    from torchmetrics.functional.classification import multiclass_accuracy

    return multiclass_accuracy(predictions, labels, classes, average="micro")


def train_epoch(
    network: Network,
    train: Patches,
    settings: Training,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    weights: torch.Tensor | None,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One pass over the train split.

    Returns:
        The loss of each batch, and the accuracy over the patches as they were while training.
    """
    network.train()
    if len(train.labels) % settings.batch_size == 1 and any(
        isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()
    ):
        raise cli.InputError(
            f"train.batch_size = {settings.batch_size}: leaves one of {len(train.labels)} patches alone in the last "
            "batch, too few for batch norm; choose another size"
        )
    losses, predictions, seen = [], [], []
    for images, labels in batches(train, settings, generator):
        logits = network(images)
        loss = F.cross_entropy(logits, labels, weight=weights, label_smoothing=settings.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        # Kept on the device: to look at a number here would have the host wait for each batch.
        losses.append(loss.detach())
        predictions.append(logits.detach().argmax(1))
        seen.append(labels)
    return torch.stack(losses), accuracy(torch.cat(predictions), torch.cat(seen), logits.shape[1])


def evaluate_epoch(network: Network, split: Patches, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean over batches of the negative log-likelihood, and the accuracy over patches."""
    logits = infer(network, split.images, batch_size)
    losses = F.cross_entropy(logits, split.labels, reduction="none")
    loss = torch.stack([batch.mean() for batch in losses.split(batch_size)]).mean()
    return loss, accuracy(logits.argmax(1), split.labels, logits.shape[1])


def fit(network: Network, train: Patches, val: Patches, settings: Training) -> Iterator[Epoch]:
    """Train `network` in place, epoch by epoch; it ends with the weights of the last or the best epoch.

    The best epoch is the one with the lowest validation loss.

    Raises:
        InputError: the loss is no longer a number.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    classes = network.classifier[-1].out_features
    weights = balanced_weights(train.labels, classes) if settings.class_weights == "balanced" else None
    optimizer = make_optimizer(network, settings)
    steps = math.ceil(len(train.labels) / settings.batch_size)
    schedule = make_schedule(optimizer, settings, settings.epochs * steps)
    best_loss, best_epoch, best_weights = math.inf, 0, None

    for epoch in range(1, settings.epochs + 1):
        learning_rate = schedule.get_last_lr()[0]
        losses, train_accuracy = train_epoch(network, train, settings, optimizer, schedule, weights, generator)
        if not losses.isfinite().all():
            batch = int(losses.isfinite().logical_not().nonzero()[0]) + 1
            raise cli.InputError(
                f"train: the loss is {losses[batch - 1]:g} in epoch {epoch}, batch {batch}; "
                f"lower train.learning_rate = {settings.learning_rate:g}"
            )
        val_loss, val_accuracy = map(float, evaluate_epoch(network, val, settings.eval_batch_size))
        if val_loss < best_loss:
            best_loss, best_epoch = val_loss, epoch
            best_weights = copy.deepcopy(network.state_dict()) if settings.keep == "best" else None
        yield Epoch(epoch, float(losses.mean()), float(train_accuracy), val_loss, val_accuracy, learning_rate)
        if settings.patience and epoch - best_epoch >= settings.patience:
            break
    if best_weights is not None:
        network.load_state_dict(best_weights)


def band_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each band over all pixels of images (N, C, H, W); float32 (C,)."""
    mean, square = (
        np.mean([np.mean(image**power, axis=(1, 2), dtype=np.float64) for image in images], axis=0) for power in (1, 2)
    )
    std = np.sqrt(np.maximum(square - mean**2, 0))
    if not std.all():
        raise cli.InputError(
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

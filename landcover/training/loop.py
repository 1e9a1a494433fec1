"""Training: batches, optimizer, schedule, and the epochs of a run."""

import copy
import functools
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
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from landcover import files, processes
from landcover.config import Training
from landcover.data import tensors
from landcover.errors import InputError
from landcover.modalities import SENTINEL_2
from landcover.models.model import Model
from landcover.training.augmentation import augment, draw_gains, draw_mixture, draw_present, draw_symmetries, mix
from landcover.training.distributed import ALONE, Group, Rows
from landcover.training.loader import Patches
from landcover.training.prediction import infer

DIVERGED = 1e4  # nats; training does not recover from such a loss
NAN = math.nan  # of epochs that are not validated
UNSEEN = -1  # in place of the label of another process's patch


class Epoch(NamedTuple):
    """A row of the history: losses are means over batches, accuracies over patches."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


def derived_seed(seed: int, *parts: int) -> int:
    """A separate seed for each epoch, so that a run can resume after any of them, and for each fold."""
    return int(np.random.SeedSequence([seed, *parts]).generate_state(1, np.uint64)[0])


def batch_starts(count: int, size: int, least: int = 1) -> list[int]:
    """Where the batches of an epoch start; if the last one has fewer than `least` patches, it joins the one before."""
    starts = list(range(0, count, size))
    return starts[:-1] if len(starts) > 1 and count - starts[-1] < least else starts


def draw_batches(
    count: int, settings: Training, generator: torch.Generator, least: int = 1
) -> Iterator[tuple[slice, Rows]]:
    """For each batch of an epoch, its positions in the epoch and its rows, in index order or shuffled."""
    order = torch.randperm(count, generator=generator) if settings.shuffle else None
    starts = batch_starts(count, settings.batch_size, least)
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        positions = slice(start, end)
        yield positions, positions if order is None else order[positions]


def backbone(network: Model) -> list[torch.nn.Parameter]:
    """The weights of all layers but the last."""
    head = {*network.head.parameters()}
    return [weights for weights in network.parameters() if weights not in head]


def make_optimizer(network: Model, settings: Training) -> Optimizer:
    """Adam, AdamW, or SGD with Nesterov momentum; each step is one fused operator over all weights of a group.

    One group, or with `train.backbone_learning_rate` first that of the last layer, then that of all others.
    """
    weights: Iterable[Any] = network.parameters()
    if settings.backbone_learning_rate:
        head = {"params": list(network.head.parameters())}
        weights = [head, {"params": backbone(network), "lr": settings.backbone_learning_rate}]
    nesterov = functools.partial(torch.optim.SGD, momentum=0.9, nesterov=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": nesterov}[settings.optimizer]
    return kind(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


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
                optimizer,
                max_lr=[group["lr"] for group in optimizer.param_groups],
                total_steps=steps,
                cycle_momentum=False,
            )


def balanced_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Class weights, inversely proportional to the number of patches, with a mean of 1 over patches; 0 if none."""
    counts = torch.bincount(labels, minlength=classes).float()
    weights = len(labels) / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0.0)


def has_batch_norm(network: Model) -> bool:
    return any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def refuse_misfits(network: Model, train: int, val: int, settings: Training, group: Group) -> None:
    """Refuse settings that do not fit the number of patches or processes.

    Raises:
        InputError: says why, and what to change.
    """
    batch_norm = has_batch_norm(network)
    if batch_norm and min(settings.batch_size, train) == 1:
        raise InputError(
            f"train.batch_size = {settings.batch_size}, {train} train patches: a batch of one patch is too small for "
            "the model's batch norm; choose another size, or a model without batch norm"
        )
    if group.size > 1 and batch_norm:
        raise InputError(
            f"model: batch norm in each of {group.size} processes would normalize by its own share of a batch; train "
            "in one process, or choose a model without batch norm"
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
        watch: validate after each epoch; if nothing depends on it, without it only after the last one.

    Raises:
        InputError: the settings cannot be trained with, or the loss diverges.
    """

    def __init__(
        self,
        network: Model,
        train: Patches,
        val: Patches,
        settings: Training,
        group: Group = ALONE,
        *,
        watch: bool = True,
    ):
        self.network, self.train, self.val, self.settings, self.group = network, train, val, settings, group
        self.watch = watch or settings.keep == "best" or settings.patience is not None
        self.device, count, classes = train.labels.device, len(train.labels), network.head.out_features
        refuse_misfits(network, count, len(val.labels), settings, group)
        self._freeze(settings.frozen(1))
        # They average over the processes, too.
        accuracy = MulticlassAccuracy(classes, average="micro", ignore_index=UNSEEN, validate_args=False)
        loss = MeanMetric(nan_strategy="disable")  # a loss of NaN must not be left out
        self.metrics = MetricCollection({"loss": loss, "accuracy": accuracy}, compute_groups=False).to(self.device)
        self.class_weights = balanced_weights(train.labels, classes) if settings.class_weights == "balanced" else None
        self.optimizer = make_optimizer(network, settings)
        # Folds have all kinds of sizes, and batch norm cannot normalize by a patch that is left over alone.
        self.least = 2 if has_batch_norm(network) else 1
        batches = len(batch_starts(count, settings.batch_size, self.least))
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
            self._resume(checkpoint)
            yield from self.history
        try:
            while not self.finished:
                number = len(self.history) + 1
                rate = self.schedule.get_last_lr()[0]  # of the epoch's first batch
                trained = self._train(number)
                validated = self._validate(number) if self.watch or number == self.settings.epochs else (NAN, NAN)
                self.history.append(Epoch(number, *trained, *validated, rate))
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

    def _freeze(self, frozen: bool) -> None:
        """Let only the last layer learn, or all."""
        self.frozen = frozen
        for weights in backbone(self.network):
            weights.requires_grad_(not frozen)
        # DDP takes note of what learns when it is made.
        parallel = torch.nn.parallel.DistributedDataParallel
        self.forward = parallel(self.network) if self.group.size > 1 else self.network

    def _train(self, number: int) -> tuple[float, float]:
        """One pass over the train split: the mean over batches of the loss, and the accuracy while training."""
        settings, group, labels = self.settings, self.group, self.train.labels
        # Each process draws the same numbers for the whole batch and uses its share; only dropout differs.
        generator = torch.Generator().manual_seed(derived_seed(settings.seed, number))
        torch.manual_seed(derived_seed(settings.seed, number, group.rank))
        count, inputs = len(labels), self.network.inputs
        order = list(draw_batches(count, settings, generator, self.least))
        flipped, turns = draw_symmetries(count, settings, generator)
        modalities = len(inputs.image_modalities), len(inputs.context_modalities)
        present = draw_present(count, *modalities, settings, generator)
        bands = inputs.image_modalities.get(SENTINEL_2, [])
        gains = draw_gains(count, len(bands), settings, generator)
        mixture = draw_mixture(count, settings, np.random.default_rng(derived_seed(settings.seed, number)))
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")
        if self.frozen != settings.frozen(number):
            self._freeze(settings.frozen(number))
        # Without gradients alone, the running means of batch norm would still move.
        self.network.train(not self.frozen)
        self.network.head.train()
        # Kept on the device until the end: reading a value here would make the host wait for each batch. Allocated in
        # advance: a small tensor per batch between large temporary ones would fragment the memory.
        losses = torch.zeros(len(order), device=self.device)
        predicted, actual = torch.full_like(labels, UNSEEN), torch.full_like(labels, UNSEEN)
        batches = self.train.batches(group.share(rows) for _, rows in order)
        for step, ((positions, rows), batch) in enumerate(zip(order, batches, strict=True)):
            own = group.share(positions)
            images = augment(batch.images, *(values if values is None else values[own] for values in (flipped, turns)))
            if gains is not None:
                factors = images.new_ones(len(images), images.shape[1])
                factors[:, bands] = gains[own].to(self.device)
                images = images * factors[..., None, None]
            targets = batch.targets
            if mixture is not None:
                images, targets = mix(images, targets, len(self.network.inputs.classes), mixture.select(own))
            shown = None if present is None else present[own].to(self.device, non_blocking=True)
            with autocast:
                logits = self.forward(images, batch.context, shown)
            total = positions.stop - positions.start
            if self.class_weights is not None:
                total = self.class_weights[labels[rows]].sum()
            smoothing = settings.label_smoothing
            summed = F.cross_entropy(
                logits.float(), targets, self.class_weights, reduction="sum", label_smoothing=smoothing
            )
            # DDP averages the processes' gradients, so each is scaled up by the number of processes.
            loss = summed / (total / group.size)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            losses[step] = loss.detach()
            predicted[own], actual[own] = logits.detach().argmax(1), batch.labels
        return self._compute(losses, predicted, actual, f"in epoch {number}")

    def _validate(self, number: int) -> tuple[float, float]:
        """For the val split, the mean over batches of the cross-entropy, and the accuracy over patches."""
        size, labels = self.settings.eval_batch_size, self.val.labels
        own = slice(self.group.rank, None, self.group.size)
        logits = infer(self.network, self.val, size, self.group, once=True)
        # Each process fills in its own patches, so that each patch counts once.
        losses = torch.zeros(len(labels), device=self.device)
        losses[own] = F.cross_entropy(logits, self.val.targets[own], reduction="none")
        means = torch.stack([batch.mean() for batch in self.group.sum(losses).split(size)])
        return self._compute(means, logits.argmax(1), labels[own], f"of the val split after epoch {number}")

    def _compute(
        self, losses: torch.Tensor, predicted: torch.Tensor, actual: torch.Tensor, when: str
    ) -> tuple[float, float]:
        """Mean loss and accuracy over all processes."""
        self.metrics.reset()
        self.metrics.update(value=losses, preds=predicted, target=actual)
        means = self.metrics.compute()
        loss, accuracy = float(means["loss"]), float(means["accuracy"])
        if not abs(loss) < DIVERGED:  # also true for NaN
            rate = self.settings.learning_rate
            raise InputError(f"train: the loss is {loss:g} {when}; lower train.learning_rate = {rate:g}")
        return loss, accuracy

    def save(self, path: Path) -> None:
        """Write what `restore` needs to resume after the last epoch; no random state, since epochs have seeds."""
        optimizer = self.optimizer.state_dict()
        state = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        state |= {f"best.{name}": value for name, value in self.best_weights.items()}
        for number, moments in optimizer["state"].items():
            state |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        arrays = {name: value.cpu().contiguous().numpy() for name, value in state.items()}
        facts = {"groups": optimizer["param_groups"], "schedule": self.schedule.state_dict(), "history": self.history}
        with files.replacing(path) as part:
            tensors.save(part, arrays, facts)

    def restore(self, path: Path) -> None:
        """Restore what `save` wrote for a run with the same network, patches and settings.

        Raises:
            InputError: it is no such file.
        """
        arrays, facts = tensors.load(path)
        parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "optimizer": {}, "best": {}}
        for name, array in arrays.items():
            part, _, key = name.partition(".")
            parts[part][key] = torch.from_numpy(array)
        weights = [one for group in self.optimizer.param_groups for one in group["params"]]
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

    def _resume(self, checkpoint: Path) -> None:
        try:
            self.restore(checkpoint)
            news = f"resuming after epoch {len(self.history)}"
        except InputError as error:  # for example, damaged by a crash of the machine
            news = f"training from the start: {error}"
        if self.group.rank == 0 and not self.finished:
            print(news, file=sys.stderr)

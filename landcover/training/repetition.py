"""Training again, with other seeds and in folds, side by side where there are cores for it."""

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from scipy.special import logsumexp

from landcover import terminal
from landcover.config import Runtime, Training
from landcover.constants import SPLITS
from landcover.data import tensors
from landcover.data.index import Folds, load_folds, rows_by_split
from landcover.device import choose_device
from landcover.models.metadata import Metadata
from landcover.models.model import Model
from landcover.models.registry import Architecture
from landcover.processes import end_if_orphaned, helpers
from landcover.training import targets
from landcover.training.checkpoints import checkpoint_path
from landcover.training.determinism import set_deterministic
from landcover.training.drawing import draw_patches
from landcover.training.initialization import Pretrained, initialize
from landcover.training.inputs import describe, make_network
from landcover.training.loader import Patches, load
from landcover.training.loop import Run, derived_seed
from landcover.training.prediction import predict

PREDICTED = ("val", "test")

Arrays = dict[str, np.ndarray]  # log-probabilities by split, float64 (N, K)


class Trial(NamedTuple):
    """One training of several."""

    seed: int
    fold: int = 0  # from 1; 0: the splits as they are

    @property
    def own_seed(self) -> int:
        """The seed of the training: if folds shared one, their networks would all have the same initial weights."""
        return derived_seed(self.seed, self.fold) if self.fold else self.seed


def at_once(trials: int, runtime: Runtime) -> int:
    """How many networks train in parallel: on the CPU, as many as there are cores for their threads; else one."""
    if choose_device(runtime.device).type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()  # not on macOS
    return max(1, min(trials, cores // runtime.threads))


class Repetition(NamedTuple):
    """What the trials have in common."""

    model: Architecture
    train: Training
    device: torch.device
    folds: Folds | None
    split: tensors.Split  # all patches, once
    patches: Patches  # the same
    rows: list[dict[str, np.ndarray]]  # by fold, the rows of its train, val and test patches
    pretrained: Pretrained
    checkpoint: Path  # of no trial: `fit` adds which one it is

    @classmethod
    def load(
        cls,
        tensors_dir: Path,
        shares_path: Path,
        pretrained_path: Path,
        folds_csv: Path,
        model: Architecture,
        train: Training,
        runtime: Runtime,
    ) -> Self:
        device = choose_device(runtime.device)
        set_deterministic(runtime.threads, device)
        folds = load_folds(folds_csv)
        names = folds.splits if folds else SPLITS
        rows = [rows_by_split(tensors_dir, *names)]
        if folds:
            rows += folds.trials()
        split = targets.load_split(train, tensors_dir, shares_path, *names)
        patches = load(split, device, runtime.resident_gigabytes)
        pretrained, settings = Pretrained.load(pretrained_path), train.model_dump(exclude={"seed"})
        options = model.to_json(), settings, targets.sha256(split), pretrained.sha256, runtime.threads, str(device)
        checkpoint = checkpoint_path("repeat", tensors_dir, *options, folds.roles.tolist() if folds else None)
        return cls(model, train, device, folds, split, patches, rows, pretrained, checkpoint)

    def fit(self, trial: Trial, tick: Callable[[int], Any]) -> tuple[Run, dict[str, Any], Path]:
        """Train, or take what the checkpoint holds; returns what `initialize` did and the checkpoint's path, too.

        Args:
            tick: gets numbers of epochs done, which add up to `train.epochs`, even if training stops early.
        """
        settings = self.train.model_copy(update={"seed": trial.own_seed})
        train, val = (self.rows[trial.fold][role] for role in ("train", "val"))
        train = train[draw_patches(self.split.labels[train], settings)]
        network = make_network(self.split.select(train), self.model, settings.seed, self.device)
        patches = self.patches.select(train)
        start = initialize(network, self.model, self.pretrained, settings, patches)
        run = Run(network, patches, self.patches.select(val), settings, watch=False)
        checkpoint = self.checkpoint.with_stem(f"{self.checkpoint.stem}-{trial.seed}-{trial.fold}")
        for _ in run.epochs(checkpoint):
            tick(1)
        tick(settings.epochs - len(run.history))
        return run, start, checkpoint

    def predict(self, trial: Trial, run: Run) -> Arrays:
        """Log-probabilities of the trial's val and test patches."""
        of_each = {name: self.patches.select(self.rows[trial.fold][name]) for name in PREDICTED}
        return {name: predict(run.network, some, self.train.eval_batch_size) for name, some in of_each.items()}


def _fit_ahead(trials: Sequence[Trial], ticks: Path, *common: Any) -> dict[Trial, Arrays]:
    """In a helper process: train up to the checkpoints of the last epochs, and predict.

    A byte is added to the file `ticks` for each epoch.
    """
    with open(ticks, "ab", buffering=0) as file:
        repetition, predicted = Repetition.load(*common), {}
        for trial in trials:
            run, *_ = repetition.fit(trial, lambda epochs: file.write(b"." * epochs))
            predicted[trial] = repetition.predict(trial, run)
        return predicted


class Repeated(NamedTuple):
    """What comes of the trials."""

    log_probabilities: dict[str, np.ndarray]  # of val and test, float64 (S, N, K); with folds, of all their patches
    facts: dict[str, Any]  # about these
    networks: dict[int, Model]  # by seed; none with folds
    metadata: Metadata | None  # of the ensemble of the networks
    checkpoints: list[Path]  # which the caller removes once it has saved all this


def repeat_training(
    tensors_dir: Path,
    shares_path: Path,
    pretrained_path: Path,
    folds_csv: Path,
    seeds: Sequence[int],
    model: Architecture,
    train: Training,
    runtime: Runtime,
) -> Repeated:
    """Train with each seed, and in each fold if there are folds.

    Trials side by side are trained, and predict, in helper processes; this one takes their checkpoints. With folds, a
    patch's log-probabilities for test come from the network whose fold tests it, and those for val from the network
    that was chosen by it.
    """
    folds = load_folds(folds_csv)
    trials = [Trial(seed, fold) for seed in seeds for fold in (range(1, folds.count + 1) if folds else [0])]
    common = tensors_dir, shares_path, pretrained_path, folds_csv, model, train
    ahead: dict[Trial, Arrays] = {}
    count = at_once(len(trials), runtime)
    names = f"{len(trials)} networks" if len(trials) > 1 else "1 network"
    with terminal.progress(desc=f"train {names}", total=len(trials) * train.epochs, unit="epoch") as bar:
        if count > 1:
            share = runtime.model_copy(update={"resident_gigabytes": runtime.resident_gigabytes / count})
            with tempfile.NamedTemporaryFile() as ticks, helpers(count, "lower runtime.resident_gigabytes") as pool:
                waiting = {pool.submit(_fit_ahead, trials[i::count], ticks.name, *common, share) for i in range(count)}
                while waiting:
                    done, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                    end_if_orphaned()
                    for job in done:
                        ahead |= job.result()
                    bar.update(os.path.getsize(ticks.name) - bar.n)
        repetition = Repetition.load(*common, runtime)
        return _collect(repetition, trials, bar.update if count == 1 else lambda epochs: None, ahead)


def _collect(
    repetition: Repetition, trials: Sequence[Trial], tick: Callable[[int], Any], ahead: dict[Trial, Arrays]
) -> Repeated:
    folds, split = repetition.folds, repetition.split
    seeds = list(dict.fromkeys(trial.seed for trial in trials))
    predicted = {name: np.full((len(seeds), len(split.labels), len(split.classes)), np.nan) for name in PREDICTED}
    networks, epochs, checkpoints = {}, [], []
    for trial in trials:
        run, start, checkpoint = repetition.fit(trial, tick)
        checkpoints.append(checkpoint)
        for name, values in (ahead.get(trial) or repetition.predict(trial, run)).items():
            predicted[name][seeds.index(trial.seed), repetition.rows[trial.fold][name]] = values
        if not folds:
            networks[trial.seed] = run.network
            epochs.append(len(run.history))
    facts = {"seeds": seeds, "bands": split.bands, "classes": split.classes, "scale": split.scale}
    facts |= {"device": repetition.device.type} | (
        {"context": list(split.context_names)} if split.context_names else {}
    )
    if folds:
        return Repeated(predicted, facts | {"folds": folds.count, "folds_sha256": folds.sha256}, {}, None, checkpoints)
    rows = repetition.rows[0]
    predicted = {name: values[:, rows[name]] for name, values in predicted.items()}
    # Of the mean of the probabilities.
    of_val, of_test = (logsumexp(predicted[name], axis=0, b=1 / len(seeds)) for name in PREDICTED)
    val, test = (split.select(rows[name]) for name in PREDICTED)
    metadata = describe(
        networks[seeds[0]],
        repetition.model,
        split.select(rows["train"]),
        modality_dropout=repetition.train.modality_dropout,
        **targets.facts(val, of_val, test, of_test),
        epochs=epochs,
        device=repetition.device.type,
        seeds=seeds,
        initialization=start,
    )
    return Repeated(predicted, facts, networks, metadata, checkpoints)

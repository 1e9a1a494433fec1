"""Training again with other seeds, side by side where there are cores for it."""

import os
from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from scipy.special import logsumexp
from tqdm import tqdm

from landcover.config import Runtime, Training
from landcover.constants import SPLITS
from landcover.data import tensors
from landcover.device import choose_device
from landcover.models.metadata import Metadata
from landcover.models.model import Model
from landcover.models.registry import Architecture
from landcover.processes import end_if_orphaned, helpers
from landcover.training.calibration import fit_temperature
from landcover.training.checkpoints import checkpoint_path
from landcover.training.determinism import set_deterministic
from landcover.training.inputs import describe, make_network
from landcover.training.loader import Patches, load
from landcover.training.loop import Run
from landcover.training.prediction import predict


def at_once(seeds: int, runtime: Runtime) -> int:
    """How many seeds train in parallel: on the CPU, as many as there are cores for their threads; else one."""
    if choose_device(runtime.device).type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()  # not on macOS
    return max(1, min(seeds, cores // runtime.threads))


class Repetition(NamedTuple):
    """What the seeds have in common."""

    tensors_dir: Path
    model: Architecture
    train: Training
    runtime: Runtime
    device: torch.device
    splits: dict[str, tensors.Split]
    patches: dict[str, Patches]

    @classmethod
    def load(cls, tensors_dir: Path, model: Architecture, train: Training, runtime: Runtime) -> Self:
        device = choose_device(runtime.device)
        set_deterministic(runtime.threads, device)
        splits = {name: tensors.load_split(tensors_dir, name, gigabytes=0) for name in SPLITS}
        patches = {name: load(split, device, runtime.resident_gigabytes) for name, split in splits.items()}
        return cls(tensors_dir, model, train, runtime, device, splits, patches)

    def fit(self, seed: int, line: int | None = None) -> tuple[Run, Path]:
        """Train with a seed, or take what its checkpoint holds; returns the checkpoint's path, too.

        Args:
            line: of the terminal, for the progress bar of a helper process, which disappears at the end.
        """
        settings = self.train.model_copy(update={"seed": seed})
        network = make_network(self.splits["train"], self.model, seed, self.device)
        options = self.model.to_json(), settings.model_dump(), self.runtime.threads, str(self.device)
        run = Run(network, self.patches["train"], self.patches["val"], settings)
        bar = {"desc": f"seed {seed}", "unit": "epoch", "position": line, "leave": line is None, "disable": None}
        checkpoint = checkpoint_path("repeat", self.tensors_dir, *options)
        for _ in tqdm(run.epochs(checkpoint), total=settings.epochs, **bar):
            pass
        return run, checkpoint


def _fit_ahead(tensors_dir: Path, model: Architecture, train: Training, runtime: Runtime, seed: int, line: int) -> None:
    """In a helper process: train with a seed, up to the checkpoint of its last epoch."""
    Repetition.load(tensors_dir, model, train, runtime).fit(seed, line)


def repeat_training(
    tensors_dir: Path, seeds: Sequence[int], model: Architecture, train: Training, runtime: Runtime
) -> tuple[dict[int, Model], dict[str, np.ndarray], Metadata, list[Path]]:
    """Train with each seed.

    Seeds that train side by side reach their last checkpoints in helper processes, from which this one takes them.

    Returns:
        The networks, the log-probabilities of val and test, float64 (S, N, K), an ensemble's metadata, and the
        checkpoints, which the caller removes once it has saved all this.
    """
    if (count := at_once(len(seeds), runtime)) > 1:
        share = runtime.model_copy(update={"resident_gigabytes": runtime.resident_gigabytes / count})
        tqdm.get_lock()  # created before the helpers are forked, so that their progress bars share it
        with helpers(count, remedy="lower runtime.resident_gigabytes") as pool:
            arguments = (tensors_dir, model, train, share)
            for job in [pool.submit(_fit_ahead, *arguments, seed, line) for line, seed in enumerate(seeds)]:
                while wait([job], timeout=1).not_done:
                    end_if_orphaned()
                job.result()
    repetition = Repetition.load(tensors_dir, model, train, runtime)
    networks, epochs, checkpoints, predicted = {}, [], [], {"val": [], "test": []}
    for seed in seeds:
        run, checkpoint = repetition.fit(seed)
        checkpoints.append(checkpoint)
        networks[seed] = run.network
        epochs.append(len(run.history))
        for name, values in predicted.items():
            values.append(predict(run.network, repetition.patches[name], train.eval_batch_size))
    stacked = {name: np.stack(values) for name, values in predicted.items()}
    ensemble = logsumexp(stacked["val"], axis=0, b=1 / len(seeds))  # of the mean of the probabilities
    metadata = describe(
        networks[seeds[0]],
        model,
        repetition.splits["train"],
        modality_dropout=train.modality_dropout,
        temperature=fit_temperature(repetition.splits["val"].labels, ensemble),
        epochs=epochs,
        device=repetition.device.type,
        seeds=list(seeds),
    )
    return networks, stacked, metadata, checkpoints

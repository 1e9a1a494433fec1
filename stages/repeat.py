"""Train again with other seeds.  data/tensors -> models/seeds.safetensors, models/ensemble.safetensors

The first file holds the networks' log-probabilities, for evaluate; the second holds the networks.
"""

import os
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from landcover import files, terminal
from landcover.config import Architecture, Repetition, Runtime, Training
from landcover.constants import SPLITS
from landcover.data import tensors
from landcover.device import choose_device
from landcover.processes import end_if_orphaned, helpers


def at_once(seeds: int, runtime: Runtime) -> int:
    """How many seeds train in parallel: on the CPU, as many as there are cores for their threads; else one."""
    if choose_device(runtime.device).type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()  # not on macOS
    return max(1, min(seeds, cores // runtime.threads))


def train_side_by_side(
    count: int, tensors_dir: Path, seeds: list[int], model: Architecture, train: Training, runtime: Runtime
) -> None:
    """Train each seed in one of `count` helper processes, up to the checkpoint of its last epoch."""
    runtime = runtime.model_copy(update={"resident_gigabytes": runtime.resident_gigabytes / count})
    tqdm.get_lock()  # created before the helpers are forked, so that their progress bars share it
    with helpers(count, remedy="lower runtime.resident_gigabytes") as pool:
        options = (model, train, runtime)
        for job in [pool.submit(train_ahead, tensors_dir, [seed], *options, line) for line, seed in enumerate(seeds)]:
            while wait([job], timeout=1).not_done:
                end_if_orphaned()
            job.result()


def train_ahead(*arguments: Any) -> None:
    train_again(*arguments)  # for its checkpoint alone


def train_again(
    tensors_dir: Path, seeds: list[int], model: Architecture, train: Training, runtime: Runtime, line: int | None = None
) -> tuple[dict[int, Any], dict[str, np.ndarray], dict[str, Any], list[Path]]:
    """Train with each seed: networks, log-probabilities (S, N, K) of val and test, ensemble's metadata, checkpoints."""
    # Imported here, since the stage does not need them without seeds, as by default.
    with terminal.showing("importing libraries"):
        from scipy.special import logsumexp

        from landcover.models.cnn import predict
        from landcover.training.calibration import fit_temperature
        from landcover.training.checkpoints import checkpoint_path
        from landcover.training.determinism import set_deterministic
        from landcover.training.loader import load
        from landcover.training.loop import Run, describe, make_network

    device = choose_device(runtime.device)
    set_deterministic(runtime.threads, device)
    splits = {name: tensors.load_split(tensors_dir, name, gigabytes=0) for name in SPLITS}
    patches = {name: load(split, device, runtime.resident_gigabytes) for name, split in splits.items()}
    networks, checkpoints, epochs, found = {}, [], [], {"val": [], "test": []}
    for seed in seeds:
        networks[seed] = network = make_network(splits["train"], model, seed, device)
        settings = train.model_copy(update={"seed": seed})
        options = [model.model_dump(), settings.model_dump()]
        checkpoints.append(checkpoint_path("repeat", tensors_dir, *options, runtime.threads, str(device)))
        run = Run(network, patches["train"], patches["val"], settings)
        bar = {"desc": f"seed {seed}", "unit": "epoch", "position": line, "leave": line is None, "disable": None}
        epochs.append(len(list(tqdm(run.epochs(checkpoints[-1]), total=train.epochs, **bar))))
        for name, predicted in found.items():
            predicted.append(predict(network, patches[name], train.eval_batch_size))
    stacked = {name: np.stack(predicted) for name, predicted in found.items()}
    together = logsumexp(stacked["val"], axis=0, b=1 / len(seeds))  # of the mean of the probabilities
    metadata = describe(network, model, train, splits["train"]) | {
        "temperature": fit_temperature(splits["val"].labels, together),
        "epochs": epochs,
        "device": device.type,
    }
    return networks, stacked, metadata, checkpoints


def repeat(
    tensors_dir: Path,
    log_probabilities_path: Path,
    ensemble_path: Path,
    *,
    model: Architecture,
    train: Training,
    repeat: Repetition,
    runtime: Runtime,
) -> None:
    """Train with each seed, and save the networks and their log-probabilities; without seeds, both files are empty."""
    if seeds := sorted(repeat.seeds):
        what = (tensors_dir, seeds, model, train, runtime)
        if (count := at_once(len(seeds), runtime)) > 1:
            train_side_by_side(count, *what)
        networks, found, metadata, checkpoints = train_again(*what)
        from landcover.models.cnn import save_ensemble  # here, since it imports torch, which takes seconds

        facts = {fact: metadata[fact] for fact in metadata.keys() & {"bands", "context", "classes", "scale", "device"}}
        with files.replacing(log_probabilities_path) as part:
            tensors.save(part, found, {"seeds": seeds} | facts)
        with files.replacing(ensemble_path) as part:
            save_ensemble(part, networks, metadata | tensors.load_origin(tensors_dir)._asdict())
        for checkpoint in checkpoints:
            checkpoint.unlink(missing_ok=True)
    else:
        for path in (log_probabilities_path, ensemble_path):
            with files.replacing(path) as part:
                tensors.save(part, {}, {"seeds": []})

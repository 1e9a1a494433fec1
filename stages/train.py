"""Train the network.  data/tensors -> models/model.safetensors, log_probabilities.safetensors, reports/history.csv

The log-probabilities of each split are computed here, where torch and the device are available, so that the stages that
judge them need neither.
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from landcover.dataset import tensors
from landcover.ground import files, partial
from landcover.ground.benge import SPLITS
from landcover.ground.device import choose_device
from landcover.ground.params import Architecture, Dataset, Runtime, Training
from landcover.network.calibration import fit_temperature
from landcover.network.device import own_device, set_deterministic
from landcover.network.distributed import Group, join
from landcover.network.loader import load
from landcover.network.model import Network, predict, save
from landcover.network.training import Epoch, Run, checkpoint_path, describe, make_network

# What whoever judges the predictions must know of their network.
PREDICTED_BY = ("bands", "classes", "scale", "temperature", "parameters", "epochs", "device")


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    with files.replacing(path) as part, open(part, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Epoch._fields)
        table.writerows((number, *(f"{figure:.6g}" for figure in figures)) for number, *figures in history)


def fit(
    tensors_dir: Path,
    history_path: Path,
    model: Architecture,
    train: Training,
    runtime: Runtime,
    device: torch.device,
    group: Group,
) -> tuple[Network, list[Epoch]]:
    """Train on the train split and watch the val split; a run that was killed resumes after its last finished epoch.

    The history is written after each epoch, for whoever watches the curves.
    """
    facts, val = (tensors.load_split(tensors_dir, name, gigabytes=0) for name in ("train", "val"))
    network = make_network(facts, model, train.seed, device)
    patches = (load(split, device, runtime.resident_gigabytes) for split in (facts, val))
    run = Run(network, *patches, train, group)
    options = [section.model_dump() for section in (model, train)]
    checkpoint = checkpoint_path("train", tensors_dir, *options, runtime.threads, str(device), group.size)
    quiet = None if group.rank == 0 else True
    with tqdm(
        run.epochs(checkpoint), total=train.epochs, desc=f"train on {device}", unit="epoch", disable=quiet
    ) as progress:
        for epoch in progress:
            if group.rank == 0:
                write_history(history_path, run.history)
            progress.set_postfix(loss=f"{epoch.train_loss:.3f}", val_accuracy=f"{epoch.val_accuracy:.3f}")
    return network, run.history


def train(
    tensors_dir: Path,
    model_path: Path,
    log_probabilities_path: Path,
    history_path: Path,
    *,
    dataset: str,
    datasets: dict[str, Dataset],
    model: Architecture,
    train: Training,
    runtime: Runtime,
) -> None:
    """Train, predict all splits, and save the network with all that a prediction needs.

    Under `torchrun`, the processes share each batch, and the first one writes.
    """
    device = own_device(choose_device(runtime.device))
    set_deterministic(runtime.threads, device)
    try:
        with join(device) as group:
            network, history = fit(tensors_dir, history_path, model, train, runtime, device, group)
    except BaseException:
        # An interrupt, too: the epochs so far would pass for the history of a whole run.
        history_path.unlink(missing_ok=True)
        raise
    if group.rank > 0:
        return
    if len(history) < train.epochs:
        print(f"stopped after epoch {len(history)}: no lower val_loss in {train.patience} epochs", file=sys.stderr)
    splits = {name: tensors.load_split(tensors_dir, name, gigabytes=0) for name in SPLITS}
    predicted = {
        name: predict(network, load(split, device, runtime.resident_gigabytes), train.eval_batch_size)
        for name, split in splits.items()
    }
    metadata = describe(network, model, splits["train"]) | {
        "dataset": dataset,
        "synthetic": datasets[dataset].synthetic,
        "temperature": fit_temperature(splits["val"].labels, predicted["val"]),
        "epochs": len(history),
        "device": device.type,
    }
    with files.replacing(model_path) as part:
        save(part, network, metadata)
    with files.replacing(log_probabilities_path) as part:
        tensors.save(part, predicted, {fact: metadata[fact] for fact in PREDICTED_BY})
    partial.remove("train")

"""Train the network.  data/tensors -> models/model.safetensors, log_probabilities.safetensors, reports/history.csv

The latter are what the network makes of each split: here torch and the device are at hand, and whoever
judges needs neither.
"""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from landcover.dataset import tensors
from landcover.ground import files, partial
from landcover.ground.benge import PATCH_SIZE, SPLITS
from landcover.ground.device import choose_device
from landcover.ground.params import Architecture, Runtime, Training
from landcover.network.device import own_device, set_deterministic
from landcover.network.distributed import Group, join
from landcover.network.loader import load
from landcover.network.model import Network, parameter_count, predict, save
from landcover.network.model import load as load_network
from landcover.network.training import Epoch, Run, checkpoint_path, make_network


def fit(
    tensors_dir: Path, model: Architecture, train: Training, runtime: Runtime, device: torch.device, group: Group
) -> tuple[Network, dict[str, Any], list[Epoch]]:
    """Train on the train split and watch the val split; a run that was killed goes on after its last finished epoch.

    Returns:
        The network, what a prediction must know of it, and its history.
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
            progress.set_postfix(loss=f"{epoch.train_loss:.3f}", val_accuracy=f"{epoch.val_accuracy:.3f}")
    metadata = {
        "architecture": model.model_dump(),
        "bands": facts.bands,
        "classes": facts.classes,
        "scale": facts.scale,
        "parameters": parameter_count(network),
        "epochs": len(run.history),
        "device": device.type,
    }
    if (size := facts.images.shape[-1]) != PATCH_SIZE:
        metadata["patch_size"] = size
    return network, metadata, run.history


def train(
    tensors_dir: Path,
    model_path: Path,
    log_probabilities_path: Path,
    history_path: Path,
    *,
    model: Architecture,
    train: Training,
    runtime: Runtime,
) -> None:
    """Train, save the network with all that a prediction needs, and predict all splits by what was saved.

    Under `torchrun` the processes share each batch, and the first of them writes.
    """
    device = own_device(choose_device(runtime.device))
    set_deterministic(runtime.threads, device)
    with join(device) as group:
        network, metadata, history = fit(tensors_dir, model, train, runtime, device, group)
    if group.rank > 0:
        return
    if len(history) < train.epochs:
        print(f"stopped after epoch {len(history)}: no better val_loss in {train.patience} epochs", file=sys.stderr)
    with files.replacing(model_path) as part:
        save(part, network, metadata)
    with files.replacing(history_path) as part, open(part, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Epoch._fields)
        table.writerows((number, *(f"{figure:.6g}" for figure in figures)) for number, *figures in history)

    network = load_network(model_path)[0].to(device)

    def log_probabilities(name: str) -> np.ndarray:
        patches = load(tensors.load_split(tensors_dir, name, gigabytes=0), device, runtime.resident_gigabytes)
        return predict(network, patches, train.eval_batch_size)

    predicted = {name: log_probabilities(name) for name in SPLITS}
    with files.replacing(log_probabilities_path) as part:
        facts = ("bands", "classes", "scale", "parameters", "epochs", "device")
        tensors.save(part, predicted, {fact: metadata[fact] for fact in facts})
    partial.remove("train")

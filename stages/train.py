"""Train the network.  data/tensors -> models/model.safetensors, reports/history.csv"""

import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from stages import cli, files, tensors
from stages.model import Architecture, choose_device, parameter_count, save, set_deterministic
from stages.training import Training, fit, make_network, on_device


def train(
    tensors_dir: Path,
    model_path: Path,
    history_path: Path,
    *,
    model: Architecture,
    train: Training,
    runtime: cli.Runtime,
) -> None:
    """Train on the train split, watch the val split, and save the network with all that a prediction needs."""
    facts, val = (tensors.load_split(tensors_dir, name) for name in ("train", "val"))
    device = choose_device(runtime.device)
    set_deterministic(runtime.threads, device)
    network = make_network(facts, model, train.seed, device)

    history = []
    epochs = fit(network, on_device(facts, device), on_device(val, device), train)
    with tqdm(epochs, total=train.epochs, desc=f"train on {device}", unit="epoch", disable=None) as progress:
        for epoch in progress:
            history.append(epoch)
            progress.set_postfix(loss=f"{epoch.train_loss:.3f}", val_accuracy=f"{epoch.val_accuracy:.3f}")
    if len(history) < train.epochs:
        print(f"stopped after epoch {len(history)}: no better val_loss in {train.patience} epochs", file=sys.stderr)

    metadata = {
        "architecture": model.model_dump(),
        "bands": facts.bands,
        "classes": facts.classes,
        "scale": facts.scale,
        "parameters": parameter_count(network),
        "epochs": len(history),
        "device": device.type,
    }
    with files.replacing(model_path) as part:
        save(part, network, metadata)
    with files.replacing(history_path) as part:
        pd.DataFrame(history).to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


if __name__ == "__main__":
    cli.run(train)

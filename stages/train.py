"""Train the network.  data/tensors -> models/model.safetensors, reports/history.csv"""

import sys
from pathlib import Path

from tqdm import tqdm

from stages import cli, files, partial, tensors
from stages.distributed import join, own_device
from stages.loader import load
from stages.model import choose_device, parameter_count, save, set_deterministic
from stages.params import Architecture, Runtime, Training
from stages.training import Epoch, Run, checkpoint_path, make_network


def train(
    tensors_dir: Path,
    model_path: Path,
    history_path: Path,
    *,
    model: Architecture,
    train: Training,
    runtime: Runtime,
) -> None:
    """Train on the train split, watch the val split, and save the network with all that a prediction needs.

    A run that was killed goes on after its last finished epoch. Under `torchrun` the processes share each batch, and
    the first of them writes.
    """
    device = own_device(choose_device(runtime.device))
    set_deterministic(runtime.threads, device)
    facts, val = (tensors.load_split(tensors_dir, name, runtime.resident_gigabytes) for name in ("train", "val"))
    network = make_network(facts, model, train.seed, device)

    with join(device) as group:
        run = Run(network, load(facts, device), load(val, device), train, group)
        options = [section.model_dump() for section in (model, train)]
        checkpoint = checkpoint_path("train", tensors_dir, *options, runtime.threads, str(device), group.size)
        quiet = None if group.rank == 0 else True
        with tqdm(
            run.epochs(checkpoint), total=train.epochs, desc=f"train on {device}", unit="epoch", disable=quiet
        ) as progress:
            for epoch in progress:
                progress.set_postfix(loss=f"{epoch.train_loss:.3f}", val_accuracy=f"{epoch.val_accuracy:.3f}")
        if group.rank > 0:
            return
    history = run.history
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
    rows = ((number, *(f"{figure:.6g}" for figure in figures)) for number, *figures in history)
    files.write_csv(history_path, Epoch._fields, rows)
    partial.remove("train")


if __name__ == "__main__":
    cli.run(train)

"""Train the network.  tensors, shares, weights to start from -> models/*.safetensors, reports/history.csv

The log-probabilities of each split are computed here, where torch and the device are available, so that the stages that
evaluate them need neither. If the network has several modalities, without/<modality> are those of the test split with
that modality's values exchanged between patches.
"""

import csv
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from landcover import files, terminal
from landcover.config import Runtime, Training
from landcover.constants import SPLITS
from landcover.data import tensors
from landcover.device import choose_device
from landcover.modalities import PERMUTED_PREFIX
from landcover.models.registry import Architecture
from landcover.models.weights import save
from landcover.training import targets
from landcover.training.checkpoints import checkpoint_path
from landcover.training.determinism import own_device, set_deterministic
from landcover.training.distributed import join
from landcover.training.drawing import draw_patches
from landcover.training.initialization import Pretrained, describe_start, initialize
from landcover.training.inputs import describe, make_network
from landcover.training.loader import load
from landcover.training.loop import Epoch, Run
from landcover.training.prediction import predict, predict_permuted

# The facts about the network that are stored with its predictions.
FACTS = ("bands", "context", "classes", "scale", "temperature", "parameters", "epochs", "device")


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    with files.replacing(path) as part, open(part, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Epoch._fields)
        table.writerows((number, *(f"{figure:.6g}" for figure in figures)) for number, *figures in history)


def fit(run: Run, checkpoint: Path, curves: Path) -> None:
    """Train on the train split and watch the val split; a run that was killed resumes after its last finished epoch.

    The history so far is written to `curves` after each epoch, for whoever watches them.
    """
    first = run.group.rank == 0
    options = {"desc": f"train on {run.train.labels.device}", "total": run.settings.epochs, "unit": "epoch"}
    with closing(run.epochs(checkpoint)) as epochs, terminal.progress(epochs, disable=not first, **options) as bar:
        for epoch in bar:
            if first:
                write_history(curves, run.history)
            shown = {"loss": f"{epoch.train_loss:.3f}", "val_accuracy": f"{epoch.val_accuracy:.3f}"}
            bar.set_postfix(shown, refresh=False)


def train(
    tensors_dir: Path,
    shares_path: Path,
    pretrained_path: Path,
    model_path: Path,
    log_probabilities_path: Path,
    history_path: Path,
    *,
    model: Architecture,
    train: Training,
    runtime: Runtime,
) -> None:
    """Train, predict all splits, and save the network with all that a prediction needs.

    Under `torchrun`, the processes share each batch, and the first one writes.
    """
    device = own_device(choose_device(runtime.device))
    set_deterministic(runtime.threads, device)
    splits = {name: targets.load_split(train, tensors_dir, shares_path, name) for name in SPLITS}
    patches = {name: load(split, device, runtime.resident_gigabytes) for name, split in splits.items()}
    learnt, learnt_patches = splits["train"], patches["train"]
    if train.patches:
        rows = draw_patches(learnt.labels, train)
        learnt, learnt_patches = learnt.select(rows), learnt_patches.select(rows)
    network = make_network(learnt, model, train.seed, device)
    pretrained = Pretrained.load(pretrained_path)
    start = initialize(network, model, pretrained, train, learnt_patches)
    digests = targets.sha256(splits["train"]), pretrained.sha256
    options = model.to_json(), train.model_dump(), *digests, runtime.threads, str(device)
    with join(device) as group:
        if start and group.rank == 0:
            print(describe_start(start))
        run = Run(network, learnt_patches, patches["val"], train, group)
        checkpoint = checkpoint_path("train", tensors_dir, *options, group.size)
        curves = checkpoint.with_suffix(".csv")
        fit(run, checkpoint, curves)
    if group.rank > 0:
        return
    if (epochs := len(run.history)) < train.epochs:
        print(f"stopped after epoch {epochs}: no lower val_loss in {train.patience} epochs", file=sys.stderr)
    size = train.eval_batch_size
    predicted = {name: predict(network, split, size) for name, split in patches.items()}
    permuted = predict_permuted(network, patches["test"], size)
    predicted |= {f"{PERMUTED_PREFIX}{name}": values for name, values in permuted.items()}
    metadata = describe(
        network,
        model,
        learnt,
        modality_dropout=train.modality_dropout,
        **targets.facts(splits["val"], predicted["val"], splits["test"], predicted["test"]),
        epochs=epochs,
        device=device.type,
        initialization=start,
        **tensors.load_origin(tensors_dir)._asdict(),
    )
    with files.replacing(model_path) as part:
        save(part, network, metadata)
    with files.replacing(log_probabilities_path) as part:
        facts = metadata.to_json()
        tensors.save(part, predicted, {name: facts[name] for name in FACTS if name in facts})
    write_history(history_path, run.history)
    for temporary in (checkpoint, curves):
        temporary.unlink(missing_ok=True)

"""Train again with other seeds.  data/tensors -> models/seeds.safetensors"""

from pathlib import Path

import numpy as np

from landcover.dataset import tensors
from landcover.ground import files, partial
from landcover.ground.benge import SPLITS
from landcover.ground.device import choose_device
from landcover.ground.params import Architecture, Repetition, Runtime, Training


def train_again(
    tensors_dir: Path, seeds: list[int], model: Architecture, train: Training, runtime: Runtime
) -> tuple[dict[str, np.ndarray], dict]:
    """Log-probabilities of the val and test splits, float64 (S, N, K), and the facts of the data they are of."""
    # Here, since without a seed, as by default, nobody is to wait for these.
    from tqdm import tqdm

    from landcover.network.device import set_deterministic
    from landcover.network.loader import load
    from landcover.network.model import predict
    from landcover.network.training import Run, checkpoint_path, make_network

    device = choose_device(runtime.device)
    set_deterministic(runtime.threads, device)
    splits = {name: tensors.load_split(tensors_dir, name, gigabytes=0) for name in SPLITS}
    patches = {name: load(split, device, runtime.resident_gigabytes) for name, split in splits.items()}
    found = {"val": [], "test": []}
    for seed in tqdm(seeds, desc="repeat", unit="seed", disable=None):
        network = make_network(splits["train"], model, seed, device)
        settings = train.model_copy(update={"seed": seed})
        options = [section.model_dump() for section in (model, settings)]
        checkpoint = checkpoint_path("repeat", tensors_dir, *options, runtime.threads, str(device))
        for _ in Run(network, patches["train"], patches["val"], settings).epochs(checkpoint):
            pass
        for name, predicted in found.items():
            predicted.append(predict(network, patches[name], train.eval_batch_size))
    facts = {fact: getattr(splits["train"], fact) for fact in ("bands", "classes", "scale")}
    return {name: np.stack(predicted) for name, predicted in found.items()}, facts | {"device": device.type}


def repeat(
    tensors_dir: Path,
    log_probabilities_path: Path,
    *,
    model: Architecture,
    train: Training,
    repeat: Repetition,
    runtime: Runtime,
) -> None:
    """Train with each seed and predict the val and test splits, to tell what is owed to the seed. No seed, no work."""
    seeds = sorted(repeat.seeds)
    found, facts = train_again(tensors_dir, seeds, model, train, runtime) if seeds else ({}, {})
    with files.replacing(log_probabilities_path) as part:
        tensors.save(part, found, {"seeds": seeds} | facts)
    partial.remove("repeat")

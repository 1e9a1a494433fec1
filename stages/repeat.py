"""Train again with other seeds.  data/tensors -> models/seeds.safetensors, models/ensemble.safetensors

The former are the networks' log-probabilities, by which evaluate tells what is owed to the seed; the latter are the
networks themselves, to predict together.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landcover.dataset import tensors
from landcover.ground import files, partial
from landcover.ground.benge import SPLITS
from landcover.ground.device import choose_device
from landcover.ground.params import Architecture, Dataset, Repetition, Runtime, Training

if TYPE_CHECKING:
    from landcover.network.model import Network


def train_again(
    tensors_dir: Path, seeds: list[int], model: Architecture, train: Training, runtime: Runtime
) -> tuple[dict[int, "Network"], dict[str, np.ndarray], dict[str, Any]]:
    """Train with each seed.

    Returns:
        The networks, their log-probabilities of the val and test splits, float64 (S, N, K), and what a prediction by
        all of them must know.
    """
    from scipy.special import logsumexp
    from tqdm import tqdm

    from landcover.network.calibration import fit_temperature
    from landcover.network.device import set_deterministic
    from landcover.network.loader import load
    from landcover.network.model import predict
    from landcover.network.training import Run, checkpoint_path, describe, make_network

    device = choose_device(runtime.device)
    set_deterministic(runtime.threads, device)
    splits = {name: tensors.load_split(tensors_dir, name, gigabytes=0) for name in SPLITS}
    patches = {name: load(split, device, runtime.resident_gigabytes) for name, split in splits.items()}
    networks, epochs, found = {}, [], {"val": [], "test": []}
    for seed in tqdm(seeds, desc="repeat", unit="seed", disable=None):
        networks[seed] = network = make_network(splits["train"], model, seed, device)
        settings = train.model_copy(update={"seed": seed})
        options = [section.model_dump() for section in (model, settings)]
        checkpoint = checkpoint_path("repeat", tensors_dir, *options, runtime.threads, str(device))
        epochs.append(len(list(Run(network, patches["train"], patches["val"], settings).epochs(checkpoint))))
        for name, predicted in found.items():
            predicted.append(predict(network, patches[name], train.eval_batch_size))
    stacked = {name: np.stack(predicted) for name, predicted in found.items()}
    together = logsumexp(stacked["val"], axis=0, b=1 / len(seeds))  # of the mean of the probabilities
    metadata = describe(network, model, splits["train"]) | {
        "temperature": fit_temperature(splits["val"].labels, together),
        "epochs": epochs,
        "device": device.type,
    }
    return networks, stacked, metadata


def repeat(
    tensors_dir: Path,
    log_probabilities_path: Path,
    ensemble_path: Path,
    *,
    dataset: str,
    datasets: dict[str, Dataset],
    model: Architecture,
    train: Training,
    repeat: Repetition,
    runtime: Runtime,
) -> None:
    """Train with each seed, and keep what it predicts of the val and test splits, and its network. No seed, no work."""
    if seeds := sorted(repeat.seeds):
        from landcover.network.model import save_ensemble  # here, since without a seed nobody is to wait for torch

        networks, found, metadata = train_again(tensors_dir, seeds, model, train, runtime)
        with files.replacing(log_probabilities_path) as part:
            facts = {fact: metadata[fact] for fact in ("bands", "classes", "scale", "device")}
            tensors.save(part, found, {"seeds": seeds} | facts)
        with files.replacing(ensemble_path) as part:
            save_ensemble(part, networks, metadata | {"dataset": dataset, "synthetic": datasets[dataset].synthetic})
    else:
        for path in (log_probabilities_path, ensemble_path):
            with files.replacing(path) as part:
                tensors.save(part, {}, {"seeds": []})
    partial.remove("repeat")

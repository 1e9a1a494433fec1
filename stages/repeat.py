"""Train again with other seeds.  data/tensors -> models/seeds.safetensors, models/ensemble.safetensors

The first file holds the networks' log-probabilities, for evaluate; the second holds the networks.
"""

from dataclasses import replace
from pathlib import Path

from landcover import checkpoints, files, terminal
from landcover.config import Dataset, Repetition, Runtime, Training
from landcover.data import tensors
from landcover.models.registry import Architecture

# What whoever judges the predictions must know of their networks.
FACTS = ("seeds", "bands", "context", "classes", "scale", "device")


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
    """Train with each seed, and save the networks and their log-probabilities; without seeds, both files are empty."""
    if repeat.seeds:
        # Imported here, since they take seconds, and the stage does not need them without seeds, as by default.
        with terminal.showing("importing libraries"):
            from landcover.models.weights import save_ensemble
            from landcover.training.repetition import repeat_training

        networks, predicted, metadata = repeat_training(tensors_dir, sorted(repeat.seeds), model, train, runtime)
        metadata = replace(metadata, dataset=dataset, synthetic=datasets[dataset].synthetic)
        facts = metadata.to_json()
        with files.replacing(log_probabilities_path) as part:
            tensors.save(part, predicted, {name: facts[name] for name in FACTS if name in facts})
        with files.replacing(ensemble_path) as part:
            save_ensemble(part, networks, metadata)
    else:
        for path in (log_probabilities_path, ensemble_path):
            with files.replacing(path) as part:
                tensors.save(part, {}, {"seeds": []})
    checkpoints.remove("repeat")

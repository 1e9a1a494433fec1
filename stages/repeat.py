"""Train again with other seeds.  data/tensors -> models/seeds.safetensors, models/ensemble.safetensors

The first file holds the networks' log-probabilities, for evaluate; the second holds the networks.
"""

from dataclasses import replace
from pathlib import Path

from landcover import files, terminal
from landcover.config import Repetition, Runtime, Training
from landcover.data import tensors
from landcover.models.registry import Architecture

# The facts about the networks that are stored with their predictions.
FACTS = ("seeds", "bands", "context", "classes", "scale", "device")


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
    if repeat.seeds:
        # Imported here, since they take seconds, and the stage does not need them without seeds, as by default.
        with terminal.showing("importing libraries"):
            from landcover.models.weights import save_ensemble
            from landcover.training.repetition import repeat_training

        networks, predicted, metadata, checkpoints = repeat_training(
            tensors_dir, sorted(repeat.seeds), model, train, runtime
        )
        metadata = replace(metadata, **tensors.load_origin(tensors_dir)._asdict())
        facts = metadata.to_json()
        with files.replacing(log_probabilities_path) as part:
            tensors.save(part, predicted, {name: facts[name] for name in FACTS if name in facts})
        with files.replacing(ensemble_path) as part:
            save_ensemble(part, networks, metadata)
        for checkpoint in checkpoints:
            checkpoint.unlink(missing_ok=True)
    else:
        for path in (log_probabilities_path, ensemble_path):
            with files.replacing(path) as part:
                tensors.save(part, {}, {"seeds": []})

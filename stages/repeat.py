"""Train again.  tensors, shares, weights to start from, folds -> models/seeds.safetensors, ensemble.safetensors

With other seeds, and in folds. The first file holds log-probabilities, for evaluate, and the second the networks of the
seeds; those of folds are not kept, since they judge the configuration.
"""

from dataclasses import replace
from pathlib import Path

from landcover import files, terminal
from landcover.config import Repetition, Runtime, Training
from landcover.data import tensors
from landcover.models.registry import Architecture


def repeat(
    tensors_dir: Path,
    shares_path: Path,
    pretrained_path: Path,
    folds_csv: Path,
    log_probabilities_path: Path,
    ensemble_path: Path,
    *,
    model: Architecture,
    train: Training,
    repeat: Repetition,
    runtime: Runtime,
) -> None:
    """Train with each seed, in each fold, and save what comes of it; without seeds and folds, both files are empty."""
    seeds = sorted(repeat.seeds) or ([train.seed] if repeat.folds else [])
    if not seeds:
        for path in (log_probabilities_path, ensemble_path):
            with files.replacing(path) as part:
                tensors.save(part, {}, {"seeds": []})
        return
    # Imported here, since they take seconds, and the stage does not need them by default.
    with terminal.showing("importing libraries"):
        from landcover.models.weights import save_ensemble
        from landcover.training.repetition import repeat_training

    repeated = repeat_training(tensors_dir, shares_path, pretrained_path, folds_csv, seeds, model, train, runtime)
    with files.replacing(log_probabilities_path) as part:
        tensors.save(part, repeated.log_probabilities, repeated.facts)
    with files.replacing(ensemble_path) as part:
        if repeated.metadata:
            origin = tensors.load_origin(tensors_dir)._asdict()
            save_ensemble(part, repeated.networks, replace(repeated.metadata, **origin))
        else:
            tensors.save(part, {}, {"seeds": []})
    for checkpoint in repeated.checkpoints:
        checkpoint.unlink(missing_ok=True)

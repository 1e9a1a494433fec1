"""The networks' predictions for each split: models/log_probabilities.safetensors and seeds.safetensors."""

from pathlib import Path
from typing import Any

import numpy as np

from landcover.data import tensors
from landcover.data.index import Folds
from landcover.errors import InputError
from landcover.modalities import PERMUTATIONS, PERMUTED_PREFIX

COST = ("parameters", "epochs", "device")  # facts about the network and its training for the report


Arrays = dict[str, np.ndarray]  # by split


def load_log_probabilities(path: Path, splits: dict[str, tensors.Split]) -> tuple[Arrays, dict[str, Any]]:
    """The log-probabilities that train wrote of each split, float64 (N, K); the temperature that it fitted, and COST.

    Raises:
        InputError: its patches, bands, classes or scaling differ from the tensors', or it is not finite.
    """
    log_probabilities, metadata = tensors.load(path)
    _demand_fit(path, log_probabilities, metadata, splits, ())
    shape = (PERMUTATIONS, *log_probabilities["test"].shape)
    for name, values in log_probabilities.items():
        if name.startswith(PERMUTED_PREFIX) and (values.shape != shape or not np.isfinite(values).all()):
            raise InputError(f"{path}: {name} is not finite, or does not cover the test patches; run dvc repro train")
    if missing := [fact for fact in ("temperature", *COST) if fact not in metadata]:
        raise InputError(f"{path}: has no {', '.join(missing)}; run dvc repro train")
    return log_probabilities, metadata


def load_seeds(path: Path, splits: dict[str, tensors.Split], folds: Folds | None = None) -> tuple[list[int], Arrays]:
    """The seeds and the log-probabilities that repeat wrote of each split, float64 (S, N, K); empty without seeds.

    Raises:
        InputError: as in `load_log_probabilities`, or the folds were others.
    """
    log_probabilities, metadata = tensors.load(path)
    seeds = metadata.get("seeds")
    if not isinstance(seeds, list):
        raise InputError(f"{path}: has no seeds; run dvc repro repeat")
    if metadata.get("folds_sha256") != (folds and folds.sha256):
        raise InputError(f"{path}: comes from other folds than data/folds.csv; run dvc repro repeat")
    if seeds:
        _demand_fit(path, log_probabilities, metadata, splits, (len(seeds),))
    return seeds, log_probabilities


def _demand_fit(
    path: Path, arrays: Arrays, metadata: dict[str, Any], splits: dict[str, tensors.Split], leading: tuple[int, ...]
) -> None:
    for name, split in splits.items():
        facts = {"bands": split.bands, "classes": split.classes, "scale": split.scale}
        facts["context"] = list(split.context_names) or None
        for fact, expected in facts.items():
            if metadata.get(fact) != expected:
                trained = f"comes from a network trained with {fact} {metadata.get(fact)}"
                raise InputError(f"{path}: {trained}, but the tensors have {expected}; run dvc repro")
        count = len(split.labels)
        values = arrays.get(name)
        if values is None or values.shape != (*leading, count, len(split.classes)) or not np.isfinite(values).all():
            raise InputError(f"{path}: is not finite, or does not cover the {count} {name} patches; run dvc repro")

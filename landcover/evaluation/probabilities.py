"""The networks' predictions for each split: models/log_probabilities.safetensors and seeds.safetensors."""

from pathlib import Path
from typing import Any

import numpy as np

from landcover.data import tensors
from landcover.errors import InputError
from landcover.modalities import PERMUTATIONS, PERMUTED_PREFIX

COST = ("parameters", "epochs", "device")  # facts about the network and its training for the report


def read_log_probabilities(
    path: Path, splits: dict[str, tensors.Split]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What train wrote of each split, float64 (N, K); the temperature that it fitted, and COST.

    Raises:
        InputError: its patches, bands, classes or scaling differ from the tensors', or it is not finite.
    """
    found, metadata = tensors.load(path)
    _check(path, found, metadata, splits, ())
    for name in (name for name in found if name.startswith(PERMUTED_PREFIX)):
        if found[name].shape != (PERMUTATIONS, *found["test"].shape) or not np.isfinite(found[name]).all():
            raise InputError(f"{path}: {name} is not finite, or does not cover the test patches; run dvc repro train")
    if lacking := [fact for fact in ("temperature", *COST) if fact not in metadata]:
        raise InputError(f"{path}: has no {', '.join(lacking)}; run dvc repro train")
    return found, metadata


def read_seeds(path: Path, splits: dict[str, tensors.Split]) -> tuple[list[int], dict[str, np.ndarray]]:
    """The seeds and the output of repeat for each split, float64 (S, N, K); empty without seeds.

    Raises:
        InputError: as in `read_log_probabilities`.
    """
    found, metadata = tensors.load(path)
    seeds = metadata.get("seeds")
    if not isinstance(seeds, list):
        raise InputError(f"{path}: has no seeds; run dvc repro repeat")
    if seeds:
        _check(path, found, metadata, splits, (len(seeds),))
    return seeds, found


def _check(
    path: Path,
    found: dict[str, np.ndarray],
    metadata: dict[str, Any],
    splits: dict[str, tensors.Split],
    leading: tuple[int, ...],
) -> None:
    for name, split in splits.items():
        theirs = {"bands": split.bands, "classes": split.classes, "scale": split.scale}
        theirs["context"] = list(split.context_names) or None
        for fact, expected in theirs.items():
            if metadata.get(fact) != expected:
                raise InputError(
                    f"{path}: comes from a network trained with {fact} {metadata.get(fact)}, but the tensors have "
                    f"{expected}; run dvc repro"
                )
        shape = (*leading, len(split.labels), len(split.classes))
        if name not in found or found[name].shape != shape or not np.isfinite(found[name]).all():
            raise InputError(
                f"{path}: is not finite, or does not cover the {len(split.labels)} {name} patches; run dvc repro"
            )

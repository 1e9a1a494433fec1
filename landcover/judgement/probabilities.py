"""models/log_probabilities.safetensors: what the network makes of each split."""

from pathlib import Path
from typing import Any

import numpy as np

from landcover.dataset import tensors
from landcover.ground.errors import InputError

COST = ("parameters", "epochs")  # of the network, which its report tells


def read_log_probabilities(
    path: Path, splits: dict[str, tensors.Split]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What train wrote of each split, float64 (N, K), and how large the network is and how long it learnt.

    Raises:
        InputError: it is of other patches, bands, classes or scaling than the tensors have, or not finite.
    """
    found, metadata = tensors.load(path)
    for name, split in splits.items():
        for fact in ("bands", "classes", "scale"):
            if metadata.get(fact) != getattr(split, fact):
                raise InputError(
                    f"{path}: is of a network trained with {fact} {metadata.get(fact)}, the tensors have "
                    f"{getattr(split, fact)}; run dvc repro"
                )
        shape = (len(split.labels), len(split.classes))
        if name not in found or found[name].shape != shape or not np.isfinite(found[name]).all():
            raise InputError(
                f"{path}: is not finite, or not of the {shape[0]} patches of the {name} split; run dvc repro train"
            )
    if lacking := [fact for fact in COST if fact not in metadata]:
        raise InputError(f"{path}: has no {', '.join(lacking)}; run dvc repro train")
    return found, {fact: metadata[fact] for fact in COST}

"""What a network is to predict: the class of a patch, or the share of each class."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from landcover.config import Training
from landcover.data import tensors
from landcover.errors import InputError
from landcover.training.calibration import fit_temperature


def load_split(train: Training, tensors_dir: Path, shares_path: Path, *splits: str) -> tensors.Split:
    """A split, or several as one, whose images stay on disk; with shares if these are the target.

    Raises:
        InputError: the dataset has no shares.
    """
    wanted = train.target == "shares"
    split = tensors.load_split(tensors_dir, *splits, gigabytes=0, shares=shares_path if wanted else None)
    if wanted and split.shares is None:
        dataset = tensors.load_origin(tensors_dir).dataset
        raise InputError(
            f"train.target = 'shares': {dataset} states one class for each patch, and no shares; choose majority, or "
            "give a table with a column for each class"
        )
    return split


def sha256(split: tensors.Split) -> str | None:
    """The digest of the shares that are the target, by which a checkpoint is known; None for labels."""
    return None if split.shares is None else hashlib.sha256(split.shares.tobytes()).hexdigest()


def facts(val: tensors.Split, of_val: np.ndarray, test: tensors.Split, of_test: np.ndarray) -> dict[str, Any]:
    """What the file of a network states of its target, as fields of `Metadata`.

    Args:
        of_val, of_test: log-probabilities, float64 (N, K), before any temperature.
    """
    if val.shares is None:
        return {"temperature": fit_temperature(val.labels, of_val)}
    temperature = fit_temperature(val.shares, of_val)
    bias = (softmax(of_test / temperature, axis=1) - test.shares).mean(0)
    by_class = dict(zip(test.classes, bias.tolist(), strict=True))
    return {"target": "shares", "temperature": temperature, "share_bias": by_class}

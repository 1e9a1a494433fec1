"""Describe the train patches, so that maps can mark what is unlike them.  tensors -> models/applicability.safetensors

It needs no network: any model of these tensors takes the file.
"""

from pathlib import Path

from landcover import files
from landcover.data import tensors
from landcover.evaluation.applicability import Applicability, save


def applicability(tensors_dir: Path, applicability_path: Path) -> None:
    """Describe the train patches, and measure on the val split how unlike them other patches of the dataset are."""
    train, val = (tensors.load_split(tensors_dir, name, gigabytes=0) for name in ("train", "val"))
    found = Applicability.of(train, val, tensors.load_origin(tensors_dir).dataset)
    with files.replacing(applicability_path) as part:
        save(part, found)

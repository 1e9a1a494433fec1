"""The cached splits: shards of images and labels, and the index that says what is in them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy

from stages.cli import InputError

INDEX = "index.csv"


def save(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Write arrays as safetensors, the same bytes for the same content; metadata values are stored as JSON."""
    texts = {key: json.dumps(value) for key, value in metadata.items()}
    safetensors.numpy.save_file(arrays, path, texts)
    # The library writes the metadata in the order of a hash map, another one in each process: sort the header.
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.dumps(json.loads(file.read(length)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        file.seek(8)
        file.write(header.encode().ljust(length))


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save` wrote.

    Raises:
        InputError: the file is missing or is not what `save` writes.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run dvc repro") from None
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: is not a safetensors file of this pipeline ({error}); run dvc repro") from None


class Split(NamedTuple):
    """The patches of one split, in the order of the index."""

    images: np.ndarray  # float32 (N, C, 120, 120), reflectances in [0, 1]
    labels: np.ndarray  # int64 (N,)
    bands: list[str]
    classes: list[str]
    scale: dict[str, float]


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:05d}.safetensors"


def _shards(directory: Path, split: str) -> Iterator[tuple[dict[str, np.ndarray], dict[str, Any]]]:
    paths = sorted(directory.glob(f"{split}-*.safetensors"))
    if not paths:
        raise InputError(f"{directory}: has no shard of the {split} split; run dvc repro")
    return map(load, paths)


def load_split(directory: Path, split: str) -> Split:
    """Read all shards of a split into memory."""
    arrays, metadata = zip(*_shards(directory, split), strict=True)
    images, labels = (np.concatenate([shard[key] for shard in arrays]) for key in ("images", "labels"))
    return Split(images, labels, *(metadata[0][key] for key in ("bands", "classes", "scale")))


def load_index(directory: Path, split: str) -> pd.DataFrame:
    """The index's rows of a split: `row`, `patch_id`, `label`, `majority_fraction`, `lon`, `lat`."""
    index = pd.read_csv(directory / INDEX)
    return index[index["split"] == split].reset_index(drop=True)

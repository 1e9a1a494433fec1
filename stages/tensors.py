"""The cached splits: shards of images and labels, and the index that says what is in them."""

import csv
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from stages.errors import InputError

INDEX = "index.csv"


def save(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Write arrays as safetensors, the same bytes for the same content; metadata values are stored as JSON."""
    texts = {key: json.dumps(value) for key, value in metadata.items()}
    content = memoryview(safetensors.numpy.save(arrays, texts))
    # The library writes the metadata in the order of a hash map, another one in each process: sort the header.
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(bytes(content[8:start])), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Not by the library's save_file, whose errors are no OSError, and which leaves a file of its own if it is killed.
    with open(path, "wb") as file:
        file.write(content[:8])
        file.write(header.encode().ljust(start - 8))
        file.write(content[start:])


def load(path: Path, *names: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save` wrote: all arrays, or those named, and the metadata.

    Raises:
        InputError: the file is missing or is not what `save` writes.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            return {key: file.get_tensor(key) for key in names or file.keys()}, metadata
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run dvc repro") from None
    except (safetensors.SafetensorError, ValueError, RecursionError, TypeError, AttributeError, OSError) as error:
        # Metadata that JSON cannot hold, a type that numpy lacks, a folder.
        raise InputError(f"{path}: is not a safetensors file of this pipeline ({error}); run dvc repro") from None


class Shards:
    """The images of a split that is too large to hold, float32 (N, C, H, W).

    Indexes as an array does, by a row, a slice or an array of rows. What is asked for is copied from a memory map
    that lives no longer than that, so that memory stays flat however many shards there are.
    """

    def __init__(self, paths: list[Path]):
        self._paths, self._offsets, self._starts, shape = paths, [], [0], ()
        for path in paths:
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                facts = json.loads(file.read(length))["images"]
            self._offsets.append(8 + length + facts["data_offsets"][0])
            self._starts.append(self._starts[-1] + facts["shape"][0])
            shape = facts["shape"][1:]
        self.shape = (self._starts[-1], *shape)
        self.nbytes = math.prod(self.shape) * 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        elif isinstance(rows, (int, np.integer)):
            return self[np.arange(len(self))[rows : rows + 1 or None]][0]
        found = np.empty((len(rows), *self.shape[1:]), np.float32)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            start, stop = self._starts[shard : shard + 2]
            shape = (stop - start, *self.shape[1:])
            mapped = np.memmap(self._paths[shard], "<f4", "r", self._offsets[shard], shape)
            wanted = rows[here] - start
            if (np.diff(wanted) == 1).all() and (np.diff(here) == 1).all():  # in order: copied once instead of twice
                found[here[0] : here[-1] + 1] = mapped[wanted[0] : wanted[-1] + 1]
            else:
                for place, row in zip(here, wanted, strict=True):  # with no copy between, for which memory is torn
                    found[place] = mapped[row]
        return found


class Split(NamedTuple):
    """The patches of one split, in the order of the index."""

    images: np.ndarray | Shards  # float32 (N, C, 120, 120), reflectances in [0, 1]
    labels: np.ndarray  # int64 (N,)
    bands: list[str]
    classes: list[str]
    scale: dict[str, float]


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:05d}.safetensors"


def load_split(directory: Path, split: str, gigabytes: float = math.inf) -> Split:
    """Read a split into memory; the images of one of more than so many gigabytes stay on disk.

    Raises:
        InputError: there is no such split.
    """
    paths = sorted(directory.glob(f"{split}-*.safetensors"))
    if not paths:
        raise InputError(f"{directory}: has no shard of the {split} split; run dvc repro")
    arrays, metadata = zip(*(load(path, "labels") for path in paths), strict=True)
    labels = np.concatenate([shard["labels"] for shard in arrays])
    images = Shards(paths)
    if images.nbytes <= gigabytes * 1e9:
        images = images[:]
    return Split(images, labels, *(metadata[0][key] for key in ("bands", "classes", "scale")))


class Index(NamedTuple):
    """What the index says of the patches of one split, in its order."""

    patch_ids: np.ndarray  # str (N,)
    majority_fractions: np.ndarray  # float64 (N,), of the patch, covered by the class that it is labelled with


def load_index(directory: Path, split: str) -> Index:
    """Read the index's rows of a split."""
    with open(directory / INDEX, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    return Index(
        np.array([row["patch_id"] for row in rows]), np.array([float(row["majority_fraction"]) for row in rows])
    )

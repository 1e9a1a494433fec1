"""The cached splits: shards of images and labels."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, Self, TypedDict

import numpy as np
import safetensors

from landcover.constants import METRES_PER_PIXEL, SPLITS, SURFACE
from landcover.errors import InputError

ORIGIN = "dataset.json"
DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64"}  # by numpy's name, that of the file format


def save(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Write arrays as safetensors, the same bytes for the same content; metadata values are stored as JSON."""
    header: dict[str, Any] = {"__metadata__": {key: json.dumps(value) for key, value in metadata.items()}}
    names, end = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)), 0
    for name in names:
        start, end = end, end + arrays[name].nbytes
        facts = {"dtype": DTYPES[arrays[name].dtype.name], "shape": arrays[name].shape, "data_offsets": [start, end]}
        header[name] = facts
    # Not with the library, which writes metadata in an order that differs between processes, and copies all arrays.
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(np.ascontiguousarray(arrays[name]).data)


def load(path: Path, *names: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save` wrote: all arrays, or the named ones, and the metadata.

    Raises:
        InputError: the file is missing or was not written by `save`.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            return {key: file.get_tensor(key) for key in names or file.keys()}, metadata
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run dvc repro") from None
    except (safetensors.SafetensorError, ValueError, RecursionError, TypeError, AttributeError, OSError) as error:
        # Metadata that JSON cannot hold, a type that numpy lacks, a folder.
        raise InputError(f"{path}: is not a safetensors file from this pipeline ({error}); run dvc repro") from None


class Origin(NamedTuple):
    """Where the patches of a folder of tensors come from: all that later stages know of the entry in params.yaml."""

    dataset: str  # its name
    synthetic: bool  # whether this project wrote the data itself
    level: str = SURFACE  # of Sentinel-2, 1C or 2A


def save_origin(directory: Path, origin: Origin) -> None:
    facts = {key: value for key, value in origin._asdict().items() if (key, value) != ("level", SURFACE)}
    (directory / ORIGIN).write_text(json.dumps(facts) + "\n", encoding="utf-8")


def load_origin(directory: Path) -> Origin:
    """Read what `save_origin` wrote.

    Raises:
        InputError: the folder does not say it.
    """
    try:
        return Origin(**json.loads((directory / ORIGIN).read_bytes()))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{directory / ORIGIN}: does not say where the tensors come from; run dvc repro") from None


class Shards:
    """The images of a split that does not fit in memory, float32 (N, C, H, W).

    Can be indexed like an array, by a row, a slice or an array of rows. Rows are copied from files that are closed
    again at once, so that memory use does not depend on the number of shards.
    """

    def __init__(self, paths: list[Path]):
        self._paths, self._starts, shape = paths, [0], []
        for path in paths:
            with safetensors.safe_open(path, framework="numpy") as file:
                count, *shape = file.get_slice("images").get_shape()
            self._starts.append(self._starts[-1] + count)
        self.shape = (self._starts[-1], *shape)
        self.nbytes = math.prod(self.shape) * 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        elif isinstance(rows, (int, np.integer)):
            return self[np.arange(len(self))[rows : rows + 1 or None]][0]
        output = np.empty((len(rows), *self.shape[1:]), np.float32)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(shards) != 0)) + 1
        stretches = [(part[0], part[-1] + 1) for part in np.split(np.arange(len(rows)), breaks) if len(part)]
        for shard in np.unique(shards):
            with safetensors.safe_open(self._paths[shard], framework="numpy") as file:
                images = file.get_slice("images")
                for start, stop in stretches:
                    if shards[start] == shard:
                        first = int(rows[start]) - self._starts[shard]
                        output[start:stop] = images[first : first + int(stop - start)]
        return output


class Scale(TypedDict):
    """How numbers became the images' values."""

    divisor: float  # the number, less its offset, of a reflectance of 1
    offset: int  # subtracted from all patches, whatever their products; else 0
    minimum: int
    maximum: float  # the largest reflectance that the numbers can state, at most 1
    metres_per_pixel: NotRequired[float]  # unless METRES_PER_PIXEL
    # Of other channels and features: the values that became 0 and 1.
    ranges: NotRequired[dict[str, tuple[float, float]]]


class Selection:
    """Some of the images of a split, float32 (N, C, H, W), without a copy; can be indexed as `Shards` can.

    Args:
        rows: int64 (N,), of the images.
    """

    def __init__(self, images: np.ndarray | Shards, rows: np.ndarray):
        self._images, self._rows = images, rows
        self.shape = (len(rows), *images.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        return self._images[self._rows[rows]]


class Split(NamedTuple):
    """The patches of one split, in the order of the index."""

    images: np.ndarray | Shards | Selection  # float32 (N, C, H, H), from 0 to 1, as in `scale`; 0 is nodata
    labels: np.ndarray  # int64 (N,)
    bands: list[str]  # the image channels
    classes: list[str]
    scale: Scale
    context: np.ndarray | None = None  # float32 (N, F), from 0 to 1
    context_names: Sequence[str] = ()
    shares: np.ndarray | None = None  # float32 (N, K), of the classes in each patch, in sum 1; None if not asked for

    def select(self, rows: np.ndarray) -> Self:
        """These patches alone, from int64 (N,)."""
        context, shares = (None if of_each is None else of_each[rows] for of_each in (self.context, self.shares))
        images = Selection(self.images, rows)
        return self._replace(images=images, labels=self.labels[rows], context=context, shares=shares)

    @property
    def metres_per_pixel(self) -> float:
        return self.scale.get("metres_per_pixel", METRES_PER_PIXEL)


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:05d}.safetensors"


def save_shares(path: Path, splits: np.ndarray, shares: np.ndarray | None, classes: Sequence[str]) -> None:
    """Write the shares of the classes, one array a split, with the rows of its shards; none if there are no shares.

    A patch's shares are divided by their sum, since some of its ground may be of no class.

    Args:
        splits: of each patch, str (N,).
        shares: float64 (N, K).
    """
    arrays = {}
    if shares is not None:
        shares = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
        arrays = {split: shares[splits == split] for split in SPLITS}
    save(path, arrays, {"classes": list(classes)})


def load_split(directory: Path, *splits: str, gigabytes: float = math.inf, shares: Path | None = None) -> Split:
    """Read a split, or several as one, into memory; images that exceed `gigabytes` stay on disk.

    Args:
        shares: the file of the classes' shares, to read them, too, if the dataset has any.

    Raises:
        InputError: there is no such split, or the shares are not of its patches.
    """
    paths = []
    for split in splits:
        paths += (of_split := sorted(directory.glob(f"{split}-*.safetensors")))
        if not of_split:
            raise InputError(f"{directory}: has no shard of the {split} split; run dvc repro")
    _, facts = load(paths[0], "labels")
    names = ["labels", "context"] if "context" in facts else ["labels"]
    shards = [load(path, *names)[0] for path in paths]
    labels, *context = (np.concatenate([shard[name] for shard in shards]) for name in names)
    images = Shards(paths)
    if images.nbytes <= gigabytes * 1e9:
        images = images[:]
    own = (*context, facts["context"]) if context else ()
    split = Split(images, labels, *(facts[key] for key in ("bands", "classes", "scale")), *own)
    by_split = load(shares)[0] if shares else {}
    if not by_split:
        return split
    known = np.concatenate([by_split[name] for name in splits])
    if known.shape != (len(labels), len(split.classes)):
        raise InputError(f"{shares}: does not cover the {len(labels)} patches in {directory}; run dvc repro")
    return split._replace(shares=known)

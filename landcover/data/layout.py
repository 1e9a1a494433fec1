"""The seam to datasets: a layout says which files it needs, and which patches they are.

To add one, write a module in `layouts/` with the three functions of `Layout`, and name it in the schema of params.yaml.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Protocol, get_args

import numpy as np
import pandas as pd

from landcover.config import Dataset, LayoutName
from landcover.constants import METRES_PER_PIXEL
from landcover.data.raster import Channel
from landcover.errors import CHOICES, InputError, few
from landcover.modalities import context_features, image_channels

LAYOUTS = get_args(LayoutName)  # their names in params.yaml


@dataclass(frozen=True)
class Patches:
    """The patches of an unpacked dataset.

    Attributes:
        name: of the dataset, for messages.
        root: the folder to which the files in `table` are relative, absolute.
        channels: the image channels, in order.
        features: the names of the context features, in order.
        table: a row per patch, in the dataset's order, indexed from 0. Its columns:
            `patch_id`: str, unique;
            `problem`: why the patch cannot be used, or '';
            `warning`: what looks wrong but is not certain, or '';
            `offset`: int64, of the digital numbers as its metadata say, or offsets.UNKNOWN;
            for each channel, the file that holds it, and for each feature, its value in physical units, float64;
            `days_apart`, with radar: float64, from the Sentinel-2 image to the radar image, NaN if unknown;
            and unless the patches are read for prediction:
            `label`: int64, a position in the classes, or -1; `majority_fraction`: float64, the share of the patch that
            the class covers; `tied`: bool, whether another class covers as much;
            `lon`, `lat`: float64, degrees, NaN in all rows if unknown;
            `date`: YYYYMMDD, and `tile`: the MGRS tile, '' if unknown;
            `split`, if the entry asks for it: the dataset's own, as `splits.by_files` takes it.
        classes: in the order of the labels; empty for prediction.
        patch_size: side in pixels.
        metres_per_pixel: of the finest channel.
        level: of Sentinel-2, 1C or 2A; None if unknown.
        warnings: what looks wrong with the dataset as a whole.
        shares: of each class in each row of `table`, float64 (N, K); None if the dataset states one class a patch.
    """

    name: str
    root: Path
    channels: list[Channel]
    features: list[str]
    table: pd.DataFrame
    classes: list[str]
    patch_size: int
    metres_per_pixel: float = METRES_PER_PIXEL
    level: str | None = None
    warnings: list[str] = field(default_factory=list)
    shares: np.ndarray | None = None


class Layout(Protocol):
    """The three functions of a layout's module."""

    def needed(self, path: PurePosixPath, channels: Collection[str]) -> bool:
        """Whether the pipeline reads this member of an archive, given the image channels."""

    def matches(self, folder: Path) -> bool:
        """Whether a folder of unpacked files looks like this layout."""

    def read_patches(
        self, folder: Path, channels: Sequence[str], features: Sequence[str], entry: Dataset | None = None
    ) -> Patches:
        """The patches in a folder of unpacked files.

        Args:
            channels: image channels, in order.
            features: context features, in order.
            entry: of the dataset in params.yaml; None for prediction, which only ben-ge offers: labels and positions
                are not read, and channels and features of modalities that the dataset lacks are left out.

        Raises:
            InputError: the folder is not in this layout, or what is asked for is missing or damaged.
        """


def find_layout(name: str) -> Layout:
    """A layout by its name in params.yaml."""
    return import_module(f"landcover.data.layouts.{name.replace('-', '_')}")


def member_filter(entry: Dataset, inputs: Collection[str], bands: Iterable[str]) -> Callable[[PurePosixPath], bool]:
    """Whether the pipeline reads a member of an archive: what the layout that the entry states, or else any, needs.

    Args:
        entry, inputs, bands: of params.yaml; the entry's own bands win.
    """
    channels = image_channels(inputs, entry.bands or bands)
    layouts = [find_layout(name) for name in ([entry.layout] if entry.layout else LAYOUTS)]
    return lambda path: any(layout.needed(path, channels) for layout in layouts)


def read_dataset(folder: Path, entry: Dataset, inputs: Collection[str], bands: Iterable[str]) -> Patches:
    """The patches of an unpacked dataset.

    Args:
        entry, inputs, bands: of params.yaml; the entry's own bands win.

    Raises:
        InputError: it is in no layout, or as for `Layout.read_patches`.
    """
    channels, features = image_channels(inputs, entry.bands or bands), context_features(inputs)
    patches = find_layout(recognize(folder, entry)).read_patches(folder, channels, features, entry)
    if unknown := [name for name in entry.colours if name not in patches.classes]:
        raise InputError(
            f"colours of the dataset's entry: no class {few(unknown)}; choose from {few(patches.classes, CHOICES)}"
        )
    return patches


def recognize(folder: Path, entry: Dataset) -> str:
    """The name of the layout that an entry states, or else the folder shows.

    Raises:
        InputError: it is in none.
    """
    if entry.layout:
        return entry.layout
    for name in LAYOUTS:
        if find_layout(name).matches(folder):
            return name
    names = few(sorted(path.name for path in folder.glob("*") if path.is_dir() or path.suffix)) or "nothing"
    raise InputError(
        f"{folder}: contains {names}, in no known layout: neither <name>_meta.csv, nor a table with a column path, nor "
        f"a folder of images for each class; arrange the source like that, or set layout in the dataset's entry to "
        f"{', '.join(LAYOUTS)}"
    )

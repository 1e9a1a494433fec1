"""The seam to datasets: a layout says which files it needs, and which patches they are.

To add one, write a module in `layouts/` with the two functions of `Layout`, and name it in LAYOUTS and in the schema of
params.yaml.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Protocol

import pandas as pd

from landcover.data.raster import Channel

LAYOUTS = {"ben-ge": "ben_ge"}  # by its name in params.yaml, the module


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
            `split`, if asked for: the dataset's own, one of SPLITS, or '' for none.
    """

    name: str
    root: Path
    channels: list[Channel]
    features: list[str]
    table: pd.DataFrame


class Layout(Protocol):
    """The two functions of a layout's module."""

    def needed(self, path: PurePosixPath, channels: Collection[str]) -> bool:
        """Whether the pipeline reads this member of an archive, given the image channels."""

    def read_patches(
        self,
        folder: Path,
        channels: Sequence[str],
        features: Sequence[str],
        *,
        classes: Sequence[str] | None = None,
        own_split: bool = False,
    ) -> Patches:
        """The patches in a folder of unpacked files.

        Args:
            channels: image channels, in order.
            features: context features, in order.
            classes: in the order of the labels; None for prediction, where labels and positions are not read, and
                channels and features of modalities that the dataset lacks are left out.
            own_split: whether to read the dataset's own split.

        Raises:
            InputError: the folder is not in this layout, or what is asked for is missing or damaged.
        """


def find_layout(name: str) -> Layout:
    """A layout by its name in params.yaml."""
    return import_module(f"landcover.data.layouts.{LAYOUTS[name]}")

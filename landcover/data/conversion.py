"""From the files of patches to tensors, shard by shard, on the processes of this machine or on a Dask cluster."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from landcover import terminal
from landcover.constants import BANDS, METRES_PER_PIXEL, NODATA, PATCH_SIZE, REFLECTANCE_SCALE, SPLITS
from landcover.data import offsets, tensors
from landcover.data.layout import Patches
from landcover.data.raster import Channel, gdal, read_patch
from landcover.modalities import QUANTITIES

PATCHES_PER_SHARD = 100  # of ben-ge with four bands
SHARD_BYTES = PATCHES_PER_SHARD * 4 * 4 * PATCH_SIZE**2  # enough shards to share the work, few enough files for DVC
MAX_LEVEL = (1 << 16) - 1  # of histograms
NEAR_INFRARED = ("B08", "B8A", "B07")  # the first one available is compared with radar


@dataclass(frozen=True)
class Reading:
    """What is read of each patch, and how."""

    root: Path  # the folder to which files are relative
    channels: list[Channel]  # optical bands first
    features: list[str]
    size: int = PATCH_SIZE  # side of a patch in pixels
    metres_per_pixel: float = METRES_PER_PIXEL
    resampling: str = "bilinear"
    offset: int | Literal["auto"] = "auto"  # of all patches, or each patch's own

    @classmethod
    def of(cls, patches: Patches, **options) -> "Reading":
        size = {"size": patches.patch_size, "metres_per_pixel": patches.metres_per_pixel}
        return cls(patches.root, patches.channels, patches.features, **size | options)

    @property
    def bands(self) -> list[Channel]:
        """The optical ones among the channels."""
        return [channel for channel in self.channels if channel.name in BANDS]

    @property
    def divisor(self) -> float:
        """The number, less its offset, of a reflectance of 1."""
        steps = self.bands[0].steps if self.bands else 1
        return REFLECTANCE_SCALE if steps == 1 else round(REFLECTANCE_SCALE / steps, 6)


@dataclass(frozen=True)
class Pixels:
    """The pixels of some patches."""

    numbers: np.ndarray  # uint16 (N, B, H, W): the optical bands of the good patches, less their offsets
    others: np.ndarray  # float32 (N, C - B, H, W): their other channels, scaled to 0 ... 1
    good: list[int]  # their rows
    problems: dict[str, str]  # by patch id, why the others are bad
    offsets: Counter[int]  # from how many patches which offset was subtracted
    far_apart: list[str]  # patches whose radar or elevation lies elsewhere on the ground than their bands

    def images(self) -> np.ndarray:
        """All channels, float32 (N, C, H, W), as in the tensors."""
        images = to_reflectance(self.numbers)
        return np.concatenate([images, self.others], axis=1) if self.others.shape[1] else images


@dataclass(frozen=True)
class Summary:
    """What a reviewer must know about one or more shards."""

    histogram: np.ndarray  # int64 (C, 65536): how often each level occurs, as `to_value` reads it; without nodata
    problems: dict[str, str] = field(default_factory=dict)  # by patch id, why a patch is left out
    with_nodata: int = 0  # patches with some nodata pixels
    offsets: Counter[int] = field(default_factory=Counter)  # number of patches by the offset that was subtracted
    far_apart: list[str] = field(default_factory=list)  # as in Pixels
    # float64 (N, 2): the means of a patch in these channels; (0, 2) unless both are inputs.
    vh_and_nir: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))

    @classmethod
    def empty(cls, channels: int) -> "Summary":
        return cls(np.zeros((channels, MAX_LEVEL + 1), np.int64))

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            self.histogram + other.histogram,
            self.problems | other.problems,
            self.with_nodata + other.with_nodata,
            self.offsets + other.offsets,
            self.far_apart + other.far_apart,
            np.concatenate([self.vh_and_nir, other.vh_and_nir]),
        )


def to_reflectance(numbers: np.ndarray) -> np.ndarray:
    """Digital numbers, with the offset subtracted, to reflectances, clipped to [0, 1] as in the notebook; float32.

    NODATA stays 0, and no valid pixel is 0, so that the tensors alone distinguish the two.
    """
    reflectances = np.divide(numbers, np.float32(REFLECTANCE_SCALE), dtype=np.float32)
    return np.clip(reflectances, 0, 1, out=reflectances)


def to_value(levels: np.ndarray, channel: str) -> np.ndarray:
    """Levels of a channel's histogram as physical values, float64: reflectance, dB or metres.

    The level of a band is its digital number, less its offset. The levels of other channels divide their plausible
    range into 65,535 steps.
    """
    if channel in QUANTITIES:
        return QUANTITIES[channel].physical(levels / MAX_LEVEL)
    return to_reflectance(levels).astype(np.float64)


def scaled_features(table: pd.DataFrame, features: Sequence[str]) -> np.ndarray:
    """The context features of patches as the network reads them, float32 (N, F), 0 to 1."""
    columns = [
        QUANTITIES[name].scaled(table[name]) if name in QUANTITIES else table[name].to_numpy(np.float32)
        for name in features
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0), np.float32)


def read_patches(table: pd.DataFrame, reading: Reading) -> Pixels:
    """Read and check the files of some patches.

    Args:
        table: rows of `Patches.table`.
    """
    names = [channel.name for channel in reading.channels]
    others = [name for name in names if name not in BANDS]
    shape = (reading.size, reading.size)
    numbers = np.empty((len(table), len(names) - len(others), *shape), np.uint16)
    values = np.empty((len(table), len(others), *shape), np.float32)
    good, problems, subtracted, far_apart = [], {}, Counter(), []
    # Lists first, since one cell at a time takes long.
    rows = zip(*(table[name].tolist() for name in ("patch_id", "offset", *names)), strict=True)
    steps = reading.bands[0].steps if reading.bands else 1
    with gdal():
        for row, (patch_id, product, *files) in enumerate(rows):
            try:
                paths = {file: reading.root / file for file in set(files)}
                patch = read_patch([paths[file] for file in files], reading.channels, reading.size, reading.resampling)
                own = offsets.choose(reading.offset, patch.offset, product) if len(patch.numbers) else None
            except ValueError as error:
                problems[patch_id] = str(error)
                continue
            place = len(good)
            if own is not None:
                numbers[place] = offsets.subtract(patch.numbers, round(own * steps))
                subtracted[own] += 1
            for pixels, channel, name in zip(values[place], patch.values, others, strict=True):
                pixels[:] = QUANTITIES[name].scaled(channel)
            if patch.far_apart:
                far_apart.append(patch_id)
            good.append(row)
    return Pixels(numbers[: len(good)], values[: len(good)], good, problems, subtracted, far_apart)


def _summarize(read: Pixels, images: np.ndarray, names: list[str]) -> Summary:
    levels = [*read.numbers.swapaxes(0, 1), *np.rint(read.others * MAX_LEVEL).astype(np.uint16).swapaxes(0, 1)]
    histogram = np.stack([np.bincount(channel.ravel(), minlength=MAX_LEVEL + 1) for channel in levels])
    histogram[:, NODATA] = 0
    with_nodata = int((images == NODATA).any(axis=(1, 2, 3)).sum())
    infrared = [name for name in NEAR_INFRARED if name in names]
    pairs = np.empty((0, 2))
    if "VH" in names and infrared:
        pair = images[:, [names.index("VH"), names.index(infrared[0])]]
        pairs = pair.sum((2, 3), dtype=np.float64) / np.count_nonzero(pair, axis=(2, 3))
    return Summary(histogram, read.problems, with_nodata, read.offsets, read.far_apart, pairs)


def write_shard(table: pd.DataFrame, path: Path, reading: Reading, classes: Sequence[str]) -> Summary:
    """Read, check and write the tensors of some patches; bad patches are left out.

    Args:
        table: rows of `Patches.table`.
        path: of the shard, which is not written if no patch is good.
        classes: in the order of the labels.
    """
    read = read_patches(table, reading)
    images, names = read.images(), [channel.name for channel in reading.channels]
    if read.good:
        arrays = {"images": images, "labels": table["label"].to_numpy(np.int64)[read.good]}
        offset = 0 if reading.offset == "auto" else reading.offset
        pictures = reading.bands and all(band.dtype == "uint8" for band in reading.bands)
        maximum = min(1, 255 / reading.divisor) if pictures else 1
        scale = tensors.Scale(divisor=reading.divisor, offset=offset, minimum=0, maximum=maximum)
        if reading.metres_per_pixel != METRES_PER_PIXEL:
            scale["metres_per_pixel"] = reading.metres_per_pixel
        if ranges := {name: QUANTITIES[name][1:] for name in (*names, *reading.features) if name in QUANTITIES}:
            scale["ranges"] = ranges
        metadata = {"bands": names, "classes": list(classes), "scale": scale}
        if reading.features:
            arrays["context"] = scaled_features(table.iloc[read.good], reading.features)
            metadata["context"] = reading.features
        tensors.save(path, arrays, metadata)
    return _summarize(read, images, names)


def convert(
    table: pd.DataFrame, folder: Path, pool: Executor, reading: Reading, classes: Sequence[str]
) -> dict[str, Summary]:
    """Write the shards of all splits to a folder that the workers of the pool share.

    Args:
        table: rows of `Patches.table`, with a column `split`.

    Returns:
        A summary of each split.
    """
    each = max(1, SHARD_BYTES // (4 * len(reading.channels) * reading.size**2))
    jobs = [
        (split, number, rows.iloc[start : start + each])
        for split in SPLITS
        for rows in [table[table["split"] == split]]
        for number, start in enumerate(range(0, len(rows), each))
    ]
    paths = [folder.resolve() / tensors.shard_name(split, number) for split, number, _ in jobs]
    work = partial(write_shard, reading=reading, classes=classes)
    summaries = {split: Summary.empty(len(reading.channels)) for split in SPLITS}
    done = pool.map(work, [rows for *_, rows in jobs], paths)
    progress = terminal.progress(done, total=len(jobs), desc="preprocess", unit="shard")
    for (split, *_), summary in zip(jobs, progress, strict=True):
        summaries[split] += summary
    return summaries

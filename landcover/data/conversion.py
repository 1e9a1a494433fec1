"""From tiles to tensors, shard by shard, on the processes of this machine or on a Dask cluster."""

import functools
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from landcover import checkpoints, constants, files
from landcover.data import context, offsets, tensors
from landcover.data.grids import Centre
from landcover.data.patches import read_patch, without_offset
from landcover.data.radar_and_elevation import read_channel
from landcover.data.tiles import Tiles
from landcover.errors import InputError
from landcover.modalities import QUANTITIES

PATCHES_PER_SHARD = 100  # 23 MB with four bands: enough shards to share the work, few enough files for DVC
UNFINISHED = checkpoints.PARTIAL / "shards"
MAX_LEVEL = (1 << 16) - 1  # of histograms
NEAR_INFRARED = ("B08", "B8A", "B07")  # the first one available is compared with radar


class Summary(NamedTuple):
    """Facts about one or more shards, known once they are written."""

    problems: dict[str, str]  # why a patch is left out, by patch id
    # int64 (C, 65536): how often each level occurs, as `to_value` reads it; nodata is not in it.
    histogram: np.ndarray
    with_nodata: int  # patches with some nodata pixels
    offsets: Counter[int]  # number of patches by the offset that was subtracted
    far_apart: list[str]  # patches whose radar or elevation lies elsewhere on the ground than their bands
    vh_and_nir: np.ndarray  # float64 (N, 2): the means of a patch in these channels; (0, 2) unless both are inputs

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            self.problems | other.problems,
            self.histogram + other.histogram,
            self.with_nodata + other.with_nodata,
            self.offsets + other.offsets,
            self.far_apart + other.far_apart,
            np.concatenate([self.vh_and_nir, other.vh_and_nir]),
        )


def to_reflectance(numbers: np.ndarray) -> np.ndarray:
    """Digital numbers, with the offset subtracted, to reflectances, clipped to [0, 1] as in the notebook; float32.

    NODATA stays 0, and no valid pixel is 0, so that the tensors alone distinguish the two.
    """
    reflectances = np.divide(numbers, np.float32(constants.REFLECTANCE_SCALE), dtype=np.float32)
    return np.clip(reflectances, 0, 1, out=reflectances)


def to_value(levels: np.ndarray, channel: str) -> np.ndarray:
    """Levels of a channel's histogram as physical values, float64: reflectance, dB or metres.

    The level of a band is its digital number, less its offset. The levels of other channels divide their plausible
    range into 65,535 steps.
    """
    if channel in QUANTITIES:
        return QUANTITIES[channel].physical(levels / MAX_LEVEL)
    return to_reflectance(levels).astype(np.float64)


class Read(NamedTuple):
    """What the tiles of some patches hold."""

    numbers: np.ndarray  # uint16 (N, B, H, W): the bands of the good patches, less their offsets
    others: np.ndarray  # float32 (N, C - B, H, W): their other channels, scaled to 0 ... 1
    good: list[int]  # their rows
    problems: dict[str, str]  # by patch id, why the others are bad
    offsets: Counter[int]  # from how many patches which offset was subtracted
    far_apart: list[str]  # patches whose radar or elevation lies elsewhere on the ground than their bands

    def images(self) -> np.ndarray:
        """All channels, float32 (N, C, H, W), as in the tensors."""
        if not self.others.shape[1]:
            return to_reflectance(self.numbers)
        return np.concatenate([to_reflectance(self.numbers), self.others], axis=1)


def tiles_of(patches: pd.DataFrame, channels: Sequence[str]) -> list[tuple[str, str]]:
    """The tiles of patches: for each, the id in its name, and its channel.

    Args:
        patches: columns `patch_id` and, if radar is among the channels, `patch_id_s1`.
    """
    ids = {
        channel: patches["patch_id_s1" if channel in constants.RADAR_BANDS else "patch_id"].tolist()
        for channel in channels
    }
    return [(ids[channel][row], channel) for row in range(len(patches)) for channel in channels]


def read_patches(
    patches: pd.DataFrame, tiles: Tiles, bands: list[str], resampling: str, offset: int | Literal["auto"], size: int
) -> Read:
    """Read and check patches; the arguments are those of `write_shard`."""
    light = [name for name in bands if name in constants.BANDS]
    others = [name for name in bands if name not in constants.BANDS]
    numbers = np.empty((len(patches), len(light), size, size), np.uint16)
    values = np.empty((len(patches), len(others), size, size), np.float32)
    good, problems, subtracted, far_apart = [], {}, Counter(), []
    other_tiles = tiles_of(patches, others)
    for position, (patch_id, product) in enumerate(zip(patches["patch_id"], patches["offset"], strict=True)):
        place, centres = len(good), []
        try:
            if light:
                patch = read_patch(tiles, patch_id, light, resampling, size)
                own = offsets.choose(offset, patch.offset, product)
                numbers[place] = without_offset(patch.numbers, own)
                centres.append(patch.centre)
            mine = other_tiles[position * len(others) : (position + 1) * len(others)]
            for pixels, (tile_id, name) in zip(values[place], mine, strict=True):
                channel = read_channel(tiles, tile_id, name, size)
                pixels[:] = QUANTITIES[name].scaled(channel.values)
                centres.append(channel.centre)
        except ValueError as error:
            problems[patch_id] = str(error)
            continue
        good.append(position)
        if light:
            subtracted[own] += 1
        if _are_far_apart(centres, size * constants.METRES_PER_PIXEL / 2):
            far_apart.append(patch_id)
    return Read(numbers[: len(good)], values[: len(good)], good, problems, subtracted, far_apart)


def _are_far_apart(centres: list[Centre | None], metres: float) -> bool:
    known = [centre for centre in centres if centre]
    return any(centre.is_far_from(known[0], metres) for centre in known)


def write_shard(
    patches: pd.DataFrame,
    tiles: Tiles,
    *,
    folder: Path,
    code: list[str],
    bands: list[str],
    resampling: str,
    offset: int | Literal["auto"],
    size: int = constants.PATCH_SIZE,
    classes: Sequence[str] = constants.CLASSES,
    features: Sequence[str] = (),
) -> str:
    """Read, check and write the tensors of some patches; bad patches are left out and reported.

    An existing shard of the same tiles with the same options is kept.

    Args:
        patches: columns `patch_id`, `label`, `offset`, as `offsets.by_product` gives it, and what `context.join` added.
        tiles: of these patches.
        code: identifies the version of the code.
        bands: all image channels, in order.
        offset: of all patches, or `auto` for each patch's own.
        size: side of a patch in pixels.
        features: context features, in order.

    Returns:
        The key of the shard: its tensors are <key>.safetensors in the folder, its summary is <key>.summary.
    """
    sources = tiles.identity(tiles_of(patches, bands))
    rows = patches.to_numpy().tolist()
    key = checkpoints.fingerprint(code, bands, resampling, offset, size, classes, features, rows, sources)
    path, summary = folder / f"{key}.safetensors", folder / f"{key}.summary"
    if _is_done(path, summary, len(patches)):
        return key

    read = read_patches(patches, tiles, bands, resampling, offset, size)
    images = read.images()
    if read.good:
        arrays = {"images": images, "labels": patches["label"].to_numpy(np.int64)[read.good]}
        # The offset subtracted from all patches, regardless of their products.
        told = 0 if offset == "auto" else offset
        scale: dict[str, Any] = {"divisor": constants.REFLECTANCE_SCALE, "offset": told, "minimum": 0, "maximum": 1}
        metadata = {"bands": bands, "classes": classes, "scale": scale}
        if ranges := {name: QUANTITIES[name][1:] for name in (*bands, *features) if name in QUANTITIES}:
            scale["ranges"] = ranges  # of values mapped to 0 ... 1
        if features:
            arrays["context"] = context.scaled(patches.iloc[read.good], features)
            metadata["context"] = list(features)
        with files.replacing(path) as part:
            tensors.save(part, arrays, metadata)
    levels = [*read.numbers.swapaxes(0, 1), *np.rint(read.others * MAX_LEVEL).astype(np.uint16).swapaxes(0, 1)]
    histogram = np.stack([np.bincount(channel.ravel(), minlength=MAX_LEVEL + 1) for channel in levels])
    with_nodata = int((images == constants.NODATA).any(axis=(1, 2, 3)).sum())
    histogram[:, constants.NODATA] = 0
    facts = {"problems": read.problems, "with_nodata": with_nodata, "offsets": list(read.offsets.items())}
    facts["far_apart"] = read.far_apart
    with files.replacing(summary) as part:
        tensors.save(part, {"histogram": histogram, "vh_and_nir": _vh_and_nir(images, bands)}, facts)
    return key


def _vh_and_nir(images: np.ndarray, bands: list[str]) -> np.ndarray:
    """For each patch, the means of VH and of the near infrared over valid pixels, scaled as in the tensors, (N, 2)."""
    infrared = [name for name in NEAR_INFRARED if name in bands]
    if "VH" not in bands or not infrared:
        return np.empty((0, 2))
    pair = images[:, [bands.index("VH"), bands.index(infrared[0])]]
    return pair.sum((2, 3), dtype=np.float64) / np.count_nonzero(pair, axis=(2, 3))


def _is_done(path: Path, summary: Path, patches: int) -> bool:
    try:
        bad = len(read_summary(summary.parent, summary.stem).problems)
        return bad == patches or len(tensors.load(path, "labels")[0]["labels"]) == patches - bad
    except InputError:  # missing, or damaged by a crash of the machine
        return False


def read_summary(folder: Path, key: str) -> Summary:
    arrays, facts = tensors.load(folder / f"{key}.summary")
    offset_counts = Counter(dict(facts["offsets"]))
    own = (facts["far_apart"], arrays["vh_and_nir"])
    return Summary(facts["problems"], arrays["histogram"], facts["with_nodata"], offset_counts, *own)


def convert(
    table: pd.DataFrame, root: Path, bands: list[str], pool: Executor, features: Sequence[str] = (), **options: Any
) -> tuple[dict[str, Path], dict[str, Summary]]:
    """Write all shards of all splits and summarize them.

    Args:
        table: columns `patch_id`, `label`, `offset`, `split`, and what `context.join` added.
        root: the dataset's folder.
        bands: all image channels, in order.
        features: context features, in order.
        options: further arguments of `write_shard`.

    Returns:
        The shards by their final names, and a summary of each split.
    """
    folder = UNFINISHED.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    options = options | {"folder": folder, "bands": bands, "features": features}
    options["code"] = checkpoints.code("numpy", "rasterio", "safetensors")
    columns = ["patch_id", "label", "offset", *features]
    if set(bands) & set(constants.RADAR_BANDS):
        columns.append("patch_id_s1")
    jobs = [
        (split, number, rows.iloc[start : start + PATCHES_PER_SHARD])
        for split in constants.SPLITS
        for rows in [table.loc[table["split"] == split, columns]]
        for number, start in enumerate(range(0, len(rows), PATCHES_PER_SHARD))
    ]
    tiles = Tiles.find(root)
    keys = pool.map(
        functools.partial(write_shard, **options),
        [rows for *_, rows in jobs],
        [tiles.select(tiles_of(rows, bands)) for *_, rows in jobs],
    )
    progress = tqdm(keys, total=len(jobs), desc="preprocess", unit="shard", disable=None)
    shards, summaries = {}, {}
    for (split, number, _), key in zip(jobs, progress, strict=True):
        written = read_summary(folder, key)
        summaries[split] = summaries[split] + written if split in summaries else written
        if (path := folder / f"{key}.safetensors").is_file():
            shards[tensors.shard_name(split, number)] = path
    return shards, summaries

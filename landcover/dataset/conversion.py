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

from landcover.dataset import offsets, tensors
from landcover.dataset.patches import read_patch, without_offset
from landcover.dataset.tiles import Tiles
from landcover.ground import benge, files, partial
from landcover.ground.errors import InputError

PATCHES_PER_SHARD = 100  # 23 MB with four bands: enough shards to share the work, few enough files for DVC
UNFINISHED = partial.PARTIAL / "shards"


class Summary(NamedTuple):
    """Facts about one or more shards, known once they are written."""

    problems: dict[str, str]  # why a patch is left out, by patch id
    histogram: (
        np.ndarray
    )  # int64 (C, 65536): how often each digital number occurs, less its offset; nodata is not in it
    with_nodata: int  # patches with some nodata pixels
    offsets: Counter[int]  # number of patches by the offset that was subtracted


def to_reflectance(numbers: np.ndarray) -> np.ndarray:
    """Digital numbers, with the offset subtracted, to reflectances, clipped to [0, 1] as in the notebook; float32.

    NODATA stays 0, and no valid pixel is 0, so that the tensors alone distinguish the two.
    """
    reflectances = np.divide(numbers, np.float32(benge.REFLECTANCE_SCALE), dtype=np.float32)
    return np.clip(reflectances, 0, 1, out=reflectances)


class Read(NamedTuple):
    """What the tiles of some patches hold."""

    numbers: np.ndarray  # uint16 (N, C, H, W) of the good patches, less their offsets
    good: list[int]  # their rows
    problems: dict[str, str]  # by patch id, why the others are bad
    offsets: Counter[int]  # from how many patches which offset was subtracted


def read_patches(
    patches: pd.DataFrame, tiles: Tiles, bands: list[str], resampling: str, offset: int | Literal["auto"], size: int
) -> Read:
    """Read and check patches; the arguments are those of `write_shard`."""
    numbers = np.empty((len(patches), len(bands), size, size), np.uint16)
    good, problems, subtracted = [], {}, Counter()
    for position, (patch_id, product) in enumerate(zip(patches["patch_id"], patches["offset"], strict=True)):
        try:
            patch = read_patch(tiles, patch_id, bands, resampling, size)
            own = offsets.choose(offset, patch.offset, product)
        except ValueError as error:
            problems[patch_id] = str(error)
            continue
        numbers[len(good)] = without_offset(patch.numbers, own)
        good.append(position)
        subtracted[own] += 1
    return Read(numbers[: len(good)], good, problems, subtracted)


def write_shard(
    patches: pd.DataFrame,
    tiles: Tiles,
    *,
    folder: Path,
    code: list[str],
    bands: list[str],
    resampling: str,
    offset: int | Literal["auto"],
    size: int = benge.PATCH_SIZE,
    classes: Sequence[str] = benge.CLASSES,
) -> str:
    """Read, check and write the tensors of some patches; bad patches are left out and reported.

    An existing shard of the same tiles with the same options is kept.

    Args:
        patches: columns `patch_id`, `label` and `offset`, as `offsets.by_product` gives it.
        tiles: of these patches.
        code: identifies the version of the code.
        offset: of all patches, or `auto` for each patch's own.
        size: side of a patch in pixels.

    Returns:
        The key of the shard: its tensors are <key>.safetensors in the folder, its summary is <key>.summary.
    """
    sources = [tiles.identity(patch_id) for patch_id in patches["patch_id"]]
    key = partial.fingerprint(code, bands, resampling, offset, size, classes, patches.to_numpy().tolist(), sources)
    path, summary = folder / f"{key}.safetensors", folder / f"{key}.summary"
    if _is_done(path, summary, len(patches)):
        return key

    stacked, good, problems, subtracted = read_patches(patches, tiles, bands, resampling, offset, size)
    if good:
        arrays = {"images": to_reflectance(stacked), "labels": patches["label"].to_numpy(np.int64)[good]}
        # The offset subtracted from all patches, regardless of their products.
        told = 0 if offset == "auto" else offset
        scale = {"divisor": benge.REFLECTANCE_SCALE, "offset": told, "minimum": 0, "maximum": 1}
        with files.replacing(path) as part:
            tensors.save(part, arrays, {"bands": bands, "classes": classes, "scale": scale})
    histogram = np.stack([np.bincount(stacked[:, i].ravel(), minlength=1 << 16) for i in range(len(bands))])
    with_nodata = int((stacked == benge.NODATA).any(axis=(1, 2, 3)).sum())
    histogram[:, benge.NODATA] = 0
    facts = {"problems": problems, "with_nodata": with_nodata, "offsets": list(subtracted.items())}
    with files.replacing(summary) as part:
        tensors.save(part, {"histogram": histogram}, facts)
    return key


def _is_done(path: Path, summary: Path, patches: int) -> bool:
    try:
        bad = len(read_summary(summary.parent, summary.stem).problems)
        return bad == patches or len(tensors.load(path, "labels")[0]["labels"]) == patches - bad
    except InputError:  # missing, or damaged by a crash of the machine
        return False


def read_summary(folder: Path, key: str) -> Summary:
    arrays, facts = tensors.load(folder / f"{key}.summary")
    return Summary(facts["problems"], arrays["histogram"], facts["with_nodata"], Counter(dict(facts["offsets"])))


def convert(
    table: pd.DataFrame, root: Path, bands: list[str], pool: Executor, **options: Any
) -> tuple[dict[str, Path], dict[str, Summary]]:
    """Write all shards of all splits and summarize them.

    Args:
        table: columns `patch_id`, `label`, `offset` and `split`.
        root: the dataset's folder.
        options: further arguments of `write_shard`.

    Returns:
        The shards by their final names, and a summary of each split.
    """
    folder = UNFINISHED.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    options = options | {"folder": folder, "bands": bands, "code": partial.code("numpy", "rasterio", "safetensors")}
    jobs = [
        (split, number, rows.iloc[start : start + PATCHES_PER_SHARD])
        for split in benge.SPLITS
        for rows in [table.loc[table["split"] == split, ["patch_id", "label", "offset"]]]
        for number, start in enumerate(range(0, len(rows), PATCHES_PER_SHARD))
    ]
    tiles = Tiles.find(root)
    keys = pool.map(
        functools.partial(write_shard, **options),
        [rows for *_, rows in jobs],
        [tiles.select(rows["patch_id"], bands) for *_, rows in jobs],
    )
    progress = tqdm(keys, total=len(jobs), desc="preprocess", unit="shard", disable=None)
    shards, summaries = {}, {}
    for (split, number, _), key in zip(jobs, progress, strict=True):
        written = read_summary(folder, key)
        if split in summaries:
            before = summaries[split]
            written = Summary(
                before.problems | written.problems,
                before.histogram + written.histogram,
                before.with_nodata + written.with_nodata,
                before.offsets + written.offsets,
            )
        summaries[split] = written
        if (path := folder / f"{key}.safetensors").is_file():
            shards[tensors.shard_name(split, number)] = path
    return shards, summaries

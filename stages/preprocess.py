"""Turn the tiles into normalized tensors.  data/patches -> data/tensors, reports/data.json"""

import functools
import hashlib
import sys
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pydantic
from tqdm import tqdm

from stages import benge, cli, files, splits, tensors

PATCHES_PER_SHARD = 100  # 23 MB of four bands: several shards a split share the work, few files burden DVC
PERCENTILES = (1, 50, 99)


class Preprocessing(cli.Section):
    offset: Annotated[int, pydantic.Field(ge=0, le=10_000)]
    resampling: Literal["nearest", "bilinear", "cubic"]
    max_bad_patches: Annotated[int, pydantic.Field(ge=0)]


class Shard(NamedTuple):
    """What is known of a shard once it is written."""

    problems: dict[str, str]  # by patch id, why it is left out
    histogram: np.ndarray  # int64 (C, 65536): how often each digital number occurs
    with_nodata: int  # patches with some nodata pixels, which become 0


def to_reflectance(numbers: np.ndarray, offset: int) -> np.ndarray:
    """Digital numbers to reflectances, cut to [0, 1] as in the notebook; float32, nodata stays 0."""
    reflectances = (numbers.astype(np.float32) - np.float32(offset)) / np.float32(benge.REFLECTANCE_SCALE)
    return np.clip(reflectances, 0, 1, out=reflectances)


def write_shard(
    path: Path, patches: pd.DataFrame, *, root: Path, bands: list[str], resampling: str, offset: int
) -> Shard:
    """Read, check and write the tensors of some patches; the bad ones are left out and named."""
    numbers, good, problems = [], [], {}
    for position, patch_id in enumerate(patches["patch_id"]):
        try:
            numbers.append(benge.read_patch(root, patch_id, bands, resampling))
            good.append(position)
        except ValueError as error:
            problems[patch_id] = str(error)
    histogram = np.zeros((len(bands), 1 << 16), np.int64)
    if not numbers:
        return Shard(problems, histogram, 0)
    stacked = np.stack(numbers)  # (N, C, H, W)
    for band in range(len(bands)):
        histogram[band] = np.bincount(stacked[:, band].ravel(), minlength=1 << 16)
    arrays = {"images": to_reflectance(stacked, offset), "labels": patches["label"].to_numpy(np.int64)[good]}
    scale = {"divisor": benge.REFLECTANCE_SCALE, "offset": offset, "minimum": 0, "maximum": 1}
    tensors.save(path, arrays, {"bands": bands, "classes": benge.CLASSES, "scale": scale})
    with_nodata = int((stacked == benge.NODATA).any(axis=(1, 2, 3)).sum())
    return Shard(problems, histogram, with_nodata)


def convert(part: Path, table: pd.DataFrame, executor: Executor, **options: Any) -> dict[str, list[Shard]]:
    """Write all shards of all splits, and return them by split."""
    jobs = [
        (split, number, rows.iloc[start : start + PATCHES_PER_SHARD])
        for split in splits.SPLITS
        for rows in [table[table["split"] == split]]
        for number, start in enumerate(range(0, len(rows), PATCHES_PER_SHARD))
    ]
    paths = [part / tensors.shard_name(split, number) for split, number, _ in jobs]
    written = executor.map(functools.partial(write_shard, **options), paths, [rows for *_, rows in jobs])
    progress = tqdm(written, total=len(jobs), desc="preprocess", unit="shard", disable=None)
    shards: dict[str, list[Shard]] = {split: [] for split in splits.SPLITS}
    for (split, *_), shard in zip(jobs, progress, strict=True):
        shards[split].append(shard)
    return shards


def band_statistics(histogram: np.ndarray, offset: int) -> dict[str, float]:
    """Mean, standard deviation and percentiles of the reflectances behind a histogram (65536,) of one band."""
    values = to_reflectance(np.arange(1 << 16), offset).astype(np.float64)
    count = histogram.sum()
    mean = (histogram * values).sum() / count
    deviation = np.sqrt((histogram * (values - mean) ** 2).sum() / count)
    ranks = np.searchsorted(histogram.cumsum(), [np.ceil(count * p / 100) for p in PERCENTILES])
    return {"mean": mean, "std": deviation} | {
        f"p{p}": values[rank] for p, rank in zip(PERCENTILES, ranks, strict=True)
    }


def _digest(lines: pd.Series) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def describe(
    used: pd.DataFrame, problems: dict[str, str], shards: dict[str, list[Shard]], bands: list[str], offset: int
) -> dict[str, Any]:
    """The data contract: what a reviewer must know of the data before any metric means something."""
    parts = {split: used[used["split"] == split] for split in splits.SPLITS}
    pixels = {split: sum(shard.histogram for shard in shards[split]) for split in splits.SPLITS}
    return {
        "patches": {split: len(part) for split, part in parts.items()},
        # A list of records, as `dvc plots` draws them.
        "classes": [
            {"class": name} | {split: int((part["label"] == label).sum()) for split, part in parts.items()}
            for label, name in enumerate(benge.CLASSES)
        ],
        "bands": {
            split: {band: band_statistics(pixels[split][i], offset) for i, band in enumerate(bands)} for split in parts
        },
        "dropped": problems,
        "tied_labels": int(used["tied"].sum()),
        "patches_with_nodata": sum(shard.with_nodata for split in parts for shard in shards[split]),
        "leakage": splits.leakage(used),
        # Sorted, so that they tell which patches are in a split and how each is labelled, not in which order.
        "membership_sha256": {split: _digest(part["patch_id"].sort_values()) for split, part in parts.items()},
        "labels_sha256": {
            split: _digest((part["patch_id"] + " " + part["label"].astype(str)).sort_values())
            for split, part in parts.items()
        },
    }


def preprocess(
    patches_dir: Path,
    tensors_dir: Path,
    data_json: Path,
    *,
    dataset: str,
    datasets: dict[str, Any],
    bands: benge.Bands,
    preprocess: Preprocessing,
    runtime: cli.Runtime,
) -> None:
    """Join the labels, split the patches, check each tile, and write tensors, index and data contract.

    Raises:
        InputError: names all bad patches if they are more than `max_bad_patches`.
    """
    split = splits.parse(f"datasets.{dataset}.split", datasets[dataset]["split"])
    root = benge.find_root(patches_dir)
    table = benge.read_tables(root)
    table["split"] = split.assign(table, root)
    table = table[table["split"] != ""]

    with files.replacing(tensors_dir) as part:
        part.mkdir()
        options = {"root": root, "bands": bands, "resampling": preprocess.resampling, "offset": preprocess.offset}
        labelled = table[table["problem"] == ""]
        with ProcessPoolExecutor(runtime.workers) as executor:
            shards = convert(part, labelled, executor, **options)

        problems = dict(table.loc[table["problem"] != "", ["patch_id", "problem"]].to_numpy())
        for shard in (shard for split in shards.values() for shard in split):
            problems |= shard.problems
        if len(problems) > preprocess.max_bad_patches:
            listed = "; ".join(f"{patch_id}: {problem}" for patch_id, problem in problems.items())
            raise cli.InputError(
                f"{len(problems)} bad patches: {listed}: mend them, "
                f"or leave them out with preprocess.max_bad_patches: {len(problems)}"
            )
        if problems:
            print(f"left out {len(problems)} bad patches, see {data_json}", file=sys.stderr)

        used = table[~table["patch_id"].isin(problems)].copy()
        for name in splits.SPLITS:
            if not (used["split"] == name).any():
                raise cli.InputError(f"the {name} split is empty; change datasets.{dataset}.split")
        used["row"] = used.groupby("split").cumcount()
        columns = ["split", "row", "patch_id", "label", "majority_fraction", "lon", "lat"]
        in_order = used.sort_values("split", key=lambda names: names.map(splits.SPLITS.index), kind="stable")
        in_order[columns].to_csv(part / tensors.INDEX, index=False, lineterminator="\n")
        files.write_json(data_json, describe(used, problems, shards, bands, preprocess.offset))


if __name__ == "__main__":
    cli.run(preprocess)

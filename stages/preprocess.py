"""Turn the tiles into normalized tensors.  data/patches -> data/tensors, reports/data.json"""

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages import benge, cli, files, splits, tensors
from stages.conversion import UNFINISHED, Summary, convert, executor, to_reflectance
from stages.errors import InputError
from stages.params import Dataset, Preprocessing, Runtime
from stages.patches import read_tables

PERCENTILES = (1, 50, 99)


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
    used: pd.DataFrame, problems: dict[str, str], summaries: dict[str, Summary], bands: list[str], offset: int
) -> dict[str, Any]:
    """The data contract: what a reviewer must know of the data before any metric means something."""
    parts = {split: used[used["split"] == split] for split in splits.SPLITS}
    return {
        "patches": {split: len(part) for split, part in parts.items()},
        # A list of records, as `dvc plots` draws them.
        "classes": [
            {"class": name} | {split: int((part["label"] == label).sum()) for split, part in parts.items()}
            for label, name in enumerate(benge.CLASSES)
        ],
        "bands": {
            split: {
                band: band_statistics(histogram, offset)
                for band, histogram in zip(bands, summaries[split].histogram, strict=True)
            }
            for split in parts
        },
        "dropped": problems,
        "tied_labels": int(used["tied"].sum()),
        "patches_with_nodata": sum(summary.with_nodata for summary in summaries.values()),
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
    datasets: dict[str, Dataset],
    bands: benge.Bands,
    preprocess: Preprocessing,
    runtime: Runtime,
) -> None:
    """Join the labels, split the patches, check each tile, and write tensors, index and data contract.

    Raises:
        InputError: names all bad patches if they are more than `max_bad_patches`.
    """
    root = benge.find_root(patches_dir).resolve()
    table = read_tables(root)
    table["split"] = splits.assign(datasets[dataset].split, table, root)
    table = table[table["split"] != ""]
    options = {"resampling": preprocess.resampling, "offset": preprocess.offset}
    with executor(runtime) as pool:
        shards, summaries = convert(table[table["problem"] == ""], root, bands, pool, **options)

    problems = dict(table.loc[table["problem"] != "", ["patch_id", "problem"]].to_numpy())
    for summary in summaries.values():
        problems |= summary.problems
    if len(problems) > preprocess.max_bad_patches:
        listed = "; ".join(f"{patch_id}: {problem}" for patch_id, problem in problems.items())
        raise InputError(
            f"{len(problems)} bad patches: {listed}: mend them, "
            f"or leave them out with preprocess.max_bad_patches: {len(problems)}"
        )
    if problems:
        print(f"left out {len(problems)} bad patches, see {data_json}", file=sys.stderr)

    used = table[~table["patch_id"].isin(problems)].copy()
    for name in splits.SPLITS:
        if not (used["split"] == name).any():
            raise InputError(f"the {name} split is empty; change datasets.{dataset}.split")
    used["row"] = used.groupby("split").cumcount()
    columns = ["split", "row", "patch_id", "label", "majority_fraction", "lon", "lat"]
    in_order = used.sort_values("split", key=lambda names: names.map(splits.SPLITS.index), kind="stable")

    with files.replacing(tensors_dir) as part:
        part.mkdir()
        in_order[columns].to_csv(part / tensors.INDEX, index=False, lineterminator="\n")
        for name, path in shards.items():
            shutil.move(path, part / name)
        files.write_json(data_json, describe(used, problems, summaries, bands, preprocess.offset))
    shutil.rmtree(UNFINISHED)


if __name__ == "__main__":
    cli.run(preprocess)

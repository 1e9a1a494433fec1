"""Turn the tiles into normalized tensors.  data/patches -> data/tensors, reports/data.json"""

import shutil
import sys
from pathlib import Path

import pandas as pd

from landcover.dataset import splits
from landcover.dataset.contract import describe
from landcover.dataset.conversion import UNFINISHED, Summary, convert
from landcover.dataset.index import write_index
from landcover.dataset.tables import read_tables
from landcover.ground import benge, files
from landcover.ground.errors import InputError
from landcover.ground.params import Dataset, Preprocessing, Runtime
from landcover.ground.processes import executor

LISTS = Path("data/lists")  # of patches to leave out; in Git


def bad_patches(table: pd.DataFrame, summaries: dict[str, Summary], most: int) -> dict[str, str]:
    """Why patches are left out, by patch id: for what the tables or their tiles say.

    Raises:
        InputError: they are more than `most`; names them all.
    """
    problems = dict(table.loc[table["problem"] != "", ["patch_id", "problem"]].to_numpy())
    for summary in summaries.values():
        problems |= summary.problems
    if len(problems) > most:
        listed = "; ".join(f"{patch_id}: {problem}" for patch_id, problem in problems.items())
        raise InputError(
            f"{len(problems)} bad patches: {listed}: mend them, "
            f"or leave them out with preprocess.max_bad_patches: {len(problems)}"
        )
    return problems


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
    """Join the labels, split the patches, check each tile; write tensors, index and data contract."""
    root, entry = benge.find_root(patches_dir).resolve(), datasets[dataset]
    table = read_tables(root)
    table["split"], facts = splits.assign(entry.split, table, root)
    table = table[table["split"] != ""]
    excluded = splits.excluded(entry.exclude, LISTS, table)
    table = table[~excluded]
    options = {"resampling": preprocess.resampling, "offset": preprocess.offset}
    with executor(runtime) as pool:
        shards, summaries = convert(table[table["problem"] == ""], root, bands, pool, **options)

    problems = bad_patches(table, summaries, preprocess.max_bad_patches)
    if problems:
        print(f"left out {len(problems)} bad patches, see {data_json}", file=sys.stderr)
    used = table[~table["patch_id"].isin(problems)]
    for name in benge.SPLITS:
        if not (used["split"] == name).any():
            raise InputError(f"the {name} split is empty; change datasets.{dataset}.split")

    with files.replacing(tensors_dir) as part:
        part.mkdir()
        write_index(part, used)
        for name, path in shards.items():
            shutil.move(path, part / name)
        contract = describe(used, facts, int(excluded.sum()), problems, summaries, bands, preprocess.offset)
        files.write_json(data_json, contract)
    shutil.rmtree(UNFINISHED)

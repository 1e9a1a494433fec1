"""Turn the tiles into normalized tensors.  data/patches -> data/tensors, reports/data.json"""

import shutil
import sys
from collections import Counter
from pathlib import Path

from landcover import constants, files
from landcover.archives.lock import locked_archive
from landcover.config import Dataset, Preprocessing, Runtime
from landcover.data import context, offsets, pairing, problems, splits
from landcover.data.contract import describe
from landcover.data.conversion import UNFINISHED, Summary, convert
from landcover.data.index import write_index
from landcover.data.tables import read_tables
from landcover.data.tensors import Origin, save_origin
from landcover.errors import InputError
from landcover.modalities import Inputs, context_features, image_channels
from landcover.processes import executor

LISTS_DIR = Path("data/lists")  # of patches to leave out; in Git


def offset_warnings(summaries: dict[str, Summary], bands: list[str], offset: int | str, dataset: str) -> list[str]:
    """Warnings if the pixels contradict the offsets that were subtracted.

    Raises:
        InputError: they are certainly wrong, and the user did not choose the offset.
    """
    if offsets.BLUE not in bands:
        return []
    blue = sum(summary.histogram[bands.index(offsets.BLUE)] for summary in summaries.values())
    subtracted = sum((summary.offsets for summary in summaries.values()), Counter())
    found = offsets.suspect(blue, subtracted.total(), any(subtracted), f"datasets.{dataset}.offset")
    if found and found.certain and offset == "auto":
        raise InputError(f"{dataset}: {found.why}: {found.remedy}")
    return [f"{found.why}; {found.remedy}"] if found else []


def preprocess(
    patches_dir: Path,
    tensors_dir: Path,
    data_json: Path,
    *,
    dataset: str,
    datasets: dict[str, Dataset],
    inputs: Inputs,
    bands: constants.Bands,
    preprocess: Preprocessing,
    runtime: Runtime,
) -> None:
    """Join the labels, split the patches and check each tile; write tensors, index and data contract."""
    root, entry = constants.find_root(patches_dir).resolve(), datasets[dataset]
    locked = locked_archive()
    # Download does not depend on md5, as not every entry has one; this stage depends on the whole entry.
    if entry.md5 and locked and locked.source == entry.source and locked.md5 != entry.md5:
        raise InputError(
            f"datasets.{dataset}.md5 = {entry.md5}: the archive in place has {locked.md5}; "
            "correct it, or fetch the archive again with dvc repro --force --single-item download"
        )
    offset = preprocess.offset if entry.offset is None else entry.offset
    channels, features = image_channels(inputs, bands), context_features(inputs)
    table = context.join(read_tables(root, entry.classes), root, channels, features)
    table["split"], facts = splits.assign(entry.split, table, root, entry.classes)
    table = table[table["split"] != ""]
    excluded = splits.excluded(entry.exclude, LISTS_DIR, table)
    table = table[~excluded]
    options = {"resampling": preprocess.resampling, "offset": offset}
    options |= {"size": entry.patch_size, "classes": entry.classes}
    with executor(runtime) as pool:
        shards, summaries = convert(table[table["problem"] == ""], root, channels, pool, features, **options)

    bad = dict(table.loc[table["problem"] != "", ["patch_id", "problem"]].to_numpy())
    for summary in summaries.values():
        bad |= summary.problems
    problems.check(table, bad, preprocess.max_bad_patches, dataset)
    if bad:
        print(f"left out {len(bad)} bad patches; see {data_json}", file=sys.stderr)
    used = table[~table["patch_id"].isin(bad)]
    warnings = offset_warnings(summaries, channels, offset, dataset) + pairing.warnings(used, summaries)
    for warning in warnings:
        print(f"warning: {dataset}: {warning}", file=sys.stderr)

    with files.replacing(tensors_dir) as part:
        part.mkdir()
        write_index(part, used)
        save_origin(part, Origin(dataset, entry.synthetic))
        for name, path in shards.items():
            shutil.move(path, part / name)
        of_data = {"bands": channels, "features": features, "classes": entry.classes, "patch_size": entry.patch_size}
        contract = describe(used, facts, int(excluded.sum()), bad, summaries, **of_data, warnings=warnings)
        of_entry = {"dataset": dataset, "synthetic": entry.synthetic, "patch_size": entry.patch_size}
        files.write_json(data_json, of_entry | {"split_by": entry.split.model_dump()} | contract)
    shutil.rmtree(UNFINISHED)

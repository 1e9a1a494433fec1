"""Turn the tiles into normalized tensors.  data/patches -> data/tensors, reports/data.json"""

import sys
from pathlib import Path

from landcover import constants, files
from landcover.archives.lock import locked_archive
from landcover.config import Dataset, Preprocessing, Runtime
from landcover.data import offsets, pairing, splits
from landcover.data.contract import describe
from landcover.data.conversion import Reading, Summary, convert
from landcover.data.index import write_index
from landcover.data.layout import find_layout
from landcover.data.problems import check_bad_patches
from landcover.data.tensors import Origin, save_origin
from landcover.errors import InputError
from landcover.modalities import Inputs, context_features, image_channels
from landcover.processes import executor

LISTS_DIR = Path("data/lists")  # of patches to leave out; in Git


def offset_warnings(summary: Summary, channels: list[str], offset: int | str, dataset: str) -> list[str]:
    """Warnings if the pixels contradict the offsets that were subtracted.

    Raises:
        InputError: they are certainly wrong, and the user did not choose the offset.
    """
    if offsets.BLUE not in channels:
        return []
    blue, subtracted = summary.histogram[channels.index(offsets.BLUE)], summary.offsets
    suspicion = offsets.suspect(blue, subtracted.total(), any(subtracted), f"datasets.{dataset}.offset")
    if suspicion and suspicion.certain and offset == "auto":
        raise InputError(f"{dataset}: {suspicion.why}: {suspicion.remedy}")
    return [f"{suspicion.why}; {suspicion.remedy}"] if suspicion else []


def tell(dataset: str, warnings: list[str]) -> None:
    for warning in warnings:
        print(f"warning: {dataset}: {warning}", file=sys.stderr)


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
    entry = datasets[dataset]
    locked = locked_archive()
    # Download does not depend on md5, as not every entry has one; this stage depends on the whole entry.
    if entry.md5 and locked and locked.source == entry.source and locked.md5 != entry.md5:
        raise InputError(
            f"datasets.{dataset}.md5 = {entry.md5}: the archive in place has {locked.md5}; "
            "correct it, or fetch the archive again with dvc repro --force --single-item download"
        )
    channels, features = image_channels(inputs, bands), context_features(inputs)
    patches = find_layout(entry.layout).read_patches(
        patches_dir, channels, features, classes=entry.classes, own_split=entry.split.method == "files"
    )
    table = patches.table
    table["split"], split_facts = splits.assign(entry.split, table, patches.name, entry.classes)
    table = table[table["split"] != ""]
    excluded = splits.excluded(entry.exclude, LISTS_DIR, table)
    table = table[~excluded]
    # Told first, before the tiles are read.
    warnings = splits.warnings(entry.split, table[table["problem"] == ""], entry.classes)
    tell(dataset, warnings)
    offset = preprocess.offset if entry.offset is None else entry.offset
    reading = Reading.of(patches, size=entry.patch_size, resampling=preprocess.resampling, offset=offset)

    with files.replacing(tensors_dir) as part:
        part.mkdir()
        with executor(runtime) as pool:
            summaries = convert(table[table["problem"] == ""], part, pool, reading, entry.classes)
        total = sum(summaries.values(), Summary.empty(len(channels)))
        bad = dict(table.loc[table["problem"] != "", ["patch_id", "problem"]].to_numpy()) | total.problems
        check_bad_patches(table, bad, preprocess.max_bad_patches, dataset)
        if bad:
            print(f"left out {len(bad)} bad patches; see {data_json}", file=sys.stderr)
        used = table[~table["patch_id"].isin(bad)]
        doubts = offset_warnings(total, channels, offset, dataset) + pairing.warnings(used, total)
        tell(dataset, doubts)
        write_index(part, used)
        save_origin(part, Origin(dataset, entry.synthetic))
        made = {"split_facts": split_facts, "excluded": int(excluded.sum()), "problems": bad}
        of_entry = {"dataset": dataset, "synthetic": entry.synthetic, "patch_size": entry.patch_size}
        contract = describe(used, summaries, reading, entry.classes, **made, warnings=warnings + doubts)
        files.write_json(data_json, of_entry | {"split_by": entry.split.model_dump()} | contract)

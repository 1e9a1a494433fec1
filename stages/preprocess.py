"""Turn the tiles into normalized tensors.  data/patches -> data/tensors, data/shares.safetensors, reports/data.json"""

import sys
from pathlib import Path

from landcover import constants, files
from landcover.archives.lock import locked_archive
from landcover.config import Dataset, Preprocessing, Runtime
from landcover.constants import SURFACE
from landcover.data import offsets, pairing, positions, splits
from landcover.data.contract import describe
from landcover.data.conversion import Reading, Summary, convert
from landcover.data.index import in_order, write_index
from landcover.data.layout import read_dataset
from landcover.data.problems import check_bad_patches
from landcover.data.tensors import Origin, save_origin, save_shares
from landcover.errors import InputError
from landcover.modalities import Inputs
from landcover.processes import executor

LISTS_DIR = Path("data/lists")  # of patches to leave out, and of positions; in Git


def numbers_warnings(summary: Summary, reading: Reading, entry: Dataset, dataset: str) -> list[str]:
    """Warnings if the pixels contradict the scale, or the offsets that were subtracted.

    Raises:
        InputError: they are certainly wrong, and the user did not choose them.
    """
    channels = [channel.name for channel in reading.channels]
    suspicions, scale = [], None
    if reading.bands:
        histogram = summary.histogram[: len(reading.bands)]
        scale = offsets.suspect_scale(histogram, f"datasets.{dataset}.scale", chosen=entry.scale is not None)
        suspicions.append(scale)
        if reading.bands[0].dtype == "uint16" and entry.scale is None:
            suspicions.append(offsets.suspect_largest(histogram, f"datasets.{dataset}"))
    # Light scattered by the atmosphere is in all pixels of Level 1C, 8-bit images have no offset, and what numbers show
    # of an offset needs the right scale.
    if not scale and offsets.BLUE in channels and entry.level != "1C" and reading.bands[0].dtype != "uint8":
        blue, subtracted = summary.histogram[channels.index(offsets.BLUE)], summary.offsets
        setting = f"datasets.{dataset}.offset"
        suspicion = offsets.suspect(blue, subtracted.total(), any(subtracted), setting, chosen=reading.offset != "auto")
        if suspicion and suspicion.likely and entry.level is None:
            remedy = f"{suspicion.remedy}; or if they are at the top of atmosphere, set datasets.{dataset}.level to 1C"
            suspicion = suspicion._replace(remedy=remedy)
        suspicions.append(suspicion)
    texts = []
    for suspicion in filter(None, suspicions):
        if suspicion.certain and reading.offset == "auto" and entry.scale is None:
            raise InputError(f"{dataset}: {suspicion.why}: {suspicion.remedy}")
        texts.append(f"{suspicion.why}; {suspicion.remedy}")
    return texts


def tell(dataset: str, warnings: list[str]) -> None:
    for warning in warnings:
        print(f"warning: {dataset}: {warning}", file=sys.stderr)


def preprocess(
    patches_dir: Path,
    tensors_dir: Path,
    shares_path: Path,
    data_json: Path,
    *,
    dataset: str,
    datasets: dict[str, Dataset],
    inputs: Inputs,
    bands: constants.Bands,
    preprocess: Preprocessing,
    runtime: Runtime,
) -> None:
    """Join the labels, split the patches and check each tile; write tensors, index, shares and data contract."""
    entry = datasets[dataset]
    locked = locked_archive()
    # Download does not depend on md5, as not every entry has one; this stage depends on the whole entry.
    if entry.md5 and locked and locked.source == entry.source and locked.md5 != entry.md5:
        raise InputError(
            f"datasets.{dataset}.md5 = {entry.md5}: the archive in place has {locked.md5}; "
            "correct it, or fetch the archive again with dvc repro --force --single-item download"
        )
    patches = read_dataset(patches_dir, entry, inputs, bands)
    channels, table = [channel.name for channel in patches.channels], patches.table
    offset = preprocess.offset if entry.offset is None else entry.offset
    reading = Reading.of(patches, resampling=preprocess.resampling, offset=offset)

    with files.replacing(tensors_dir) as part, executor(runtime) as pool:
        part.mkdir()
        located = positions.locate(patches, LISTS_DIR / entry.positions if entry.positions else None, pool)
        table["split"], split_facts = splits.assign(entry.split, table, patches.name, patches.classes)
        table = table[table["split"] != ""]
        excluded = splits.excluded(entry.exclude, LISTS_DIR, table)
        table = splits.mix_classes(table[~excluded])
        # Told first, before the tiles are read.
        warnings = splits.warnings(entry.split, table[table["problem"] == ""], patches.classes)
        warnings += [*patches.warnings, *located]
        tell(dataset, warnings)
        summaries = convert(table[table["problem"] == ""], part, pool, reading, patches.classes)
        total = sum(summaries.values(), Summary.empty(len(channels)))
        bad = dict(table.loc[table["problem"] != "", ["patch_id", "problem"]].to_numpy()) | total.problems
        check_bad_patches(table, bad, preprocess.max_bad_patches, dataset)
        if bad:
            print(f"left out {len(bad)} bad patches; see {data_json}", file=sys.stderr)
        used = table[~table["patch_id"].isin(bad)]
        doubts = numbers_warnings(total, reading, entry, dataset) + pairing.warnings(used, total)
        tell(dataset, doubts)
        warnings += doubts
        used = in_order(used)
        write_index(part, used)
        save_origin(part, Origin(dataset, entry.synthetic, patches.level or SURFACE))
        made = {"split_facts": split_facts, "excluded": int(excluded.sum()), "problems": bad, "warnings": warnings}
        of_entry = {"dataset": dataset, "synthetic": entry.synthetic, "patch_size": patches.patch_size}
        if patches.level:
            of_entry["level"] = patches.level
        contract = describe(used, summaries, reading, patches.classes, **made)
        shares = None if patches.shares is None else patches.shares[used.index]
        with files.replacing(shares_path) as path:
            save_shares(path, used["split"].to_numpy(str), shares, patches.classes)
        files.write_json(data_json, of_entry | {"split_by": entry.split.model_dump()} | contract)

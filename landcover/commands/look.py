"""Look at a dataset before training: how its entry in params.yaml is understood.

    python -m landcover look [DATASET] [--out look.png]
    python -m landcover look --source FOLDER [--layout folders] [--bands B04,B03,B02]

It prints counts, channels, positions, dates and what is left out, and draws six patches. A folder or a local archive is
read as it is; of another source, data/patches is read.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tabulate import tabulate

from landcover import config
from landcover.archives import archive
from landcover.archives.lock import locked_archive
from landcover.config import PARAMS, Dataset, Params
from landcover.constants import NODATA, REFLECTANCE_SCALE, SPLITS
from landcover.data import positions, splits
from landcover.data.conversion import Reading, read_patches
from landcover.data.layout import LAYOUTS, Patches, member_filter, read_dataset, recognize
from landcover.data.problems import tell
from landcover.data.raster import Channel
from landcover.errors import InputError
from landcover.modalities import QUANTITIES
from landcover.processes import executor
from landcover.report import plots, sheets
from landcover.report.pictures import one_of_each

PATCHES_DIR, LISTS_DIR = Path("data/patches"), Path("data/lists")
SAMPLE, SHOWN = 200, 6  # patches whose pixels are read, and drawn
PERCENTILES = {"1%": 1, "median": 50, "99%": 99}
COUNTS, FACTS = "simple", "plain"  # formats of tables
NO_SPLIT = {"method": "order", "train": 1, "val": 1, "test": 1}  # of a source without an entry, and not used


class Look(NamedTuple):
    """How a dataset is understood."""

    layout: str  # a name in LAYOUTS
    patches: Patches  # of the whole dataset
    table: pd.DataFrame  # the rows of its table that no list excludes, with a column `split`, '' for none
    warnings: list[str]  # what looks wrong, and why training would stop
    problems: dict[str, str]  # why patches cannot be used, by patch id; of the files, only the sample's were read
    sample: pd.DataFrame  # the rows of the table whose pixels were read
    images: np.ndarray  # float32 (N, C, H, W), of the sample, as in the tensors


def parse_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m landcover look", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("dataset", nargs="?", metavar="DATASET", help=f"an entry of {PARAMS}; default: the chosen one")
    add("--source", help="a folder or a local archive that has no entry yet")
    add("--layout", choices=LAYOUTS, help="how the source is arranged; default: recognized from it")
    add("--bands", help=f"of the source's images, in order, as B04,B03,B02; default: those in {PARAMS}")
    add("--out", type=Path, default=Path("look.png"), help="the picture; default: %(default)s")
    options = parser.parse_args(arguments)
    if options.source and options.dataset:
        raise InputError(f"--source {options.source}: name a source or an entry, not both")
    if (options.layout or options.bands) and not options.source:
        raise InputError("--layout and --bands: need --source; an entry states its own")
    return options


@contextmanager
def unpacked(entry: Dataset, params: Params, command: str) -> Iterator[Path]:
    """The folder of a dataset's files.

    Args:
        command: that unpacks it in the pipeline.

    Raises:
        InputError: they are not on this machine, or the archive is damaged.
    """
    source, locked = Path(entry.source).expanduser(), locked_archive()
    if source.is_dir():
        yield source
    elif source.is_file():
        with tempfile.TemporaryDirectory() as folder:
            needed = member_filter(entry, params.inputs, params.bands)
            archive.extract(source, Path(folder), needed, **params.unpack.model_dump())
            yield Path(folder)
    elif not entry.synthetic and "://" not in entry.source:
        raise InputError(f"{entry.source}: not found; give a folder, or a .tar.gz, .tar or .zip")
    elif PATCHES_DIR.is_dir() and locked and locked.source == entry.source:
        yield PATCHES_DIR
    else:
        raise InputError(f"{entry.source}: is not unpacked; first run: {command}")


def examine(folder: Path, entry: Dataset, params: Params, *, split: bool) -> Look:
    """Read a dataset's tables, and the pixels of a sample of its patches.

    Args:
        split: whether to split the patches as the entry says.
    """
    patches = read_dataset(folder, entry, params.inputs, params.bands)
    with executor(params.runtime) as pool:
        warnings = positions.locate(patches, LISTS_DIR / entry.positions if entry.positions else None, pool)
    table = patches.table.assign(split="")
    excluded = splits.excluded(entry.exclude, LISTS_DIR, table)
    if split:
        try:
            table["split"] = splits.assign(entry.split, patches.table, patches.name, patches.classes).splits
            excluded = splits.excluded(entry.exclude, LISTS_DIR, table)  # of a label review, no test patch
            used = table[(table["split"] != "") & (table["problem"] == "") & ~excluded]
            warnings = splits.warnings(entry.split, used, patches.classes) + warnings
        except InputError as error:
            warnings.insert(0, str(error))
    table = table[~excluded]
    good = table[table["problem"] == ""]
    sample = good.iloc[np.linspace(0, len(good) - 1, min(SAMPLE, len(good))).round().astype(int)]
    preprocess = params.preprocess
    offset = preprocess.offset if entry.offset is None else entry.offset
    pixels = read_patches(sample, Reading.of(patches, resampling=preprocess.resampling, offset=offset))
    problems = dict(table.loc[table["problem"] != "", ["patch_id", "problem"]].to_numpy()) | pixels.problems
    return Look(
        recognize(folder, entry),
        patches,
        table,
        patches.warnings + warnings,
        problems,
        sample.iloc[pixels.good],
        pixels.images(),
    )


# -- what is printed


def count_classes(look: Look) -> str:
    """A table of the patches of each class, by split if there are splits."""
    table, classes = look.table[look.table["label"] >= 0], look.patches.classes
    parts = {"patches": table}
    if (look.table["split"] != "").any():
        parts |= {name: table[table["split"] == name] for name in SPLITS}
    counts = {name: np.bincount(part["label"], minlength=len(classes)) for name, part in parts.items()}
    rows = [[name, *(count[label] for count in counts.values())] for label, name in enumerate(classes)]
    return tabulate([*rows, ["all", *map(sum, counts.values())]], ["class", *counts], COUNTS)


def unit_of(channel: Channel) -> str:
    """Of a channel's values, with how they follow from the numbers in the files."""
    if channel.name in QUANTITIES:
        return QUANTITIES[channel.name].unit
    if channel.dtype == "uint8" and channel.scale is None:
        return "of the channel's range"
    return f"reflectance, {channel.dtype} x {channel.steps / REFLECTANCE_SCALE:.4g}"


def describe_channels(look: Look) -> str:
    """A table of the percentiles of each channel's valid pixels, in its physical unit."""
    rows = []
    for channel, values in zip(look.patches.channels, look.images.swapaxes(0, 1), strict=True):
        levels = np.percentile(values[values != NODATA], [*PERCENTILES.values()])
        quantity = QUANTITIES.get(channel.name)
        values = quantity.physical(levels) if quantity else levels
        rows.append([channel.name, *values, unit_of(channel)])
    return tabulate(rows, ["channel", *PERCENTILES, "unit"], COUNTS, floatfmt=".3f")


def describe_positions(table: pd.DataFrame) -> str:
    lon, lat = (table[name].dropna() for name in ("lon", "lat"))
    if lon.empty:
        return "unknown, so the patches cannot be split by place"
    known = "all patches" if len(lon) == len(table) else f"{len(lon)} patches"
    return f"{known}, lon {lon.min():.4f} to {lon.max():.4f}, lat {lat.min():.4f} to {lat.max():.4f}"


def describe_dates(table: pd.DataFrame) -> str:
    days = sorted({f"{date[:4]}-{date[4:6]}-{date[6:]}" for date in table["date"] if date})
    if not days:
        return "unknown"
    return days[0] if len(days) == 1 else f"{len(days)}, {days[0]} to {days[-1]}"


def describe(look: Look, title: str) -> str:
    """All that is printed of a dataset."""
    size, metres = look.patches.patch_size, look.patches.metres_per_pixel
    left_out = {
        "excluded by a list": len(look.patches.table) - len(look.table),
        "in no split": (look.table["split"] == "").sum() if (look.table["split"] != "").any() else 0,
        "bad": len(look.problems),
    }
    facts = [
        ("layout", look.layout),
        ("patches", f"{len(look.table)} of {size} x {size} pixels of {metres:g} m"),
        ("positions", describe_positions(look.table)),
        ("dates", describe_dates(look.table)),
        ("left out", ", ".join(f"{count} {why}" for why, count in left_out.items() if count) or "none"),
        *([("bad", tell(look.problems))] if look.problems else []),
        *(("warning", text) for text in look.warnings),
    ]
    lines = tabulate(facts, tablefmt=FACTS, disable_numparse=True)
    pixels = f"Valid pixels of {len(look.sample)} patches\n{describe_channels(look)}"
    return "\n\n".join([f"{title}\n{lines}", count_classes(look), pixels])


def draw(look: Look, path: Path, title: str, colours: dict[str, str], *, synthetic: bool) -> None:
    """Draw a few patches, of as many classes as possible, in the colours that are chosen for some."""
    rows = one_of_each(look.sample["label"].to_numpy(), SHOWN)
    captions = [[look.patches.classes[label]] for label in look.sample["label"].iloc[rows]]
    channels = [channel.name for channel in look.patches.channels]
    content = look.images[rows], channels, look.patches.classes, captions, title, "below each patch: its class"
    options = {"metres_per_pixel": look.patches.metres_per_pixel, "colours": colours}
    plots.draw(path, synthetic, sheets.sheet, *content, **options)


def main(arguments: list[str]) -> None:
    options = parse_options(arguments)
    raw = config.load()
    command = "dvc repro unpack"
    if options.dataset not in (None, raw.get("dataset")):
        raw["dataset"] = options.dataset
        command = f"dvc exp run -S dataset={options.dataset} unpack"
    params = config.check(raw)
    name, entry = params.dataset, params.datasets[params.dataset]
    if options.source:
        given = {"source": options.source, "split": NO_SPLIT, "layout": options.layout}
        given["bands"] = options.bands.split(",") if options.bands else None
        stated = {key: value for key, value in given.items() if value is not None}
        name, entry = Path(options.source).resolve().name, config.validate("--source", Dataset, stated)
    with unpacked(entry, params, command) as folder:
        look = examine(folder, entry, params, split=not options.source)
    if look.sample.empty:
        entry_too = "" if options.source else f", or what datasets.{name} says of them, such as its patch_size"
        raise InputError(
            f"{name}: all {len(look.table)} patches are bad: {tell(look.problems)}: correct them{entry_too}"
        )
    print(describe(look, f"{name}: {entry.source}{', synthetic' if entry.synthetic else ''}"))
    title = f"{name}: {min(SHOWN, len(look.sample))} patches"
    draw(look, options.out, title, entry.colours, synthetic=entry.synthetic)
    print(f"\n{options.out}: {min(SHOWN, len(look.sample))} of the patches")

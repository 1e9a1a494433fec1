"""Cut patches out of a scene, around points or in polygons of known land cover.  scene, points -> a dataset to train on

    python -m landcover cut SCENE POINTS --out FOLDER [--size 120] [--bands B02,B03,B04,B08] [--class-column class]

POINTS is a GeoPackage, a GeoJSON, or a CSV with the columns lon, lat and class. SCENE is what `predict` reads.
"""

import argparse
import math
import re
import sys
from pathlib import Path

import pandas as pd
import shapely
import yaml

from landcover import files
from landcover.config import PARAMS
from landcover.constants import BANDS, LARGEST_SIZE, LEAST_SIZE, METRES_PER_PIXEL, PATCH_SIZE, SURFACE
from landcover.data.problems import tell
from landcover.errors import InputError
from landcover.mapping.samples import LABELS, TILES, cut, find_overlaps, place_windows, read_features
from landcover.mapping.scenes import Scene, open_scene

DEFAULT_BANDS = ("B02", "B03", "B04", "B08")
FEW = 3  # patches of a class, one for each split
SHARES = {"val": 0.15, "test": 0.15, "seed": 42}  # of the split that is proposed
BLOCKS = 6  # along the longer side of the patches' extent, of the split by place that is proposed


def bands(text: str) -> dict[str, int | None]:
    """Names of bands, and their positions in the file, from 1, where they are given: 'B02,B03' or 'B02=1,B03=2'."""
    pairs = [name.partition("=") for name in text.split(",")]
    names = [name for name, _, _ in pairs]
    if unknown := [name for name in names if name not in BANDS]:
        if re.fullmatch(r"b?\d+", unknown[0]):
            raise argparse.ArgumentTypeError(f"{text!r}: name each band before its position, as B02=1,B03=2")
        raise argparse.ArgumentTypeError(f"unknown band {unknown[0]!r}; choose from {', '.join(BANDS)}")
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError("name each band once")
    numbers = [number for _, _, number in pairs]
    if any(numbers) and not all(re.fullmatch(r"[1-9]\d{0,4}", number) for number in numbers):
        raise argparse.ArgumentTypeError("give the position of each band from 1, as B02=1,B03=2, or of none")
    return {name: int(number) if number else None for name, number in zip(names, numbers, strict=True)}


def parse_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m landcover cut", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("scene", metavar="SCENE", help="a GeoTIFF, folder, product or STAC item")
    add("points", type=Path, metavar="POINTS", help="a GeoPackage, a GeoJSON, or a CSV of lon, lat and class")
    add("--out", type=Path, required=True, help="the folder to write")
    add("--size", type=int, default=PATCH_SIZE, help="of a patch, in pixels of 10 m; default: %(default)s")
    add("--bands", type=bands, default=bands(",".join(DEFAULT_BANDS)),
        help=f"default: {','.join(DEFAULT_BANDS)}; with their positions in a file that does not name them: "
        "B02=1,B03=2")  # fmt: skip
    add("--class-column", default="class", help="the column that names the class; default: %(default)s")
    add("--layer", help="of the points, if their file has several")
    add("--offset", type=float, help="what was added to the scene's numbers; default: from its metadata")
    add("--quantification", type=float, help="the number for a reflectance of 1; default: from the metadata")
    add("--crs", help="reproject the scene to EPSG:<code>, or to utm, the UTM zone of its centre")
    add("--level", choices=["any"], help="accept Level-1C too")
    return parser.parse_args(arguments)


def warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def check_out(out: Path) -> bool:
    """Whether the folder to write exists; it must have been written by this command.

    Raises:
        InputError: it holds something else.
    """
    if out.exists():
        contents = sorted(path.name for path in out.iterdir()) if out.is_dir() else [out.name]
        if foreign := [name for name in contents if name not in (LABELS, TILES)]:
            raise InputError(f"--out {out}: holds {foreign[0]}, which cut did not write; name another folder")
    return out.exists()


def warn_of_overlaps(used: pd.DataFrame, size: int) -> bool:
    """Warn of patches that show the same ground; whether there are some."""
    overlapping, of_other_class = find_overlaps(used, size)
    if len(of_other_class):
        first, second = (f"{used['patch_id'].iloc[row]} ({used['class'].iloc[row]})" for row in of_other_class[0])
        warn(
            f"{len(of_other_class)} patches overlap one of another class, such as {first} and {second}; move one, or "
            "choose a smaller --size"
        )
    if len(overlapping):
        warn(
            f"{len(overlapping)} of {len(used)} patches overlap another, so a random split would test on ground that "
            "was trained on; split by place, as below, or choose a smaller --size"
        )
    return len(overlapping) > 0


def entry(out: Path, used: pd.DataFrame, size: int, scene: Scene, *, overlap: bool, again: bool) -> str:
    """The entry of params.yaml to train on the patches, and the command that does it.

    Args:
        used: the windows that were cut.
        overlap: whether some overlap.
        again: whether the folder has been there before.
    """
    split = {"method": "random"} | SHARES
    if overlap:
        side = METRES_PER_PIXEL / 1000 * max(used[name].max() - used[name].min() + size for name in ("left", "top"))
        # Overlapping windows are at most a diagonal apart.
        buffer = math.ceil(math.sqrt(2) * size * METRES_PER_PIXEL / 100) / 10
        split = {"method": "place", "block_km": max(math.ceil(side / BLOCKS), buffer), "buffer_km": buffer} | SHARES
    source = str(out if PARAMS.is_file() else out.resolve())  # the pipeline runs where params.yaml is
    name = re.sub(r"[^\w-]+", "-", out.resolve().name).strip("-") or "points"
    content = {"source": source, "layout": "table", "split": split, "patch_size": size}
    if scene.bands != list(DEFAULT_BANDS):
        content["bands"] = scene.bands
    if scene.provenance.level == "1C":
        content["level"] = "1C"
    lines = yaml.safe_dump({name: content}, sort_keys=False, default_flow_style=None, allow_unicode=True, width=1000)
    indented = "".join(f"  {line}\n" for line in lines.splitlines())
    command = f"dvc exp run -S dataset={name}{' --force' if again else ''}"
    reason = f" (forced, since DVC does not look whether {source} has changed)" if again else ""
    return f"To train on them, add to `datasets` in {PARAMS}:\n{indented}then: {command}{reason}"


def main(arguments: list[str]) -> None:
    options = parse_options(arguments)
    if not LEAST_SIZE <= options.size <= LARGEST_SIZE:
        raise InputError(f"--size {options.size}: choose from {LEAST_SIZE} to {LARGEST_SIZE} pixels")
    again = check_out(options.out)
    features = read_features(options.points, options.class_column, options.layer)
    names, positions = list(options.bands), list(options.bands.values())
    scene = open_scene(
        options.scene, names, positions=positions if all(positions) else None, offset=options.offset,
        quantification=options.quantification, crs=options.crs, level=None if options.level else SURFACE,
    )  # fmt: skip
    for warning in scene.provenance.warnings:
        warn(f"{scene.name}: {warning}")
    windows = place_windows(features, scene, options.size)
    with files.replacing(options.out) as part:
        windows = cut(scene, windows, options.size, part)
        problems = dict(windows.loc[windows["problem"] != "", ["patch_id", "problem"]].to_numpy())
        used = windows[windows["problem"] == ""]
        if used.empty:
            turned = features.set_geometry(shapely.transform(features.geometry, lambda places: places[:, ::-1]))
            swapped = (place_windows(turned, scene, options.size)["problem"] == "").any()
            remedy = "correct it, or name the scene that shows them"
            if swapped:
                remedy = "their x and y seem to be swapped: exchange them"
            raise InputError(f"{options.points}: none of {len(windows)} patches can be cut: {tell(problems)}; {remedy}")
    if problems:
        warn(f"{options.points}: left out {len(problems)} of {len(windows)} patches: {tell(problems)}")
    counts = used["class"].value_counts()
    if rare := [f"{name} {count}" for name, count in counts.items() if count < FEW]:
        warn(f"classes with fewer than {FEW} patches, too few for a split: {', '.join(rare)}; add some, or remove them")
    overlap = warn_of_overlaps(used, options.size)
    shares = ", ".join(f"{name} {count}" for name, count in counts.items())
    print(f"{options.out}: {len(used)} patches of {options.size} x {options.size} pixels: {shares}")
    print(entry(options.out, used, options.size, scene, overlap=overlap, again=again))

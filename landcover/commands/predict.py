"""Map the land cover of scenes.  scenes, models/model.safetensors -> maps/<scene>/

    python -m landcover predict SCENE ... [--out FOLDER] [--step N] [--threshold T] [--mask [KINDS]] [--probabilities]
    python -m landcover predict SCENE ... --mosaic confidence|mean                       one map of all

A scene is a GeoTIFF, a folder with one file per band, a Level-2A product as .SAFE or .zip, or a STAC item; `sample` is
a synthetic one whose truth is known. For a folder in the ben-ge layout, it predicts the patches, and writes a table.
"""

import argparse
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rasterio import Affine

from landcover import config, files
from landcover.config import PARAMS, Runtime
from landcover.constants import METRES_PER_PIXEL, SAMPLES, readable
from landcover.data.layouts.ben_ge import find_root
from landcover.data.offsets import ADDED
from landcover.data.problems import tell
from landcover.device import choose_device
from landcover.errors import InputError
from landcover.evaluation.applicability import QUANTILE
from landcover.mapping import maps, rasters
from landcover.mapping.classification import KINDS, Mask
from landcover.mapping.item import ITEM, to_item
from landcover.mapping.layers import positions
from landcover.mapping.mosaic import RULES, Mosaic, dates_of
from landcover.mapping.patches import predict_patches
from landcover.mapping.polygons import POLYGONS, write_polygons
from landcover.mapping.predictor import APPLICABILITY, Predictor
from landcover.mapping.products import is_benge
from landcover.mapping.scaling import check_given
from landcover.mapping.scenes import Area, Scene, open_scene
from landcover.mapping.summary import Summary, Unlike
from landcover.mapping.truth import Agreement, Truth, read_truth, score_areas
from landcover.mapping.windows import Windows
from landcover.modalities import SENTINEL_2
from landcover.report import plots
from landcover.report.map_page import map_page
from landcover.report.palette import class_colours
from landcover.report.scene_map import percent, scene_map
from landcover.synthetic.scene import SCENE, TRUTH, write_scene
from landcover.training.determinism import set_deterministic

MODEL, ENSEMBLE, MAPS = Path("models/model.safetensors"), Path("models/ensemble.safetensors"), Path("maps")
# Where there is no params.yaml, as where the package is installed.
RUNTIME = Runtime(
    device="auto", threads=os.cpu_count() or 1, instruction_set="avx2", launcher="python", workers=os.cpu_count() or 1,
    dask=None, resident_gigabytes=4,
)  # fmt: skip
MOSAIC = "mosaic"  # the folder of one map of several scenes, if no other is named
SUFFIX = re.compile(r"\.(tiff?|jp2|(geo)?json|safe|zip)$", re.IGNORECASE)  # not part of a folder's name
PREDICTIONS, PAGE = "predictions.csv", "map.html"  # of patches, of a scene
# What a folder may hold that a new map replaces.
OUTPUTS = {
    "classes.tif", "confidence.tif", "unlike.tif", "probabilities.tif", "shares.tif", "map.png", PAGE, "summary.json",
    ITEM, POLYGONS, PREDICTIONS,
}  # fmt: skip
BESIDE = (".aux.xml", ".qml", ".DS_Store")  # endings of what QGIS and macOS write beside them
UNCERTAIN, UNLIKE = "uncertain", "unlike"  # cells, as something to mask
MOST_UNLIKE = 2 * (1 - QUANTILE)  # share of cells unlike the train patches, above which there is a warning
SCENE_OPTIONS = ("mosaic", "step", "mask", "polygons", "truth", "bands", "quantification", "crs", "level")


def kinds(text: str) -> list[str]:
    """What is masked: 'clouds,shadows'."""
    found = text.split(",")
    if not set(found) <= {UNCERTAIN, UNLIKE, *KINDS}:
        raise argparse.ArgumentTypeError(
            f"{text!r}: choose from {UNCERTAIN}, {UNLIKE}, {', '.join(KINDS)}; scenes come before"
        )
    return found


def parse_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m landcover predict", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("scenes", nargs="+", metavar="SCENE", help="a file, folder, product or STAC item, or sample")
    add("--out", type=Path, help=f"the folder to write, or for several maps its parent; default: {MAPS}/<scene>")
    add(
        "--mosaic", choices=RULES,
        help="map all scenes as one: each cell from the most confident scene, or from the mean of the probabilities",
    )  # fmt: skip
    add("--model", type=Path, help=f"default: {MODEL}, or {ENSEMBLE} with --ensemble")
    add("--ensemble", action="store_true", help="average the networks that were trained with repeat.seeds")
    add("--step", type=int, help="pixels from one window to the next; default: a window's size")
    add("--threshold", type=float, default=0.5, help="hatch cells with less confidence; default: 0.5")
    add(
        "--mask", type=kinds, nargs="?", const=[UNCERTAIN], default=[], metavar="KINDS",
        help=f"what has no class: {UNCERTAIN} (default), {UNLIKE}, cells; {', '.join(KINDS)}, of the scene's SCL",
    )  # fmt: skip
    add("--probabilities", action="store_true", help="also write probabilities.tif, one band per class")
    add(
        "--polygons", type=float, nargs="?", const=0, metavar="HECTARES",
        help="also write polygons.gpkg; smaller polygons get the class of their largest neighbour",
    )  # fmt: skip
    add("--truth", type=Path, help="a raster of the true classes, to report the map's accuracy")
    add("--bands", type=positions, help="positions of the model's bands in the file, as b1,b2,b3,b7")
    add("--offset", type=float, help="what was added to the scene's numbers; default: from its metadata")
    add("--quantification", type=float, help="the number for a reflectance of 1; default: from the metadata")
    add("--crs", help="reproject the scene to EPSG:<code>, or to utm, the UTM zone of its centre")
    add("--level", choices=["any"], help="accept another level than that of the model's patches")
    options = parser.parse_args(arguments)
    if options.truth and len(options.scenes) > 1 and not options.mosaic:
        raise InputError("--truth: applies to a single scene; name only one, or make one map of all by --mosaic")
    if options.polygons is not None and not options.polygons >= 0:
        raise InputError(f"--polygons {options.polygons:g}: give hectares, 0 or more")
    if not 0 <= options.threshold <= 1:
        raise InputError(f"--threshold {options.threshold:g}: give a share from 0 to 1")
    return options


def folder_name(scene: str) -> str:
    return re.sub(r"[^\w.-]+", "-", SUFFIX.sub("", scene)).strip(".-") or "scene"


def output_folder(scene: str, options: argparse.Namespace) -> Path:
    """The folder for a map: for a single one, the given folder; for several, one below it for each scene.

    Raises:
        InputError: it holds something else than a map.
    """
    folder = options.out
    if folder is None or (len(options.scenes) > 1 and not options.mosaic):
        folder = (folder or MAPS) / folder_name(scene)
    contents = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    if folder.exists() and (
        foreign := [name for name in contents if name not in OUTPUTS and not name.endswith(BESIDE)]
    ):
        raise InputError(f"--out {folder}: holds {foreign[0]}, which is not part of a map; name another folder")
    return folder


def open_input(
    name: str, folder: Path, predictor: Predictor, options: argparse.Namespace
) -> tuple[Scene | Path, Path | None]:
    """A scene and its truth, if it is known; for patches in the ben-ge layout, the dataset's folder.

    Args:
        folder: to write the synthetic scene to, if it is asked for.
    """
    path = Path(name)
    if is_benge(path) or any(path.glob("*/*_meta.csv")):
        if unused := [f"--{option}" for option in SCENE_OPTIONS if getattr(options, option)]:
            raise InputError(f"{', '.join(unused)}: for scenes, not for the patches in {name}; leave it out")
        return path if is_benge(path) else find_root(path), None
    predictor.check_inputs({SENTINEL_2}, name)
    is_sample = name in SAMPLES and not path.exists()
    if is_sample:
        write_scene(folder / name, name)
    scene = open_scene(
        str(folder / name / SCENE) if is_sample else name,
        predictor.bands,
        positions=options.bands,
        offset=options.offset,
        quantification=options.quantification,
        crs=options.crs,
        level=None if options.level else predictor.metadata.level,
        mask=[kind for kind in KINDS if kind in options.mask],
    )
    if is_sample:
        return replace(scene, name=name), options.truth or folder / name / TRUTH
    return scene, options.truth


def describe_shares(shares: dict[str, float], most: int = 4) -> str:
    """The largest shares of classes, as text."""
    by_size = sorted((item for item in shares.items() if item[1]), key=lambda item: -item[1])
    parts = [f"{percent(share)} {readable(name)}" for name, share in by_size[:most]]
    if rest := sum(share for _, share in by_size[most:]):
        parts.append(f"{percent(rest)} other classes")
    return ", ".join(parts) or "no data"


def warn(name: str, warning: str) -> None:
    print(f"warning: {name}: {warning}", file=sys.stderr)


def tell_limits(path: Path, predictor: Predictor, *, maps_scenes: bool) -> None:
    """Print, on every run, why what the model says may mean nothing."""
    if predictor.metadata.synthetic:
        told = f"trained on synthetic data, {predictor.metadata.dataset}; what it says of real scenes means nothing"
        print(f"{path}: {told}", file=sys.stderr)
    if maps_scenes and not predictor.applicability:
        beside = path.with_name(APPLICABILITY)
        told = f"not there, or of another dataset than {path}; so cells unlike its train patches are not marked"
        print(f"{beside}: {told}", file=sys.stderr)


def describe_unlike(unlike: Unlike) -> str:
    return (
        f"{percent(unlike.share)} of the cells are unlike the train patches, {percent(unlike.share_of_val)} of the val "
        "patches are; do not trust the map there: they are hatched crosswise in map.png"
    )


def describe_bias(share_bias: Mapping[str, float], most: int = 3) -> str:
    """The largest errors of mean shares on the test split, as a warning about areas."""
    by_size = sorted(share_bias.items(), key=lambda item: -abs(item[1]))
    found = ", ".join(f"{readable(name)} {100 * bias:+.1f} points" for name, bias in by_size[:most])
    return (
        f"areas are sums of shares, without a correction; on the test split, mean shares were most wrong for {found}; "
        "on other ground, errors are others, and may be larger"
    )


def known_truth(truth: Path | None, area: Area, predictor: Predictor, options: argparse.Namespace) -> Truth | None:
    """What is true of an area, if it is known; to read before a long computation."""
    if not truth:
        return None
    windows = Windows.over(area, predictor.inputs.patch_size, step_of(predictor, options))
    known = read_truth(truth, rasters.codes(predictor.inputs.classes), area, windows)
    if known.warning:
        warn(truth.name, known.warning)
    return known


def step_of(predictor: Predictor, options: argparse.Namespace) -> int:
    return predictor.inputs.patch_size if options.step is None else options.step


def layers_of(predictor: Predictor, options: argparse.Namespace) -> list[str]:
    """The files that probabilities are written to."""
    return ["shares.tif"] * (predictor.metadata.target == "shares") + ["probabilities.tif"] * options.probabilities


def map_scene(
    scene: Scene, truth: Path | None, predictor: Predictor, runtime: Runtime, options: argparse.Namespace, out: Path
) -> None:
    """Write the map of a scene, and print what it shows."""
    known = known_truth(truth, scene, predictor, options)
    keep, step = bool(layers_of(predictor, options)), step_of(predictor, options)
    land_cover = maps.predict(scene, predictor, step, runtime, keep_probabilities=keep)
    facts = {"masked_pixels": scene.mask.shares} if scene.mask else {}
    write_map(scene, [scene], land_cover, facts, known, predictor, options, out)
    if scene.mask:
        print(f"masked in the scene: {describe_mask(scene.mask)}")


def map_each(
    inputs: list[tuple[Scene | Path, Path | None, Path]],
    predictor: Predictor,
    runtime: Runtime,
    options: argparse.Namespace,
    problems: list[str],
) -> None:
    """Map scenes one after the other, each with its truth, if it is known, into its folder."""
    for out, count in Counter(out for _, _, out in inputs).items():
        if count > 1:
            raise InputError(f"several scenes would be written to {out}; map them one by one, with --out")
    for scene, truth, out in inputs:
        with collecting(problems, len(options.scenes) > 1):
            if isinstance(scene, Path):
                tabulate_patches(scene, predictor, runtime, options, out)
            else:
                map_scene(scene, truth, predictor, runtime, options, out)


def map_mosaic(
    scenes: list[Scene],
    predictor: Predictor,
    runtime: Runtime,
    options: argparse.Namespace,
    out: Path,
    problems: list[str],
) -> None:
    """Write one map of several scenes, and print what it shows; bad scenes are left out, and reported."""
    if not scenes:
        return
    keep, step = bool(layers_of(predictor, options)), step_of(predictor, options)
    name = out.resolve().name
    mosaic = Mosaic(scenes, name, predictor, step, options.mosaic, runtime, keep_probabilities=keep)
    known = known_truth(options.truth, mosaic.area, predictor, options)
    for scene in scenes:
        with collecting(problems, len(options.scenes) > 1):
            mosaic.add(scene)
    if not mosaic.scenes:
        return
    land_cover = mosaic.finish()
    write_map(mosaic.area, mosaic.scenes, land_cover, {"scene": mosaic.facts()}, known, predictor, options, out)
    for scene, cells in zip(mosaic.scenes, mosaic.cells_of_scenes(), strict=True):
        masked = f"; masked in it: {describe_mask(scene.mask)}" if scene.mask else ""
        print(f"{scene.name}: used for {percent(cells / land_cover.labels.size)} of the cells{masked}")


def describe_mask(mask: Mask) -> str:
    return ", ".join(f"{percent(share)} {kind}" for kind, share in mask.shares.items())


def write_map(
    area: Area,
    scenes: list[Scene],
    land_cover: maps.Map,
    facts: dict[str, Any],
    known: Truth | None,
    predictor: Predictor,
    options: argparse.Namespace,
    out: Path,
) -> None:
    """Write the map of a scene, or of a mosaic of scenes, and print what it shows.

    Args:
        facts: what else summary.json says.
    """
    step, classes, threshold = land_cover.windows.step, predictor.inputs.classes, options.threshold
    shares, bias = predictor.metadata.target == "shares", predictor.metadata.share_bias
    uncertain = (land_cover.labels != maps.NOTHING) & (land_cover.confidence < threshold)
    unlike, applicability = np.zeros_like(uncertain), predictor.applicability
    if applicability:
        unlike = land_cover.unlike > applicability.threshold
    hidden = [cells for kind, cells in ((UNCERTAIN, uncertain), (UNLIKE, unlike)) if kind in options.mask]
    masked = np.any(hidden, axis=0) if hidden else None
    summary = Summary.of(land_cover, classes, threshold, bias if shares else None, applicability)
    content = summary.to_json(land_cover, area, predictor) | {"masked": bool(hidden)} | facts
    dates, title = dates_of(scenes), area.name
    if options.mosaic:
        title += f": {len(scenes)} scene{'s' * (len(scenes) > 1)}"
        title += f", {' to '.join(dict.fromkeys(dates))}" if dates else ""
    agreement = areas = None
    if known:
        agreement = Agreement.of(known.labels, land_cover.labels, classes)
        areas = score_areas(known.pixels, land_cover, classes, shares=shares)
        content["truth"] = agreement._asdict() | {"areas": areas}
    below = f"have no class above {100 * threshold:g}%" if shares else f"are below {100 * threshold:g}% confidence"
    doubt = f"{percent(summary.uncertain_share)} of the cells {below}, {percent(summary.nodata_share)} have no data"
    notes = [f"{doubt}."]
    unlike_told = bool(summary.unlike_train and summary.unlike_train.share > MOST_UNLIKE)
    if unlike_told:
        notes.append(f"Caution: {describe_unlike(summary.unlike_train)}.")
    if predictor.metadata.synthetic:
        notes.append("By a model of synthetic data: it means nothing for real scenes.")
    colours = config.chosen_colours(predictor.metadata.dataset)
    legend, labels = class_colours(classes, colours), land_cover.labels
    with files.replacing(out) as part:
        part.mkdir()
        tags = rasters.provenance(area.name, scenes, predictor)
        rasters.write(part, land_cover, area.crs, classes, legend, masked, layers_of(predictor, options), tags)
        files.write_json(part / "summary.json", content)
        kept = land_cover if masked is None else replace(land_cover, labels=np.where(masked, maps.NOTHING, labels))
        if options.polygons is not None:
            write_polygons(part, kept, area.crs, classes, options.polygons)
        if dates:
            place = area.name, dates[0], area.crs, land_cover.transform, labels.shape
            names = [path.name for path in part.iterdir()]
            files.write_json(part / ITEM, to_item(*place, classes, legend, names, dates[-1]))
        plots.draw(
            part / "map.png", False, scene_map, title, land_cover.thumbnail, area.bands,
            (area.height * METRES_PER_PIXEL, area.width * METRES_PER_PIXEL), land_cover.labels,
            land_cover.windows.margin * METRES_PER_PIXEL, step * METRES_PER_PIXEL, uncertain, threshold, classes,
            colours=colours, truth=known and known.labels, synthetic_model=predictor.metadata.synthetic,
            of_shares=shares, unlike=unlike,
        )  # fmt: skip
        height, width = land_cover.thumbnail.shape[1:]
        pixels = Affine(*area.transform) @ Affine.scale(area.width / width, area.height / height)
        page = map_page(
            area.name, " to ".join(dict.fromkeys(dates)) or None, land_cover.thumbnail, area.bands, pixels, kept.labels,
            land_cover.transform, area.crs, legend, summary.classes, notes,
        )  # fmt: skip
        (part / PAGE).write_text(page, encoding="utf-8")
    for scene in scenes:
        for told in scene.provenance.warnings:
            warn(scene.name, told)
    if bias:
        warn(area.name, describe_bias(bias))
    if unlike_told:
        warn(area.name, describe_unlike(summary.unlike_train))
    print(f"{out}: {describe_shares({area['class']: area['share'] for area in summary.classes})}")
    print(doubt)
    if agreement and agreement.cells:
        print(f"accuracy {agreement.accuracy:.3f} over {agreement.cells} cells")
        if shares:
            wrong = areas["put_wrong"]
            print(f"area in a wrong class: {wrong['counted']:.1%} by counting cells, {wrong['summed']:.1%} by shares")


def tabulate_patches(
    root: Path, predictor: Predictor, runtime: Runtime, options: argparse.Namespace, out: Path
) -> None:
    """Write predictions for the patches of a folder in the ben-ge layout, and print a summary."""
    check_given(options.offset, None)
    if options.offset is not None and not options.offset.is_integer():
        raise InputError(f"--offset {options.offset:g}: the numbers of patches are whole; give one such as {ADDED}")
    offset = "auto" if options.offset is None else int(options.offset)
    table, suspicion = predict_patches(root, predictor, offset, runtime)
    if suspicion and suspicion.certain and offset == "auto":
        raise InputError(f"{root}: {suspicion.why}: {suspicion.remedy}")
    if suspicion:
        warn(str(root), f"{suspicion.why}; {suspicion.remedy}")
    good = table[table["problem"] == ""]
    bad = table.loc[table["problem"] != "", ["patch_id", "problem"]]
    if good.empty:
        raise InputError(
            f"{root}: all {len(bad)} patches are bad: {tell(dict(bad.to_numpy()))}; correct them, or use a model of "
            "such patches"
        )
    if bad.size:
        print(f"warning: {len(bad)} bad patch{'es' * (len(bad) > 1)}: {tell(dict(bad.to_numpy()))}", file=sys.stderr)
    columns = table.columns if options.probabilities else ["patch_id", "predicted", "confidence", "problem"]
    with files.replacing(out) as part:
        part.mkdir()
        files.write_csv(part / PREDICTIONS, table[columns])
    print(f"{out / PREDICTIONS}: {describe_shares(good['predicted'].value_counts(normalize=True).to_dict())}")
    uncertain = (good["confidence"] < options.threshold).mean()
    limit = f"{100 * options.threshold:g}%"
    below = f"have no class above {limit}" if predictor.metadata.target == "shares" else f"are below {limit} confidence"
    print(f"{percent(uncertain)} of {len(good)} patches {below}")


@contextmanager
def collecting(problems: list[str], several: bool) -> Iterator[None]:
    """Of several scenes, print and collect what is wrong with one, and go on with the next."""
    try:
        yield
    except InputError as error:
        if not several:
            raise
        problems.append(str(error))
        print(f"error: {error}", file=sys.stderr)


def main(arguments: list[str]) -> None:
    options = parse_options(arguments)
    runtime = config.validate("runtime", Runtime, config.load().get("runtime")) if PARAMS.is_file() else RUNTIME
    device = choose_device(runtime.device)
    set_deterministic(1, device)  # since tiles are computed in parallel, each by one thread
    path = options.model or (ENSEMBLE if options.ensemble else MODEL)
    if not path.is_file():
        raise InputError(f"{path}: not found; run dvc repro, or name a model's file by --model")
    predictor = Predictor.load(path, ensemble=options.ensemble).to(device)
    several, problems = len(options.scenes) > 1, []
    try:
        with tempfile.TemporaryDirectory() as folder:
            # All are opened before the first is predicted, so that a bad one is known before a long computation.
            inputs = []
            area_folder = output_folder(MOSAIC, options) if options.mosaic else None
            for name in options.scenes:
                with collecting(problems, several):
                    scene, truth = open_input(name, Path(folder), predictor, options)
                    inputs.append((scene, truth, area_folder or output_folder(scene.name, options)))
            tell_limits(path, predictor, maps_scenes=any(not isinstance(scene, Path) for scene, *_ in inputs))
            if area_folder:
                map_mosaic([scene for scene, _, _ in inputs], predictor, runtime, options, area_folder, problems)
            else:
                map_each(inputs, predictor, runtime, options, problems)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("finished maps are kept, the one that was begun is not") from None
    if problems:
        have_no = "are not in the mosaic" if options.mosaic else "have no map"
        raise InputError(f"{len(problems)} of {len(options.scenes)} scenes {have_no}; the lines above say why")

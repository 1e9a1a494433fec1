"""Map the land cover of scenes.  scenes, models/model.safetensors -> maps/<scene>/

    python -m landcover predict SCENE ... [--out FOLDER] [--step N] [--threshold T] [--mask] [--probabilities]

A scene is a GeoTIFF, a folder with one file per band, a Level-2A product as .SAFE or .zip, or a STAC item; `sample` is
a synthetic one whose truth is known. For a folder in the ben-ge layout, it predicts the patches, and writes a table.
"""

import argparse
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from landcover import config, files
from landcover.config import PARAMS, Runtime
from landcover.constants import METRES_PER_PIXEL, SAMPLES, readable
from landcover.data.layouts.ben_ge import find_root
from landcover.data.problems import tell
from landcover.device import choose_device
from landcover.errors import InputError
from landcover.mapping import maps, rasters
from landcover.mapping.maps import Map
from landcover.mapping.models import Model, load_model
from landcover.mapping.patches import predict_patches
from landcover.mapping.products import is_benge
from landcover.mapping.scenes import Scene, open_scene
from landcover.mapping.truth import read_labels, score
from landcover.modalities import SENTINEL_2
from landcover.report import plots
from landcover.report.palette import class_colours
from landcover.report.scene_map import percent, scene_map
from landcover.synthetic.scene import SCENE, TRUTH, write_scene
from landcover.training.determinism import set_deterministic

MODEL, ENSEMBLE, MAPS = Path("models/model.safetensors"), Path("models/ensemble.safetensors"), Path("maps")
SUFFIX = re.compile(r"\.(tiff?|jp2|(geo)?json|safe|zip)$", re.IGNORECASE)  # not part of a folder's name
PREDICTIONS = "predictions.csv"  # of patches
# Outside a clone, where no params.yaml says it.
RUNTIME = {
    "device": "auto", "threads": 2, "instruction_set": "avx2", "launcher": "python", "workers": 2, "dask": None,
    "resident_gigabytes": 4,
}  # fmt: skip
SHARE_TOLD = 0.01  # of windows: if as many are unlike the train split's, it is worth a warning
OF_SCENES = ("step", "mask", "truth", "bands", "quantification", "crs", "level")  # options
# What a folder may hold that a new map replaces.
OURS = {
    "classes.tif", "classes.tif.aux.xml", "confidence.tif", "probabilities.tif", "map.png", "summary.json", PREDICTIONS,
}  # fmt: skip


def positions(text: str) -> list[int]:
    """Positions of bands in a file, from 1: 'b1,b2,b3,b7', or '1,2,3,7'."""
    if not re.fullmatch(r"b?[1-9]\d*(,b?[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: give the positions of the model's bands, as b1,b2,b3,b7")
    return [int(place.removeprefix("b")) for place in text.split(",")]


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a share from 0 to 1")
    return value


def arguments_of(command_line: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m landcover predict", description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="+", metavar="SCENE", help="a file, folder, product or STAC item, or sample")
    parser.add_argument(
        "--out", type=Path, help=f"the folder to write, or for several scenes its parent; default: {MAPS}/<scene>"
    )
    parser.add_argument("--model", type=Path, help=f"default: {MODEL}, or {ENSEMBLE} with --ensemble")
    parser.add_argument(
        "--ensemble", action="store_true", help="average the networks that were trained with repeat.seeds"
    )
    parser.add_argument("--step", type=int, help="pixels from one window to the next; default: a window's size")
    parser.add_argument("--threshold", type=share, default=0.5, help="hatch cells with less confidence; default: 0.5")
    parser.add_argument("--mask", action="store_true", help="set these cells to nodata in classes.tif")
    parser.add_argument("--probabilities", action="store_true", help="also write probabilities.tif, one band per class")
    parser.add_argument("--truth", type=Path, help="a raster of the true classes, to report the map's accuracy")
    parser.add_argument("--bands", type=positions, help="positions of the model's bands in the file, as b1,b2,b3,b7")
    parser.add_argument("--offset", type=int, help="what was added to the scene's numbers; default: from its metadata")
    parser.add_argument(
        "--quantification", type=int, help="the number for a reflectance of 1; default: from the metadata"
    )
    parser.add_argument("--crs", help="reproject the scene to EPSG:<code>, or to utm, the UTM zone of its centre")
    parser.add_argument("--level", choices=["any"], help="accept Level-1C too, which the model was not trained on")
    return parser.parse_args(command_line)


def replaceable(folder: Path) -> Path:
    """A folder that a map may replace.

    Raises:
        InputError: it holds something else.
    """
    if folder.exists():
        foreign = sorted({path.name for path in folder.iterdir()} - OURS) if folder.is_dir() else [folder.name]
        if foreign:
            raise InputError(f"--out {folder}: holds {foreign[0]}, which is not part of a map; name another folder")
    return folder


def folder_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", SUFFIX.sub("", name)).strip(".-") or "scene"


def outs(names: list[str], folder: Path | None) -> list[Path]:
    """The folder for each scene's results: for a single scene, the given one; for several, one below it for each.

    Raises:
        InputError: two scenes have the same folder, or a folder holds something else.
    """
    found = [(folder or MAPS) / folder_name(name) for name in names]
    if repeated := [path for path, count in Counter(found).items() if count > 1]:
        raise InputError(f"several scenes would be written to {repeated[0]}; map them one by one, with --out")
    return [replaceable(path) for path in ([folder] if folder and len(names) == 1 else found)]


def patches_root(path: Path) -> Path | None:
    """The dataset's folder, if a path is one in the ben-ge layout or contains one."""
    if is_benge(path):
        return path
    return find_root(path) if any(path.glob("*/*_meta.csv")) else None


def tell_shares(shares: dict[str, float], most: int = 4) -> str:
    """The largest shares of classes, as text."""
    by_size = sorted((item for item in shares.items() if item[1]), key=lambda item: -item[1])
    told = [f"{percent(share)} {readable(name)}" for name, share in by_size[:most]]
    if rest := sum(share for _, share in by_size[most:]):
        told.append(f"{percent(rest)} other classes")
    return ", ".join(told) or "no data"


def draw(path: Path, found: Map, scene: Scene, model: Model, uncertain: np.ndarray, threshold: float) -> None:
    windows = found.windows
    margin, step = (windows.size - windows.step) / 2, windows.step
    size = (scene.height, scene.width)
    first = [margin / length for length in size]
    last = [
        (margin + count * step) / length for count, length in zip((windows.rows, windows.columns), size, strict=True)
    ]
    metres = (scene.height * METRES_PER_PIXEL, scene.width * METRES_PER_PIXEL)
    plots.draw(
        path, False, scene_map, scene.name, found.thumbnail, scene.bands, metres,
        found.labels, (*first, *last), uncertain, threshold, model.classes, synthetic_model=model.synthetic,
    )  # fmt: skip


def warn_unlike(name: str, unlike: dict[str, Any] | None) -> None:
    """Warn if more than a few windows are unlike the patches that the model was trained on."""
    if unlike is None or unlike["share"] < SHARE_TOLD:
        return
    bands = [
        f"{band} is {side} in {percent(share)}"
        for band, sides in unlike["bands"].items()
        for side, share in sides.items()
        if share
    ]
    print(
        f"warning: {name}: {percent(unlike['share'])} of the windows are unlike any patch that the model was trained "
        f"on ({', '.join(bands)}); do not trust the map there",
        file=sys.stderr,
    )


def map_scene(
    scene: Scene, truth: Path | None, model: Model, runtime: Runtime, given: argparse.Namespace, out: Path
) -> None:
    """Write the map of a scene, and print what it shows."""
    step = model.patch_size if given.step is None else given.step
    found = maps.predict(scene, model, step, runtime, keep_probabilities=given.probabilities)
    uncertain = (found.labels != maps.NOTHING) & (found.confidence < given.threshold)
    told = rasters.summary(found, scene, model, given.threshold) | {"masked": given.mask}
    if truth:
        numbers = rasters.codes(model.classes)
        labels = read_labels(truth, numbers, found.transform, found.labels.shape, model.patch_size)
        told["truth"] = score(labels, found.labels, model.classes)
    with files.replacing(out) as part:
        part.mkdir()
        hidden = uncertain if given.mask else None
        rasters.write(part, found, scene, model.classes, class_colours(model.classes), hidden)
        files.write_json(part / "summary.json", told)
        draw(part / "map.png", found, scene, model, uncertain, given.threshold)
    for warning in scene.facts["warnings"]:
        print(f"warning: {scene.name}: {warning}", file=sys.stderr)
    warn_unlike(scene.name, told["unlike_train"])
    print(f"{out}: {tell_shares({row['class']: row['share'] for row in told['classes']})}")
    print(
        f"{percent(told['uncertain_share'])} of the cells are below {100 * given.threshold:g}% confidence, "
        f"{percent(told['nodata_share'])} have no data"
    )
    if truth and told["truth"]["cells"]:
        print(f"accuracy {told['truth']['accuracy']:.3f} over {told['truth']['cells']} cells")


def tabulate_patches(root: Path, model: Model, runtime: Runtime, given: argparse.Namespace, out: Path) -> None:
    """Write predictions for the patches of a folder in the ben-ge layout, and print a summary."""
    offset = "auto" if given.offset is None else given.offset
    table, suspicion = predict_patches(root, model, offset, runtime)
    if suspicion and suspicion.certain and offset == "auto":
        raise InputError(f"{root}: {suspicion.why}: {suspicion.remedy}")
    if suspicion:
        print(f"warning: {root}: {suspicion.why}; {suspicion.remedy}", file=sys.stderr)
    good = table[table["problem"] == ""]
    bad = table.loc[table["problem"] != "", ["patch_id", "problem"]]
    if bad.size:
        print(f"warning: {len(bad)} bad patches: {tell(dict(bad.to_numpy()))}", file=sys.stderr)
    columns = table.columns if given.probabilities else ["patch_id", "predicted", "confidence", "problem"]
    with files.replacing(out) as part:
        part.mkdir()
        files.write_csv(part / PREDICTIONS, table[columns])
    print(f"{out / PREDICTIONS}: {tell_shares(good['predicted'].value_counts(normalize=True).to_dict())}")
    uncertain = (good["confidence"] < given.threshold).mean() if len(good) else 0
    print(f"{percent(uncertain)} of {len(good)} patches are below {100 * given.threshold:g}% confidence")


def main(command_line: list[str]) -> None:
    given = arguments_of(command_line)
    if given.truth and len(given.scenes) > 1:
        raise InputError("--truth: applies to a single scene; name only one")
    runtime = config.validate("runtime", Runtime, config.load().get("runtime") if PARAMS.is_file() else RUNTIME)
    device = choose_device(runtime.device)
    set_deterministic(1, device)  # since strips are computed in parallel, each by one thread
    path = given.model or (ENSEMBLE if given.ensemble else MODEL)
    model = load_model(path, ensemble=given.ensemble).to(device)
    options = {"positions": given.bands, "offset": given.offset, "quantification": given.quantification}
    options |= {"crs": given.crs, "any_level": given.level == "any"}
    with tempfile.TemporaryDirectory() as folder:
        # All are opened before the first is predicted, so that a bad one is found before a long computation.
        opened = []
        for name in given.scenes:
            if root := patches_root(Path(name)):
                if unused := [f"--{option}" for option in OF_SCENES if getattr(given, option)]:
                    raise InputError(f"{', '.join(unused)}: for scenes, not for the patches in {name}; leave it out")
                opened.append((root, None))
                continue
            model.check_inputs({SENTINEL_2}, name)
            if name in SAMPLES and not Path(name).exists():
                write_scene(Path(folder) / name, name)
                scene = open_scene(str(Path(folder) / name / SCENE), model.bands, **options)
                opened.append((scene._replace(name=name), given.truth or Path(folder) / name / TRUTH))
            else:
                opened.append((open_scene(name, model.bands, **options), given.truth))
        for found, out in zip(opened, outs([found.name for found, _ in opened], given.out), strict=True):
            if isinstance(found[0], Path):
                tabulate_patches(found[0], model, runtime, given, out)
            else:
                map_scene(*found, model, runtime, given, out)

"""How right is a map, and how large are its classes?  a map, and points that a person labels -> estimates, intervals

    python -m landcover assess sample MAP [--scene SCENE] [--points 300] [--support window]    points to label
    python -m landcover assess report MAP POINTS [POINTS]          accuracy and areas; two interpreters: their agreement
    python -m landcover assess compare MAP OTHER POINTS            which of two maps is better on the same points

MAP is a folder that `predict` wrote, POINTS the layer of `sample` or the CSV of its sheet, labelled, beside the
design.json that came with it. docs/assessment.md has the steps.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from landcover import files
from landcover.assessment import page, results
from landcover.assessment.design import sample_size
from landcover.assessment.maps import ClassMap, read_map
from landcover.assessment.points import (
    DESIGN,
    PIXEL,
    POINTS,
    WINDOW,
    Design,
    Labels,
    read_labels,
    units_of,
    write_layer,
)
from landcover.constants import SAMPLES, readable
from landcover.errors import InputError
from landcover.evaluation.intervals import NORMAL
from landcover.evaluation.metrics import METRICS
from landcover.mapping.layers import positions
from landcover.mapping.scenes import Scene, open_scene
from landcover.report import plots
from landcover.report.sheets import picture_bands
from landcover.synthetic.scene import SCENE, write_scene

FOLDER, SHEET = Path("assessments"), "sheet.html"


def parse_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m landcover assess", description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)

    sample = verbs.add_parser("sample", help="draw points, to be labelled in QGIS or in a browser")
    add = sample.add_argument
    add("map", type=Path, metavar="MAP", help="a folder that predict wrote")
    add("--scene", help="the map's scene, for a sheet of pictures to label in a browser")
    add("--bands", type=positions, help="positions of the model's bands in the scene's file, as b1,b2,b3,b7")
    size = sample.add_mutually_exclusive_group()
    size.add_argument("--points", type=int, default=300, help="how many; default: 300")
    size.add_argument(
        "--expected-accuracy",
        help="plan how many: the expected user's accuracy, as 0.8, or by class, as 0.8,cropland=0.9",
    )
    add("--margin", type=float, default=0.05, help="half the 95%% interval that is planned for; default: 0.05")
    add(
        "--least", type=int, help="points in each mapped class, at least; default: as many as half of them allow, to 50"
    )
    add("--seed", type=int, default=1)
    add("--support", choices=(PIXEL, WINDOW), default=PIXEL, help="what is labelled; default: a pixel of 10 m")
    add("--out", type=Path, help=f"the folder to write; default: {FOLDER}/<map>")

    report = verbs.add_parser("report", help="estimate accuracy and areas from labelled points")
    report.add_argument("map", type=Path, metavar="MAP")
    report.add_argument("points", type=Path, nargs="+", metavar="POINTS", help="the labels of one or two interpreters")
    report.add_argument("--out", type=Path, help="the folder to write; default: report, beside the points")

    compare = verbs.add_parser("compare", help="which of two maps is better on the same points")
    compare.add_argument("map", type=Path, metavar="MAP")
    compare.add_argument("other", type=Path, metavar="OTHER")
    compare.add_argument("points", type=Path, metavar="POINTS")
    tolerance = METRICS["accuracy"].tolerance
    compare.add_argument(
        "--tolerance", type=float, default=tolerance, help=f"the least difference that matters; default: {tolerance}"
    )
    compare.add_argument("--out", type=Path, help="the folder to write; default: comparison, beside the points")
    return parser.parse_args(arguments)


def warn(warning: str) -> None:
    print(f"warning: {warning}", file=sys.stderr)


# -- sample


def expected_accuracies(text: str, classes: list[str]) -> np.ndarray:
    """The expected user's accuracy of each class: one for all, and those of single classes, '0.8,cropland=0.9'.

    Raises:
        InputError: it is not that.
    """
    found = np.full(len(classes), np.nan)
    parts = [part.rpartition("=") for part in text.split(",")]
    try:
        for name, _, number in sorted(parts):  # the one for all comes first
            found[[classes.index(name)] if name else slice(None)] = float(number)
    except ValueError:
        raise InputError(
            f"--expected-accuracy {text}: give a share, and those of classes as <class>=<share>, among "
            f"{', '.join(classes)}"
        ) from None
    if not ((found > 0) & (found < 1)).all():
        raise InputError(f"--expected-accuracy {text}: give every mapped class a share between 0 and 1")
    return found


def plan(drawn_from: ClassMap, options: argparse.Namespace) -> int:
    """How many points to draw."""
    if options.expected_accuracy is None:
        return options.points
    if not 0 < options.margin < 0.5:
        raise InputError(f"--margin {options.margin:g}: give a share between 0 and 0.5")
    strata, sizes = units_of(drawn_from, options.support)
    expected = expected_accuracies(options.expected_accuracy, [drawn_from.classes[k] for k in strata])
    return sample_size(sizes, expected, options.margin / NORMAL)


@contextmanager
def opened(drawn_from: ClassMap, options: argparse.Namespace) -> Iterator[Scene]:
    """The scene that a map is of, with the bands of a picture.

    Raises:
        InputError: it cannot be read, or is another one.
    """
    about = drawn_from.scene
    if "mosaic" in about:
        raise InputError(f"--scene: {options.map} is a mosaic of several scenes; omit it, and label in QGIS")
    bands = about["bands"] if options.bands else picture_bands(about["bands"])
    meaning = {name: about[name] for name in ("offset", "quantification") if not isinstance(about[name], dict)}
    with tempfile.TemporaryDirectory() as folder:
        path = options.scene
        if path in SAMPLES and not Path(path).exists():
            write_scene(Path(folder), path)
            path = str(Path(folder) / SCENE)
        crs = about["crs"] if about["crs"].startswith("EPSG:") else None
        scene = open_scene(path, bands, positions=options.bands, crs=crs, level=None, **meaning)
        same = (scene.width, scene.height) == (about["width"], about["height"])
        if not same or not np.allclose(scene.transform, about["transform"], atol=0.01):
            raise InputError(f"--scene {options.scene}: is not the scene of {options.map}; name {about['name']}")
        yield scene


def sample(options: argparse.Namespace) -> None:
    drawn_from = read_map(options.map)
    out = options.out or FOLDER / drawn_from.name
    if out.exists():
        raise InputError(f"--out {out}: exists, and may hold labels; name another folder")
    if options.least is not None and options.least < 2:
        raise InputError(f"--least {options.least}: give at least 2, or there is no interval")
    points = plan(drawn_from, options)
    design = Design.of(drawn_from, points, options.seed, options.support, options.least)
    with files.replacing(out) as part:
        part.mkdir()
        design.save(part / DESIGN)
        write_layer(design, part / POINTS)
        if options.scene:
            with opened(drawn_from, options) as scene:
                (part / SHEET).write_text(page.sheet(scene, design), encoding="utf-8")
    about = {"unit": design.unit, "metres": design.metres, "strata_of": design.map, "square_km": design.square_km}
    print(page.population(about | {"covered": design.covered}))
    counts = design.points["stratum"].value_counts().sort_index()
    print(f"{out}: {points} points: " + ", ".join(f"{readable(design.strata[k])} {n}" for k, n in counts.items()))
    where = f"{out / POINTS} in QGIS" + (f", or {out / SHEET} in a browser" if options.scene else "")
    print(f"label {where}; then: python -m landcover assess report {options.map} {out / POINTS}")


# -- report and compare


def check_out(out: Path, stem: str) -> None:
    """Refuse a folder that holds anything but an earlier result, which is replaced."""
    foreign = [path.name for path in out.iterdir() if path.stem != stem] if out.is_dir() else [out.name] * out.exists()
    if foreign:
        raise InputError(f"--out {out}: holds {foreign[0]}, which is no such result; name another folder")


def read_points(paths: list[Path], class_map: ClassMap) -> tuple[Design, list[Labels]]:
    design = Design.load(paths[0].parent / DESIGN)
    codes = class_map.codes if class_map.classes == design.classes else []
    return design, [read_labels(path, design, codes) for path in paths]


def report(options: argparse.Namespace) -> None:
    if len(options.points) > 2:
        raise InputError(f"{len(options.points)} files of points: give those of one interpreter, or of two")
    class_map = read_map(options.map)
    design, labels = read_points(options.points, class_map)
    content = results.assess(class_map, design, *labels)
    out = options.out or options.points[0].parent / "report"
    check_out(out, "report")
    with files.replacing(out) as part:
        part.mkdir()
        files.write_json(part / "report.json", content)
        (part / "report.md").write_text(page.report_page(content, "report.png"), encoding="utf-8")
        plots.draw(part / "report.png", False, page.report_picture, content, class_map.colours)
    for line in content["left_out"]:
        warn(line)
    print(page.population(content))
    print(f"overall accuracy {page.interval(content['overall'])} % from {content['labelled']} points")
    print(f"accuracies and areas by class: {out / 'report.md'}")


def compare(options: argparse.Namespace) -> None:
    if not 0 < options.tolerance < 1:
        raise InputError(f"--tolerance {options.tolerance:g}: give a share between 0 and 1")
    class_map, other = read_map(options.map), read_map(options.other)
    design, (labels,) = read_points([options.points], class_map)
    content = results.compare(class_map, other, design, labels, options.tolerance)
    out = options.out or options.points.parent / "comparison"
    check_out(out, "comparison")
    text = page.comparison_page(content)
    with files.replacing(out) as part:
        part.mkdir()
        files.write_json(part / "comparison.json", content)
        (part / "comparison.md").write_text(text, encoding="utf-8")
    for line in content["left_out"]:
        warn(line)
    print(text.split("\n\n")[2])
    print(out / "comparison.md")


def main(arguments: list[str]) -> None:
    options = parse_options(arguments)
    {"sample": sample, "report": report, "compare": compare}[options.verb](options)

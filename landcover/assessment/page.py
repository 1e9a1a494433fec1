"""How an assessment looks: the page, the picture and the sheet of pictures to label."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from landcover.assessment.maps import transformed
from landcover.assessment.points import CONFIDENCES, PIXEL, WINDOW, Design
from landcover.constants import METRES_PER_PIXEL, REFLECTANCE_SCALE, readable
from landcover.evaluation.comparison import Answer, Verdict
from landcover.evaluation.intervals import Component
from landcover.evaluation.metrics import METRICS
from landcover.mapping.grids import DEGREES
from landcover.mapping.samples import rows_of
from landcover.mapping.scenes import Scene
from landcover.report import markdown
from landcover.report.palette import class_colours
from landcover.report.scene_map import percent
from landcover.report.sheets import describe_picture, picture_bands, to_pictures
from landcover.report.verdicts import amount, answer, change, evidence, largest_loss, p_value, power

AROUND = {PIXEL: 60, WINDOW: 0.25}  # what a picture shows around its unit on each side: pixels, or a share of its side
LARGEST = 181  # pixels of a picture's side; larger ones are thinned
GAMMA = 0.6  # so that forest and water are not black beside fields
ZOOM = 3  # of the second picture of a pixel
TEMPLATES = Path(__file__).with_name("templates")


def _render(template: str, **facts: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=jinja2.select_autoescape(["html"]),
    )  # fmt: skip
    environment.filters |= {"table": markdown.table, "percent": percent}
    return environment.get_template(template).render(facts)


# -- the report


def population(content: Mapping[str, Any]) -> str:
    """The unit and the population, which are the first line of every result."""
    metres = content["metres"]
    unit = {
        PIXEL: f"a pixel of {metres} m, which the map gives the class of its cell",
        WINDOW: f"a window of {metres / 1000:g} km, which has its most prevalent class",
    }
    return (
        f"Unit: {unit[content['unit']]}. Population: the mapped cells of {content['strata_of']}, "
        f"{content['square_km']:.4g} km², {percent(content['covered'])} of the scene."
    )


def interval(share: Mapping[str, float | None], factor: float = 100, digits: int = 1) -> str:
    """An estimate and its interval, as '69.8 (64.2 to 74.9)'."""
    if share["estimate"] is None:
        return "-"
    value, low, high = (f"{factor * share[name]:.{digits}f}" for name in ("estimate", "low", "high"))
    return f"{value} ({low} to {high})"


def _seen(content: Mapping[str, Any]) -> list[int]:
    """Positions of the classes that the map or the points have."""
    counts = np.array(content["counts"])
    mapped = [entry["mapped_share"] > 0 for entry in content["classes"]]
    return np.flatnonzero(counts.any(0) | counts.any(1) | mapped).tolist()


def report_page(content: Mapping[str, Any], picture: str) -> str:
    """The page of report.json's content, with a picture of this name."""
    seen = _seen(content)
    classes = [content["classes"][k] for k in seen]
    matrix, square_km = np.array(content["matrix"]), content["assessed_square_km"]
    digits = max(0, 3 - math.floor(math.log10(square_km)))  # of the smallest class, tenths of a percent
    names = [readable(entry["class"]) for entry in classes]
    by_class = [
        {
            "class": name,
            "mapped, %": f"{100 * entry['mapped_share']:.1f}",
            "area, %": interval(entry["share"]),
            "area, km²": interval(entry["square_km"], 1, digits),
            "user's accuracy, %": interval(entry["users_accuracy"]),
            "producer's accuracy, %": interval(entry["producers_accuracy"]),
        }
        for name, entry in zip(names, classes, strict=True)
    ]
    shown = [
        {"on the map": names[i], **{names[j]: f"{100 * matrix[row, column]:.1f}" for j, column in enumerate(seen)},
         "total": f"{100 * matrix[row].sum():.1f}", "points": int(np.sum(content["counts"][row]))}
        for i, row in enumerate(seen)
    ]  # fmt: skip
    total = {name: f"{100 * matrix[:, column].sum():.1f}" for name, column in zip(names, seen, strict=True)}
    shown.append({"on the map": "total", **total, "total": "100.0", "points": int(np.sum(content["counts"]))})
    unlabelled = [
        {"stratum": readable(row["class"]), "share of the area, %": f"{100 * row['share']:.1f}",
         "points": row["points"], "without a class": row["unlabelled"]}
        for row in content["strata"] if row["unlabelled"]
    ]  # fmt: skip
    ranges = [
        {"figure": name, "least, %": f"{100 * one['least']:.1f}", "most, %": f"{100 * one['most']:.1f}"}
        for name, one in [
            ("overall accuracy", content["overall"]),
            *((f"area of {name}", entry["share"]) for name, entry in zip(names, classes, strict=True)),
        ]
    ]
    agreement = dict(content.get("agreement") or {})
    differ = [
        f"{' and '.join(map(readable, one['classes']))} ({one['points']})" for one in agreement.get("differ", [])[:5]
    ]
    return _render(
        "report.md", content=content, population=population(content), overall=interval(content["overall"]),
        second=interval(content["overall_with_second_class"]), by_class=by_class, matrix=shown, picture=picture,
        unlabelled=unlabelled, bounds=ranges, agreement=agreement, differ=differ, is_pixel=content["unit"] == PIXEL,
    )  # fmt: skip


def report_picture(content: Mapping[str, Any], colours: Mapping[str, str] | None = None) -> Figure:
    """The error matrix in shares of area, and beside it the mapped and the estimated area of each class."""
    seen = _seen(content)
    names = [content["classes"][k]["class"] for k in seen]
    palette = class_colours([entry["class"] for entry in content["classes"]], colours)
    matrix = 100 * np.array(content["matrix"])[np.ix_(seen, seen)]
    figure = Figure(figsize=(10.5, 1.6 + 0.38 * len(seen)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1])
    left.imshow(matrix, cmap="Blues", aspect="auto")
    places = np.arange(len(seen))
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column] > 0:
            dark = matrix[row, column] > matrix.max() / 2
            left.text(
                column, row, f"{matrix[row, column]:.1f}", ha="center", va="center", fontsize=8,
                color="white" if dark else "black",
            )  # fmt: skip
    labels = [readable(name) for name in names]
    left.set_xticks(places, labels, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    left.set_yticks(places, labels, fontsize=8)
    left.set(xlabel="on the ground", ylabel="on the map")
    left.set_title("error matrix, % of the area", fontsize=10, loc="left")
    shares = [content["classes"][k]["share"] for k in seen]
    value, low, high = (np.array([100 * one[name] for one in shares]) for name in ("estimate", "low", "high"))
    mapped = [100 * content["classes"][k]["mapped_share"] for k in seen]
    right.barh(places, value, color=[palette[name] for name in names], edgecolor="#777777")
    right.errorbar(value, places, xerr=[value - low, high - value], fmt="none", ecolor="black", capsize=3)
    right.plot(mapped, places, "D", color="white", markeredgecolor="black", label="mapped")
    right.set_yticks(places, [])
    right.set_ylim(len(seen) - 0.5, -0.5)
    right.set(xlabel="% of the area", xlim=(0, None))
    right.set_title("estimated area with 95% interval", fontsize=10, loc="left")
    right.legend(loc="lower right", fontsize=8)
    return figure


def comparison_page(content: Mapping[str, Any]) -> str:
    """The page of comparison.json's content."""
    facts = content["verdict"]
    verdict = Verdict(**facts | {"components": [Component(**one) for one in facts["components"]]})
    words = answer(verdict)
    doubt = f" A loss of up to {largest_loss(verdict)} is not ruled out." * (verdict.verdict == Answer.UNDECIDED)
    undecided = verdict.standard_error and verdict.verdict in (Answer.UNDECIDED, Answer.NOT_WORSE)
    return _render(
        "comparison.md", content=content, population=population(content), verdict=verdict, words=words,
        change=change(verdict), p=p_value(verdict.p), doubt=doubt, evidence=evidence(verdict),
        power=power(verdict) if undecided else None, tolerance=amount(METRICS["accuracy"], verdict.tolerance),
    )  # fmt: skip


# -- the sheet


def _crops(scene: Scene, bands: Sequence[str], design: Design) -> tuple[np.ndarray, np.ndarray, float]:
    """Pictures around the units, uint8 (N, side, side, 3), the unit's corner in each as shares (N, 2), and its side."""
    unit = design.metres // METRES_PER_PIXEL
    around = AROUND[design.unit] if design.unit == PIXEL else round(AROUND[design.unit] * unit)
    side = min(unit + 2 * around, scene.width, scene.height)
    every = math.ceil(side / LARGEST)
    a, _, left, _, e, top = scene.transform
    x, y = transformed(design.crs, scene.crs, design.points["x"].to_numpy(), design.points["y"].to_numpy())
    corners = np.floor(np.stack([(x - left) / a, (y - top) / e], 1) - unit / 2 + 0.5 + 1e-6).astype(int)
    starts = np.clip(corners - around, 0, np.array([scene.width, scene.height]) - side)
    order = np.argsort(starts[:, 1], kind="stable")
    positions = [scene.bands.index(band) for band in bands]
    crops = np.empty((len(order), len(bands), len(range(0, side, every)), len(range(0, side, every))), np.uint16)
    for point, rows in zip(order, rows_of(scene, starts[order, 1].tolist(), side), strict=True):
        column = starts[point, 0]
        crops[point] = rows[positions, ::every, column : column + side : every]
    bright = to_pictures(crops / np.float32(REFLECTANCE_SCALE), bands) ** GAMMA
    pictures = (255 * bright).round().astype(np.uint8)
    return pictures, (corners - starts) / side, unit / side


def sheet(scene: Scene, design: Design) -> str:
    """An HTML file with a picture of each unit, framed, in which the classes can be chosen and saved as CSV."""
    bands = picture_bands(scene.bands)
    pictures, corners, side = _crops(scene, bands, design)
    lon, lat = transformed(design.crs, DEGREES, design.points["x"].to_numpy(), design.points["y"].to_numpy())
    zooms = [1, ZOOM] if design.unit == PIXEL else [1]
    points = []
    for number, (point, picture, corner) in enumerate(zip(design.points.index, pictures, corners, strict=True)):
        content = io.BytesIO()
        Image.fromarray(picture).save(content, "jpeg", quality=90, subsampling=0)
        # Each view is a part of the same picture: where it starts, and the frame in it, in percent.
        views = []
        for zoom in zooms:
            start = np.clip(corner + side / 2 - 0.5 / zoom, 0, 1 - 1 / zoom)
            shift = start / (1 - 1 / zoom) if zoom > 1 else np.zeros(2)
            views.append({"zoom": 100 * zoom, "shift": 100 * shift, "corner": 100 * zoom * (corner - start),
                          "side": 100 * zoom * side})  # fmt: skip
        points.append({"id": int(point), "lon": lon[number], "lat": lat[number], "views": views,
                       "picture": base64.b64encode(content.getvalue()).decode()})  # fmt: skip
    metres = round(design.metres / side)
    return _render(
        "sheet.html", points=points, classes={name: readable(name) for name in design.classes},
        confidences=CONFIDENCES, unit=design.unit, metres=design.metres, shown=describe_picture(bands), wide=metres,
        zoomed=round(metres / ZOOM), date=scene.provenance.date,
        key=f"{design.sha256[:16]}-{design.seed}-{len(points)}", is_pixel=design.unit == PIXEL,
    )  # fmt: skip

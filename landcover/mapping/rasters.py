"""A map as files: cloud-optimized GeoTIFFs with a legend, also for QGIS."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from landcover.constants import CLASSES, WORLDCOVER_CODES, readable
from landcover.mapping.maps import NOTHING, Map
from landcover.mapping.predictor import Predictor
from landcover.mapping.scenes import Scene

NODATA_CODE = 0  # which no class has
# From matplotlib's YlGnBu, which is safe for colour-blind readers.
CONFIDENCE_COLOURS = {0: "#ffffd9", 0.25: "#c7e9b4", 0.5: "#41b6c4", 0.75: "#225ea8", 1: "#081d58"}


def codes(classes: Sequence[str]) -> list[int]:
    """The number of each class in a raster: WorldCover's code, or from 1 if some classes are not WorldCover's."""
    known = dict(zip(CLASSES, WORLDCOVER_CODES, strict=True))
    return [known[name] for name in classes] if set(classes) <= set(known) else list(range(1, len(classes) + 1))


def provenance(name: str, scenes: Sequence[Scene], predictor: Predictor) -> dict[str, str]:
    """What a raster's tags say of its origin, by the names that TIFF has for it, and by our own.

    Source: TIFF 6.0, whose DateTime is here that of the scenes, if they have one; midnight, as only the day is known.

    Args:
        name: of what is mapped.
    """
    metadata, found = predictor.metadata, [scene.provenance for scene in scenes]
    kind = "synthetic data" if metadata.synthetic else "dataset"
    tags = {
        "TIFFTAG_IMAGEDESCRIPTION": f"Land cover of {name}, by a model of the {kind} {metadata.dataset}".rstrip(),
        "TIFFTAG_SOFTWARE": "landcover predict",
        "MODEL_SHA256": predictor.sha256,
        "MODEL_DATASET": metadata.dataset,
        "SCENE": ", ".join(scene.name for scene in scenes),
        "SCENE_OFFSET": _of_bands([one.offset for one in found]),
        "SCENE_QUANTIFICATION": _of_bands([one.quantification for one in found]),
    }
    if predictor.applicability:
        tags["UNLIKE_THRESHOLD"] = f"{predictor.applicability.threshold:.6g}"
    dates = {one.date for one in found}
    if len(dates) == 1 and (date := dates.pop()):
        tags["TIFFTAG_DATETIME"] = f"{date.replace('-', ':')} 00:00:00"
    return tags


def _of_bands(values: Sequence[float | dict[str, float]]) -> str:
    """A number for each scene, or for each of its bands, as text; those that are alike once."""
    texts = [
        " ".join(f"{band}={one:g}" for band, one in value.items()) if isinstance(value, dict) else f"{value:g}"
        for value in values
    ]
    return ", ".join(dict.fromkeys(texts))


def _write(path: Path, bands: np.ndarray, names: Sequence[str], colours: Mapping | None = None, **profile: Any) -> None:
    """Write bands (N, rows, columns) with their names and, if given, a colour for each number, and tags."""
    tags = profile.pop("tags")
    count, height, width = bands.shape
    profile |= {"driver": "COG", "count": count, "height": height, "width": width, "dtype": bands.dtype}
    profile |= {"compress": "deflate", "predictor": "yes", "bigtiff": "if_safer"}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(bands)
        raster.descriptions = names
        raster.update_tags(**tags)
        if colours:
            raster.write_colormap(1, colours)


def _write_legend(raster: Path, names: Mapping[int, str], colours: Mapping[int, tuple[int, ...]]) -> None:
    """Write the meaning of a class raster's numbers beside the raster, where GDAL looks for it.

    QGIS takes its legend from this attribute table since version 3.30, and from the .qml before.
    """
    dataset = ET.Element("PAMDataset")
    band = ET.SubElement(dataset, "PAMRasterBand", band="1")
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # GDAL's codes for type and usage; type 0 is integer and type 2 is text.
    columns = [("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8)]
    for index, (name, kind, usage) in enumerate(columns):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, tag).text = str(value)
    for index, (number, name) in enumerate(names.items()):
        row = ET.SubElement(table, "Row", index=str(index))
        for value in (number, name, *colours[number]):
            ET.SubElement(row, "F").text = str(value)
    ET.indent(dataset)
    ET.ElementTree(dataset).write(raster.with_name(f"{raster.name}.aux.xml"), encoding="utf-8")


def _write_style(raster: Path, names: Mapping[int, str], colours: Mapping[int, tuple[int, ...]]) -> None:
    """Write the classes and their colours as a style that any QGIS loads with the raster of this name."""
    style = ET.Element("qgis", version="3.0", styleCategories="Symbology")
    renderer = ET.SubElement(ET.SubElement(style, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1")
    palette = ET.SubElement(renderer, "colorPalette")
    for number, name in names.items():
        colour = "#{:02x}{:02x}{:02x}".format(*colours[number])
        ET.SubElement(palette, "paletteEntry", value=str(number), label=name, color=colour, alpha="255")
    _save_style(style, raster)


def _save_style(style: ET.Element, raster: Path) -> None:
    ET.indent(style)
    doctype = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    raster.with_suffix(".qml").write_text(f"{doctype}{ET.tostring(style, encoding='unicode')}\n", encoding="utf-8")


def _write_confidence_style(raster: Path) -> None:
    """Write a style in which the most certain cells are the darkest, from 0 to 1, whatever a map's own range is."""
    style = ET.Element("qgis", version="3.0", styleCategories="Symbology")
    limits = {"classificationMin": "0", "classificationMax": "1"}
    renderer = ET.SubElement(
        ET.SubElement(style, "pipe"), "rasterrenderer", type="singlebandpseudocolor", band="1", opacity="1", **limits
    )
    shader = ET.SubElement(
        ET.SubElement(renderer, "rastershader"), "colorrampshader", colorRampType="INTERPOLATED", minimumValue="0",
        maximumValue="1", classificationMode="1",
    )  # fmt: skip
    for value, colour in CONFIDENCE_COLOURS.items():
        ET.SubElement(shader, "item", value=f"{value:g}", label=f"{100 * value:g}%", color=colour, alpha="255")
    _save_style(style, raster)


def write(
    folder: Path,
    land_cover: Map,
    crs: str,
    classes: Sequence[str],
    colours: Mapping[str, str],
    uncertain: np.ndarray | None,
    probabilities: Sequence[str] = ("probabilities.tif",),
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write classes.tif, confidence.tif and, if the map has them, unlike.tif and probabilities.

    Args:
        colours: of each class, as '#rrggbb'.
        uncertain: cells to write without a class, bool (rows, columns).
        probabilities: the files to write them to, a band for each class.
        tags: of all files, as from `provenance`.
    """
    numbers = codes(classes)
    lookup = np.array([*numbers, NODATA_CODE], np.min_scalar_type(max(numbers)))  # NOTHING, -1, selects the last
    labels = land_cover.labels if uncertain is None else np.where(uncertain, NOTHING, land_cover.labels)
    rgb = {number: tuple(bytes.fromhex(colours[name][1:])) for number, name in zip(numbers, classes, strict=True)}
    place = {"crs": crs, "transform": land_cover.transform, "tags": tags or {}}
    path = folder / "classes.tif"
    _write(path, lookup[labels][None], ["land cover"], rgb, **place, nodata=NODATA_CODE, overview_resampling="mode")
    names = dict(zip(numbers, map(readable, classes), strict=True))
    _write_legend(path, names, rgb)
    _write_style(path, names, rgb)
    options = place | {"nodata": np.nan, "overview_resampling": "average"}
    _write(folder / "confidence.tif", land_cover.confidence[None], ["confidence"], **options)
    _write_confidence_style(folder / "confidence.tif")
    if land_cover.unlike is not None:
        _write(folder / "unlike.tif", land_cover.unlike[None], ["distance from the train patches"], **options)
    if land_cover.probabilities is not None:
        for name in probabilities:
            _write(folder / name, land_cover.probabilities, classes, **options)

"""A map as files: cloud-optimized GeoTIFFs with a legend, and a summary."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from landcover.constants import CLASSES, WORLDCOVER_CODES, readable
from landcover.mapping.maps import NOTHING, Map
from landcover.mapping.models import Model
from landcover.mapping.scenes import Scene

NODATA_CODE = 0  # which no class has


def codes(classes: Sequence[str]) -> list[int]:
    """The number of each class in a raster: WorldCover's code, or from 1 if some classes are not WorldCover's."""
    known = dict(zip(CLASSES, WORLDCOVER_CODES, strict=True))
    return [known[name] for name in classes] if set(classes) <= set(known) else list(range(1, len(classes) + 1))


def _write(
    path: Path,
    bands: np.ndarray,
    found: Map,
    crs: str,
    names: Sequence[str],
    *,
    nodata: float,
    resampling: str,
    colours: Mapping[int, tuple[int, ...]] | None = None,
) -> None:
    """Write bands (N, rows, columns) with their names and, if given, a colour for each number."""
    count, height, width = bands.shape
    profile = {"driver": "COG", "count": count, "height": height, "width": width, "dtype": bands.dtype}
    profile |= {"crs": crs, "transform": found.transform, "nodata": nodata}
    profile |= {"compress": "deflate", "predictor": "yes", "overview_resampling": resampling, "bigtiff": "if_safer"}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(bands)
        raster.descriptions = names
        if colours:
            raster.write_colormap(1, colours)


def _write_legend(raster: Path, names: Mapping[int, str], colours: Mapping[int, tuple[int, ...]]) -> None:
    """Write the meaning of a class raster's numbers beside the raster, where GDAL looks for it.

    QGIS takes its legend from the attribute table; before version 3.30, from the names and the raster's colours.
    """
    dataset = ET.Element("PAMDataset")
    band = ET.SubElement(dataset, "PAMRasterBand", band="1")
    categories = ET.SubElement(band, "CategoryNames")
    for number in range(max(names) + 1):
        ET.SubElement(categories, "Category").text = names.get(number, "")
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


def write(
    folder: Path,
    found: Map,
    scene: Scene,
    classes: Sequence[str],
    colours: Mapping[str, str],
    uncertain: np.ndarray | None,
) -> None:
    """Write classes.tif, confidence.tif and, if the map has them, probabilities.tif.

    Args:
        colours: of each class, as '#rrggbb'.
        uncertain: cells to write without a class, bool (rows, columns).
    """
    numbers = codes(classes)
    lookup = np.array([*numbers, NODATA_CODE], np.min_scalar_type(max(numbers)))  # NOTHING, -1, selects the last
    shown = lookup[found.labels if uncertain is None else np.where(uncertain, NOTHING, found.labels)]
    rgb = {number: tuple(bytes.fromhex(colours[name][1:])) for number, name in zip(numbers, classes, strict=True)}
    path = folder / "classes.tif"
    _write(path, shown[None], found, scene.crs, ["land cover"], nodata=NODATA_CODE, resampling="mode", colours=rgb)
    _write_legend(path, dict(zip(numbers, map(readable, classes), strict=True)), rgb)
    options = {"nodata": np.nan, "resampling": "average"}
    _write(folder / "confidence.tif", found.confidence[None], found, scene.crs, ["confidence"], **options)
    if found.probabilities is not None:
        _write(folder / "probabilities.tif", found.probabilities, found, scene.crs, classes, **options)


def summary(found: Map, scene: Scene, model: Model, threshold: float) -> dict[str, Any]:
    """A map in figures: shares and areas of the classes, and how far it can be trusted.

    Args:
        threshold: the confidence below which a cell is uncertain.
    """
    cells = found.labels.size
    valid = found.labels != NOTHING
    known = max(int(valid.sum()), 1)
    counts = np.bincount(found.labels[valid], minlength=len(model.classes))
    square_km = abs(found.transform.determinant) / 1e6
    windows = found.windows
    return {
        "model": model.facts(),
        "scene": {
            "name": scene.name, "crs": scene.crs, "transform": list(scene.transform), "width": scene.width,
            "height": scene.height, "bands": scene.bands, **scene.facts,
        },
        "map": {
            "rows": windows.rows, "columns": windows.columns, "transform": list(found.transform)[:6],
            "window": windows.size, "step": windows.step,
            "covers": cells * windows.step**2 / (scene.width * scene.height),
        },
        "classes": [
            {"class": name, "code": code, "share": int(count) / known, "km2": int(count) * square_km}
            for name, code, count in zip(model.classes, codes(model.classes), counts, strict=True)
        ],
        "nodata_share": 1 - int(valid.sum()) / cells,
        "mean_confidence": float(found.confidence[valid].mean(dtype=np.float64)) if valid.any() else None,
        "threshold": threshold,
        "uncertain_share": int((found.confidence[valid] < threshold).sum()) / known,
        "unlike_train": unlike_train(found),
    }  # fmt: skip


def unlike_train(found: Map) -> dict[str, Any] | None:
    """Shares of the cells with data whose windows are darker or brighter than all patches of the training.

    None if the model file has no range.
    """
    if not found.unlike:
        return None
    known = max(int((found.labels != NOTHING).sum()), 1)
    any_band = np.any([sides != 0 for sides in found.unlike.values()], axis=0)
    bands = {
        band: {"darker": int((sides < 0).sum()) / known, "brighter": int((sides > 0).sum()) / known}
        for band, sides in found.unlike.items()
    }
    return {"share": int(any_band.sum()) / known, "bands": bands}

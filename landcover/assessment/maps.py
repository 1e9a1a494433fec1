"""A map that `predict` wrote, as what is assessed: the class of each cell, and where the cells lie."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio import Affine

from landcover.assessment.estimators import UNKNOWN
from landcover.errors import InputError
from landcover.mapping.pixels import open_raster

CLASSES, SUMMARY = "classes.tif", "summary.json"


@dataclass(frozen=True)
class ClassMap:
    """The classes of a map's cells."""

    name: str
    sha256: str  # of classes.tif
    labels: np.ndarray  # int16 (rows, columns): positions in `classes`; UNKNOWN where there is no data
    classes: list[str]
    codes: list[int]  # of the classes in classes.tif
    colours: dict[str, str]  # of the classes in its legend, as '#rrggbb'
    crs: str
    transform: Affine  # of the cells
    step: int  # pixels of 10 m along a cell's side
    window: int  # pixels along the side of the window that a cell shows the class of
    scene: dict[str, Any]  # what summary.json says of it
    covered: float  # share of the scene in cells with data

    def cell_km2(self) -> float:
        return abs(self.transform.determinant) / 1e6

    def at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The classes at points (N,), UNKNOWN outside and on nodata, and whether each is inside.

        Args:
            x, y: in the map's coordinate system.
        """
        columns, rows = (np.floor(places).astype(np.int64) for places in ~self.transform @ (x, y))
        height, width = self.labels.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found = np.full(len(rows), UNKNOWN)
        found[inside] = self.labels[rows[inside], columns[inside]]
        return found, inside


def read_map(folder: Path) -> ClassMap:
    """Read a folder of `predict`.

    Raises:
        InputError: it is not one.
    """
    path, about = folder / CLASSES, folder / SUMMARY
    if not path.is_file() or not about.is_file():
        raise InputError(f"{folder}: has no {CLASSES} and {SUMMARY}; give a folder that `landcover predict` wrote")
    try:
        summary = json.loads(about.read_text(encoding="utf-8"))
        classes = [entry["class"] for entry in summary["classes"]]
        codes = [entry["code"] for entry in summary["classes"]]
        cells, scene = summary["map"], summary["scene"]
        step, window, covers = cells["step"], cells["window"], cells["covers"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{about}: is damaged ({error}); map the scene again") from None
    with open_raster(str(path)) as raster:
        numbers, transform, legend = raster.read(1), raster.transform, raster.colormap(1)
    colours = {name: "#{:02x}{:02x}{:02x}".format(*legend[code]) for name, code in zip(classes, codes, strict=True)}
    lookup = np.full(int(max(numbers.max(), *codes)) + 1, UNKNOWN, np.int16)
    lookup[codes] = np.arange(len(codes))
    labels = lookup[numbers]
    return ClassMap(
        folder.resolve().name, hashlib.sha256(path.read_bytes()).hexdigest(), labels, classes, codes, colours,
        scene["crs"], transform, step, window, scene, covers * float((labels != UNKNOWN).mean()),
    )  # fmt: skip


def transformed(crs: str, other: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (N,) in another coordinate system."""
    if crs == other:
        return x, y
    return tuple(np.array(places) for places in rasterio.warp.transform(crs, other, x, y)[:2])

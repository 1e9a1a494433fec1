"""The points of a sample: the design, which the interpreter does not see, and the layer that is labelled.

The layer is a GeoPackage with a style for QGIS, which offers the classes and frames the unit. Its points come in random
order, and nothing in it says what the map shows.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyogrio.errors import DataSourceError

from landcover import files
from landcover.assessment.design import allocate, draw
from landcover.assessment.maps import ClassMap
from landcover.constants import METRES_PER_PIXEL, readable
from landcover.data.tables import check_columns, read_cells
from landcover.errors import InputError

DESIGN, POINTS = "design.json", "points.gpkg"
PIXEL, WINDOW = "pixel", "window"  # units
LABELS = ("class", "second_class", "confidence", "date", "interpreter")  # columns that the interpreter fills in
CONFIDENCES = ("high", "medium", "low")
LAYER = "points"


@dataclass(frozen=True)
class Design:
    """How a sample was drawn. It is all that the estimates need besides the labels and the map."""

    unit: str  # PIXEL or WINDOW
    metres: int  # along the unit's side
    map: str
    sha256: str  # of the map's classes.tif
    crs: str
    square_km: float  # of the population
    covered: float  # share of the scene that the population has
    seed: int
    classes: list[str]
    strata: list[str]  # the class of each on the map
    sizes: np.ndarray  # int64 (H,): units of each
    points: pd.DataFrame  # by id, from 1: `stratum`, its position in `strata`; `x`, `y`: the unit's centre

    @classmethod
    def of(cls, drawn_from: ClassMap, points: int, seed: int, unit: str, least: int | None = None) -> Self:
        """Draw points at random within the classes of a map.

        Raises:
            InputError: the map has too few units.
        """
        per_cell, side = (drawn_from.step**2, 1) if unit == PIXEL else (1, drawn_from.window)
        strata, sizes = units_of(drawn_from, unit)
        if not len(strata):
            raise InputError(f"{drawn_from.name}: has no cell with a class; map another scene")
        if points > sizes.sum():
            raise InputError(f"{drawn_from.name}: has only {sizes.sum()} {unit}s; choose fewer --points")
        if points < (fewest := int(np.minimum(least or 2, sizes).sum())):
            raise InputError(f"--points {points}: {len(strata)} mapped classes need at least {fewest}")
        counts = allocate(sizes, points, least)
        drawn = draw(drawn_from.labels, strata, counts, per_cell, np.random.default_rng(seed))
        across = drawn_from.step if unit == PIXEL else 1
        down, right = np.divmod(drawn.units, across)
        x, y = drawn_from.transform @ (drawn.columns + (right + 0.5) / across, drawn.rows + (down + 0.5) / across)
        table = pd.DataFrame({"stratum": drawn.strata, "x": x, "y": y}, index=pd.RangeIndex(1, points + 1, name="id"))
        square_km = float((drawn_from.labels >= 0).sum() * drawn_from.cell_km2())
        return cls(
            unit, side * METRES_PER_PIXEL, drawn_from.name, drawn_from.sha256, drawn_from.crs, square_km,
            drawn_from.covered, seed, drawn_from.classes, [drawn_from.classes[k] for k in strata], sizes, table,
        )  # fmt: skip

    def save(self, path: Path) -> None:
        strata = [
            {"class": name, "units": int(size), "points": int((self.points["stratum"] == number).sum())}
            for number, (name, size) in enumerate(zip(self.strata, self.sizes, strict=True))
        ]
        content = {
            "unit": self.unit, "metres": self.metres, "map": self.map, "sha256": self.sha256, "crs": self.crs,
            "square_km": self.square_km, "covered": self.covered, "seed": self.seed, "classes": self.classes,
            "strata": strata, "points": self.points.reset_index().to_dict("records"),
        }  # fmt: skip
        files.write_json(path, content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: it is not there, or it is something else.
        """
        if not path.is_file():
            raise InputError(
                f"{path}: not found; points must lie beside the {DESIGN} that `assess sample` wrote with them, which "
                "says how likely each was to be drawn"
            )
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            strata = table.pop("strata")
            names, sizes = [row["class"] for row in strata], np.array([row["units"] for row in strata])
            points = pd.DataFrame(table.pop("points")).set_index("id")
            return cls(**table, strata=names, sizes=sizes, points=points[["stratum", "x", "y"]])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: is damaged ({error}); restore it, or draw a new sample") from None


def units_of(drawn_from: ClassMap, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """The mapped classes (H,), which are the strata, and the units of each."""
    strata, cells = np.unique(drawn_from.labels[drawn_from.labels >= 0], return_counts=True)
    return strata, cells * (drawn_from.step**2 if unit == PIXEL else 1)


# -- the layer


def write_layer(design: Design, path: Path) -> None:
    """Write the points to label, with empty columns, and the style that QGIS loads with them."""
    empty = dict.fromkeys(LABELS, pd.array([None] * len(design.points), dtype="string"))
    table = pd.DataFrame({"id": design.points.index} | empty)
    geometry = shapely.points(design.points["x"].to_numpy(), design.points["y"].to_numpy())
    layer = gpd.GeoDataFrame(table, geometry=geometry, crs=design.crs)
    pyogrio.write_dataframe(layer, path, layer=LAYER, driver="GPKG")
    _write_style(path.with_suffix(".qml"), design)


def _options(parent: ET.Element, values: Mapping[str, str]) -> ET.Element:
    """Values as QGIS writes them: a map of options."""
    found = ET.SubElement(parent, "Option", type="Map")
    for name, value in values.items():
        ET.SubElement(found, "Option", type="QString", name=name, value=value)
    return found


def _marker(symbol: ET.Element, size: float, unit: str, shape: str) -> None:
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleMarker", "enabled": "1", "pass": "0", "locked": "0"})
    _options(
        layer,
        {
            "name": shape, "size": f"{size:g}", "size_unit": unit, "color": "0,0,0,0", "outline_color": "255,0,0,255",
            "outline_width": "0.4", "outline_width_unit": "MM",
        },
    )  # fmt: skip


def _write_style(path: Path, design: Design) -> None:
    """Frame each unit at its true size, inside a ring that is seen at any scale, and offer classes and confidences."""
    style = ET.Element("qgis", version="3.0", styleCategories="Symbology|Fields|Forms")
    symbols = ET.SubElement(ET.SubElement(style, "renderer-v2", type="singleSymbol"), "symbols")
    symbol = ET.SubElement(symbols, "symbol", type="marker", name="0", alpha="1")
    _marker(symbol, design.metres, "MapUnit", "square")
    _marker(symbol, 6, "MM", "circle")
    fields = ET.SubElement(style, "fieldConfiguration")
    offered = {readable(name): name for name in design.classes}
    choices = {
        "class": offered, "second_class": {"": ""} | offered, "confidence": {word: word for word in CONFIDENCES},
    }  # fmt: skip
    for name in ("id", *LABELS):
        widget = "ValueMap" if name in choices else "DateTime" if name == "date" else "TextEdit"
        field = ET.SubElement(fields, "field", name=name)
        config = ET.SubElement(ET.SubElement(field, "editWidget", type=widget), "config")
        if name in choices:
            listed = ET.SubElement(ET.SubElement(config, "Option", type="Map"), "Option", type="List", name="map")
            for label, value in choices[name].items():
                _options(listed, {label: value})
        elif name == "date":
            form = {"field_format": "yyyy-MM-dd", "display_format": "yyyy-MM-dd"}
            options = _options(config, form)
            for switch in ("allow_null", "calendar_popup"):
                ET.SubElement(options, "Option", type="bool", name=switch, value="true")
    editable = ET.SubElement(style, "editable")
    ET.SubElement(editable, "field", name="id", editable="0")
    ET.indent(style)
    doctype = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    path.write_text(f"{doctype}{ET.tostring(style, encoding='unicode')}\n", encoding="utf-8")


# -- its labels


@dataclass(frozen=True)
class Labels:
    """What an interpreter said of the points of a design, in the design's order."""

    name: str  # of the file
    interpreters: list[str]
    first: np.ndarray  # int64 (N,): positions in `classes`, UNKNOWN without a label
    second: np.ndarray  # int64 (N,): likewise, of the second class
    confidence: list[str]  # (N,)
    told: list[str]  # what was left out, and why


def read_labels(path: Path, design: Design, codes: Sequence[int]) -> Labels:
    """Read a layer, or a CSV of the sheet of pictures.

    Args:
        codes: numbers that stand for the design's classes.

    Raises:
        InputError: it cannot be read, or has no columns `id` and `class`.
    """
    if not path.is_file():
        raise InputError(f"{path}: not found; give the points of `assess sample`, or the CSV that the sheet saves")
    if path.suffix.lower() == ".csv":
        table = read_cells(path)
    else:
        try:
            # A GeoPackage of QGIS also has tables, such as its styles.
            layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
            layer = LAYER if LAYER in layers else (layers or [None])[0]
            table = pyogrio.read_dataframe(path, layer=layer, read_geometry=False)
        except DataSourceError as error:
            raise InputError(
                f"{path}: cannot be read ({error}); give a GeoPackage or a CSV with id and class"
            ) from None
    check_columns(table, ("id", "class"), path, "give the layer of `assess sample`, whose columns have these names")
    table = table.astype("string").fillna("").apply(lambda column: column.str.strip().str.removesuffix(".0"))
    told = []
    ids = pd.to_numeric(table["id"], errors="coerce")
    known = ids.isin(design.points.index)
    repeated = known & ids.duplicated()
    told += _told(table.loc[~known, "id"], "not drawn by this design")
    told += _told(table.loc[repeated, "id"], "there more than once, of which the first counts")
    table = table[known & ~repeated].set_index(ids[known & ~repeated].astype(int)).reindex(design.points.index)
    table = table.fillna("")

    meaning = {name.casefold(): k for k, name in enumerate(design.classes)}
    meaning |= {readable(name).casefold(): k for k, name in enumerate(design.classes)}
    meaning |= {str(code): k for k, code in enumerate(codes)}

    def labels(column: str) -> np.ndarray:
        texts = table[column] if column in table else pd.Series("", table.index, dtype="string")
        found = texts.str.casefold().map(meaning)
        for text, points in texts[(texts != "") & found.isna()].groupby(texts):
            ids = pd.Series(points.index.astype(str))
            told.extend(_told(ids, f"of the unknown {column.replace('_', ' ')} {text!r}, as if without one"))
        return found.fillna(-1).to_numpy(np.int64)

    first, second = labels("class"), labels("second_class")
    people = sorted(set(table.get("interpreter", pd.Series(dtype="string"))) - {""})
    confidence = table.get("confidence", pd.Series("", table.index)).tolist()
    return Labels(path.name, people, first, second, confidence, told)


def _told(ids: pd.Series, why: str) -> list[str]:
    """A line on points, if there are any."""
    if ids.empty:
        return []
    named = ", ".join(ids.head(5)) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    return [f"{len(ids)} {'point is' if len(ids) == 1 else 'points are'} {why} (id {re.sub(' +', ' ', named)})"]

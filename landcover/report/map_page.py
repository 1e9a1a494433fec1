"""A map as one page for a browser: the scene in true colour and its classes, with a slider between them."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rasterio.warp
from PIL import Image
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.transform import array_bounds

from landcover.constants import NODATA, readable
from landcover.report import markdown
from landcover.report.scene_map import percent
from landcover.report.sheets import describe_picture, to_pictures

RADIUS = 6_378_137.0  # metres, of Web Mercator's sphere
HALF = math.pi * RADIUS  # of the width of Web Mercator
MARGIN = 0.1  # of the base map on each side, as a share of the longer side of the pictures
TILES, MOST_ZOOM = 4, 18  # of the base map along the longer side, at most; its closest zoom


def _data_url(rgba: np.ndarray, **options: Any) -> str:
    """A picture uint8 (h, w, 4) as text that a page can hold."""
    with io.BytesIO() as file:
        Image.fromarray(rgba).save(file, "WEBP", **options)
        return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def tiles(west: float, south: float, east: float, north: float) -> list[dict[str, float]]:
    """The base map's tiles in a view: zoom, column x and row y, and where they lie, in percent of its width and height.

    Args:
        west, south, east, north: of the view, in metres of Web Mercator; east and west may lie beyond 180 degrees.
    """
    width, height = east - west, north - south
    zoom = max(0, min(MOST_ZOOM, math.floor(math.log2(TILES * 2 * HALF / max(width, height)))))
    side = 2 * HALF / 2**zoom
    columns = range(math.floor((west + HALF) / side), math.ceil((east + HALF) / side))
    rows = range(max(0, math.floor((HALF - north) / side)), min(2**zoom, math.ceil((HALF - south) / side)))
    return [
        {
            "zoom": zoom, "x": column % 2**zoom, "y": row,
            "left": 100 * (column * side - HALF - west) / width, "top": 100 * (north - HALF + row * side) / height,
            "width": 100 * side / width, "height": 100 * side / height,
        }
        for row in rows
        for column in columns
    ]  # fmt: skip


def map_page(
    name: str,
    date: str | None,
    thumbnail: np.ndarray,
    bands: Sequence[str],
    transform: Affine,
    labels: np.ndarray,
    cells: Affine,
    crs: str,
    colours: Mapping[str, str],
    areas: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> str:
    """Fill in templates/map.html, which needs no other file, and no network but for its base map.

    Args:
        name, date: of the scene.
        thumbnail: reflectances (C, h, w) of the bands.
        transform: of the thumbnail's pixels.
        labels: int (rows, columns), -1 where there is none.
        cells: the transform of the labels.
        colours: of each class, as '#rrggbb', in the order of the labels.
        areas: `class`, `share` and `km2` of each class.
        notes: sentences to print below the legend.
    """
    height, width = thumbnail.shape[1:]
    bounds = array_bounds(height, width, transform)
    west, east, south, north = bounds[0], bounds[2], bounds[1], bounds[3]
    (lon,), _ = rasterio.warp.transform(crs, "EPSG:4326", [(west + east) / 2], [(south + north) / 2])[:2]
    # Web Mercator with the scene in its middle, so that no scene is torn at 180 degrees.
    mercator = CRS.from_string(f"+proj=merc +a={RADIUS} +b={RADIUS} +lon_0={lon} +units=m +nadgrids=@null +no_defs")
    grid, width, height = rasterio.warp.calculate_default_transform(crs, mercator, width, height, *bounds)

    def warped(pixels: np.ndarray, place: Affine, nodata: int) -> np.ndarray:
        there = np.empty((*pixels.shape[:-2], height, width), pixels.dtype)
        rasterio.warp.reproject(
            pixels, there, src_transform=place, src_crs=crs, src_nodata=nodata, dst_transform=grid, dst_crs=mercator,
            dst_nodata=nodata,
        )  # fmt: skip
        return there

    picture = np.rint(255 * to_pictures(thumbnail[None], bands)[0]).astype(np.uint8)
    has_data = (thumbnail != NODATA).any(0)
    paint = np.array([[*bytes.fromhex(colour[1:]), 255] for colour in colours.values()] + [[0] * 4], np.uint8)
    layers = np.dstack([picture, 255 * has_data.astype(np.uint8)]).transpose(2, 0, 1)
    left, bottom, right, top = array_bounds(height, width, grid)
    margin = MARGIN * max(right - left, top - bottom)
    left, bottom, right, top = left - margin, bottom - margin, right + margin, top + margin
    shift = math.radians(lon) * RADIUS
    present = sorted((area for area in areas if area["share"]), key=lambda area: -area["share"])
    classes = [
        {
            "name": readable(area["class"]),
            "colour": colours[area["class"]],
            "share": percent(area["share"]),
            "km2": f"{area['km2']:#.3g}" if area["km2"] < 99.95 else f"{area['km2']:,.0f}",
        }
        for area in present
    ]
    return markdown.render(
        "map.html",
        name=name,
        date=date,
        shown=describe_picture(bands),
        aspect=(right - left) / (top - bottom),
        inset=(100 * margin / (top - bottom), 100 * margin / (right - left)),
        picture=_data_url(warped(layers, transform, 0).transpose(1, 2, 0), quality=80),
        land_cover=_data_url(paint[warped(labels, cells, -1)], lossless=True),
        tiles=tiles(left + shift, bottom, right + shift, top),
        classes=classes,
        notes=notes,
    )

"""The classes of a map as polygons, for programs that count fields and forests."""

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import rasterio.features
import shapely

from landcover.mapping.maps import NOTHING, Map
from landcover.mapping.rasters import codes

POLYGONS, LAYER = "polygons.gpkg", "land_cover"
CONNECTIVITY = 4  # cells that touch at a corner are of two polygons


def to_polygons(land_cover: Map, crs: str, classes: Sequence[str], least: float = 0) -> gpd.GeoDataFrame:
    """A polygon for each group of neighbouring cells of a class.

    Args:
        least: hectares; smaller groups get the class of their largest neighbour.

    Returns:
        Columns: `class`, `code` as in classes.tif, `hectares`, `geometry`.
    """
    labels, has_data = land_cover.labels, land_cover.labels != NOTHING
    cell = abs(land_cover.transform.determinant) / 10_000  # hectares
    cells = int(np.ceil(least / cell))
    if cells > 1:
        sieved = rasterio.features.sieve(labels, cells, mask=has_data, connectivity=CONNECTIVITY)
        labels = np.where(has_data & (sieved != NOTHING), sieved, labels)
    found = rasterio.features.shapes(labels, has_data, connectivity=CONNECTIVITY, transform=land_cover.transform)
    shapes, numbers = zip(*((shapely.geometry.shape(one), int(number)) for one, number in found), strict=True)
    columns = {
        "class": [classes[k] for k in numbers], "code": [codes(classes)[k] for k in numbers],
        "hectares": shapely.area(shapes) / 10_000,
    }  # fmt: skip
    return gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs)


def write_polygons(folder: Path, land_cover: Map, crs: str, classes: Sequence[str], least: float = 0) -> None:
    """Write polygons.gpkg, unless no cell has data; arguments as in `to_polygons`."""
    if (land_cover.labels != NOTHING).any():
        layer = to_polygons(land_cover, crs, classes, least)
        pyogrio.write_dataframe(layer, folder / POLYGONS, layer=LAYER, driver="GPKG")

"""A map as a STAC item, so that catalogues and other programs know what its files mean.

Source: the STAC specification, version 1.0, and its extensions classification 2.0 and projection 2.0.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import rasterio.warp
from rasterio import Affine
from rasterio.crs import CRS

from landcover.constants import readable
from landcover.mapping.grids import DEGREES
from landcover.mapping.rasters import NODATA_CODE, codes

ITEM = "item.json"
EXTENSIONS = ("classification/v2.0.0", "projection/v2.0.0")
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
TITLES = {
    "classes.tif": "the class of each cell", "confidence.tif": "the probability of that class",
    "unlike.tif": "how unlike the train patches its window is",
    "probabilities.tif": "the probability of each class", "shares.tif": "the share of each class",
}  # fmt: skip


def to_item(
    name: str,
    date: str,
    crs: str,
    transform: Affine,
    shape: tuple[int, int],
    classes: Sequence[str],
    colours: Mapping[str, str],
    files: Sequence[str],
    last_date: str | None = None,
) -> dict[str, Any]:
    """The item of a map whose files lie beside it.

    Args:
        name: of the scene.
        date: of the scene, YYYY-MM-DD.
        transform, shape: of the cells.
        colours: of each class, as '#rrggbb'.
        files: the names of the map's files.
        last_date: of a mosaic's scenes, of which `date` is the first.
    """
    rows, columns = shape
    corners = [transform @ corner for corner in ((0, rows), (columns, rows), (columns, 0), (0, 0), (0, rows))]
    lon, lat = rasterio.warp.transform(crs, DEGREES, *zip(*corners, strict=True))[:2]
    meaning = [{"value": NODATA_CODE, "name": "nodata", "description": "no data", "nodata": True}] + [
        {
            "value": code,
            "name": re.sub(r"[^0-9A-Za-z_-]", "-", one),
            "description": readable(one),
            "color_hint": colours[one][1:].upper(),
        }
        for code, one in zip(codes(classes), classes, strict=True)
    ]
    assets: dict[str, dict[str, Any]] = {
        file.partition(".")[0]: {"href": f"./{file}", "type": COG, "title": title, "roles": ["data"]}
        for file, title in TITLES.items()
        if file in files
    }
    assets["classes"]["classification:classes"] = meaning
    assets["overview"] = {"href": "./map.png", "type": "image/png", "roles": ["overview"]}
    assets["metadata"] = {"href": "./summary.json", "type": "application/json", "roles": ["metadata"]}
    epsg = CRS.from_user_input(crs).to_epsg()
    when: dict[str, str | None] = {"datetime": f"{date}T00:00:00Z"}
    if last_date not in (None, date):
        when = {"datetime": None, "start_datetime": f"{date}T00:00:00Z", "end_datetime": f"{last_date}T23:59:59Z"}
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name,
        "stac_extensions": [f"https://stac-extensions.github.io/{one}/schema.json" for one in EXTENSIONS],
        "geometry": {"type": "Polygon", "coordinates": [[list(place) for place in zip(lon, lat, strict=True)]]},
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "properties": {
            **when, "title": f"land cover of {name}",
            "proj:code": f"EPSG:{epsg}" if epsg else None, **({} if epsg else {"proj:wkt2": crs}),
            "proj:shape": [rows, columns], "proj:transform": list(transform)[:6],
        },
        "links": [], "assets": assets,
    }  # fmt: skip

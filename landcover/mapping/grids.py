"""The grids of a scene's layers, and the north-up 10 m grid on which the scene is read."""

import math
from typing import NamedTuple

import numpy as np
import rasterio.errors
import rasterio.warp
from rasterio import Affine
from rasterio.crs import CRS

from landcover.constants import BANDS, METRES_PER_PIXEL
from landcover.data.raster import CORNER_TOLERANCE
from landcover.errors import InputError

FACTORS = {metres // METRES_PER_PIXEL for metres in BANDS.values()}  # sides of Sentinel-2's pixels, in pixels of 10 m
PIXEL_TOLERANCE = 0.1  # of the finest pixel, by which the corners of a scene's layers may differ
GROUND_TOLERANCE = 0.05  # by which a metre in a coordinate system may differ from a metre on the ground
AREA_TOLERANCE = 0.02  # likewise for areas; a sphere is not closer to the Earth
MEASURED = 1000  # metres over which this is measured
EARTH_RADIUS = 6_371_000  # metres
DEGREES = "EPSG:4326"


class Grid(NamedTuple):
    """The pixel grid of a layer or of a scene."""

    crs: CRS
    transform: Affine
    width: int
    height: int

    def is_upright(self) -> bool:
        """Whether its rows run from west to east, whichever of them is the northernmost."""
        a, b, _, d, _, _ = self.transform[:6]
        return b == d == 0 and a > 0

    def factor(self) -> int | None:
        """The side of its pixels in pixels of 10 m; None if they are not those of Sentinel-2's grids."""
        factor = round(self.transform.a / METRES_PER_PIXEL)
        metres = factor * METRES_PER_PIXEL
        drift = abs(self.transform.a - metres) * self.width, abs(abs(self.transform.e) - metres) * self.height
        north_up = self.is_upright() and self.transform.e < 0
        return factor if factor in FACTORS and north_up and max(drift) <= CORNER_TOLERANCE else None

    def lies_on(self, finest: "Grid") -> bool:
        """Whether it is the finest layer's grid, or another of Sentinel-2's grids with the same corner."""
        factors = self.factor(), finest.factor()
        ratio = 1 if None in factors else factors[0] / factors[1]
        sizes = tuple(math.ceil(side / ratio) for side in finest[2:4])
        if self.crs != finest.crs or sizes != self[2:4]:
            return False
        corners = [(0, 0), (self.width, 0), (0, self.height)]
        there = [~finest.transform @ (self.transform @ corner) for corner in corners]
        return np.allclose(there, np.multiply(corners, ratio), rtol=0, atol=PIXEL_TOLERANCE)

    def pixel_area(self) -> float:
        """In the units of its coordinate system."""
        return abs(self.transform.determinant)

    def pixel_side(self, crs: CRS) -> float:
        """The side of the pixel at the centre, in the units of a coordinate system."""
        if crs == self.crs:
            return math.sqrt(self.pixel_area())
        x, y = self.width / 2, self.height / 2
        here, right, below = (
            transformed(self.crs, crs, *(self.transform @ corner)) for corner in ((x, y), (x + 1, y), (x, y + 1))
        )
        return math.sqrt(abs(np.linalg.det([right - here, below - here])))


def transformed(crs: CRS, other: CRS | str, x: float, y: float) -> np.ndarray:
    """A point in another coordinate system, float64 (2,).

    Raises:
        InputError: it is not a place on Earth.
    """
    point = np.array(rasterio.warp.transform_bounds(crs, other, x, y, x, y)[:2])  # GDAL may fail for a single point
    if not np.isfinite(point).all():
        raise InputError("its coordinates are not on Earth; correct its georeference with `rio edit-info`")
    return point


def _ground_metres(crs: CRS, x: float, y: float) -> tuple[float, float]:
    """The lengths on the ground of a unit eastwards and of one northwards, on a sphere.  Source: haversine formula."""
    places = ((x, y), (x + MEASURED, y), (x, y + MEASURED))
    here, *there = (np.radians(transformed(crs, DEGREES, *place)) for place in places)
    lengths = []
    for lon, lat in there:
        longitude, latitude = np.sin((lon - here[0]) / 2) ** 2, np.sin((lat - here[1]) / 2) ** 2
        angle = 2 * math.asin(math.sqrt(latitude + math.cos(here[1]) * math.cos(lat) * longitude))
        lengths.append(EARTH_RADIUS * angle / MEASURED)
    return tuple(lengths)


def metric(grid: Grid, wanted: str | None) -> CRS:
    """The coordinate system in which to read a scene: the requested one, or else its own.

    Args:
        wanted: EPSG:<code>, or `utm` for the UTM zone of the scene's centre.

    Raises:
        InputError: it is unknown, or a unit in it is not a metre on the ground.
    """
    centre = grid.transform @ (grid.width / 2, grid.height / 2)
    lon, lat = transformed(grid.crs, DEGREES, *centre)
    zone = CRS.from_epsg((32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1)
    crs = grid.crs
    if wanted is not None:
        try:
            with rasterio.Env():  # without it, PROJ prints its error, too
                crs = zone if wanted == "utm" else CRS.from_user_input(wanted)
        except rasterio.errors.CRSError:
            raise InputError(f"--crs {wanted} is unknown; give --crs {zone}, or another EPSG:<code>") from None
    if not crs.is_projected:
        raise InputError(f"{crs.to_string()[:40]} is not in metres; give --crs {zone} to reproject the scene to metres")
    lengths = _ground_metres(crs, *transformed(grid.crs, crs, *centre))
    area = math.prod(lengths)
    if max(abs(metres - 1) for metres in lengths) > GROUND_TOLERANCE or abs(area - 1) > AREA_TOLERANCE:
        raise InputError(
            f"a unit of {crs.to_string()[:40]} is {lengths[0]:.2f} m on the ground there; give --crs {zone} to "
            "reproject the scene to metres"
        )
    return crs


def around(finest: Grid, crs: CRS) -> Grid:
    """The north-up 10 m grid in a coordinate system that covers all of a layer.

    If the layer is upright in that system, its north-west corner is kept.
    """
    step = METRES_PER_PIXEL
    corners = [finest.transform @ (finest.width * i, finest.height * j) for i in (0, 1) for j in (0, 1)]
    left, bottom, right, top = *np.min(corners, axis=0), *np.max(corners, axis=0)
    if crs == finest.crs and finest.is_upright():
        width, height = round((right - left) / step), round((top - bottom) / step)
    else:
        if crs != finest.crs:
            left, bottom, right, top = rasterio.warp.transform_bounds(finest.crs, crs, left, bottom, right, top)
        left, top = math.floor(left / step) * step, math.ceil(top / step) * step  # as Sentinel-2's own grids
        width, height = math.ceil((right - left) / step), math.ceil((top - bottom) / step)
    return Grid(crs, Affine(step, 0, left, 0, -step, top), width, height)

"""The georeferences of a patch's tiles: its bands must be aligned."""

from typing import NamedTuple

from landcover.constants import BANDS

NOWHERE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # the transform that GDAL gives a tile without one
SIZE_TOLERANCE = 0.01  # of a pixel's side: some datasets have pixels of 9.98 m
CORNER_TOLERANCE = 1.0  # metres, a tenth of the finest pixel


class Centre(NamedTuple):
    """The centre of a tile on the ground."""

    crs: str
    x: float
    y: float

    def is_far_from(self, other: "Centre", metres: float) -> bool:
        """Whether two tiles in the same coordinate system, in metres, are that far apart."""
        return self.crs == other.crs and max(abs(self.x - other.x), abs(self.y - other.y)) > metres


class Grid(NamedTuple):
    """The georeference of one tile.

    `transform` is GDAL's in a different order: (a, b, c, d, e, f) with x = a * column + b * row + c and
    y = d * column + e * row + f.
    """

    crs: str = ""  # EPSG:<code>, or WKT; '' for none
    transform: tuple[float, ...] = NOWHERE

    def is_somewhere(self) -> bool:
        return self.transform != NOWHERE

    def is_north_up(self) -> bool:
        return not self.is_somewhere() or self.transform[4] < 0

    def corners(self, side: int) -> tuple[float, ...]:
        """x and y of the outer corners of the first and the last of side x side pixels."""
        a, _, c, _, e, f = self.transform
        return c, f, c + a * side, f + e * side

    def centre(self, side: int) -> Centre | None:
        """The centre of side x side pixels; None without a georeference."""
        left, first, right, last = self.corners(side)
        return Centre(self.crs, (left + right) / 2, (first + last) / 2) if self.is_somewhere() else None


def check(grids: dict[str, Grid], patch_metres: int) -> None:
    """Check that the tiles of a patch are aligned.

    If all tiles lack a georeference, they are accepted, because some archives have lost it.

    Args:
        grids: by band.
        patch_metres: side of the patch.

    Raises:
        ValueError: they are not aligned; says which and why.
    """
    for band, grid in grids.items():
        a, b, _, d, e, _ = grid.transform
        metres = BANDS[band]
        within = SIZE_TOLERANCE * metres
        # Written so that NaN fails.
        fits = b == d == 0 and abs(a - metres) <= within and abs(abs(e) - metres) <= within
        if grid.is_somewhere() and not fits:
            raise ValueError(
                f"{band} has pixels of {a:g} x {-e:g} in the units of its coordinate system"
                f"{' and is rotated' if b or d else ''}, not {metres} x {metres} m; reproject it to UTM with gdalwarp"
            )
    (first, reference), *others = grids.items()
    sides = {band: patch_metres // BANDS[band] for band in grids}
    for band, grid in others:
        if grid.crs != reference.crs:
            names = [grid.crs or "no coordinate system", reference.crs or "none"]
            raise ValueError(f"{band} is in {names[0][:60]}, but {first} in {names[1][:60]}; put them on one grid")
        if grid.is_somewhere() != reference.is_somewhere():
            lost, found = (first, band) if grid.is_somewhere() else (band, first)
            raise ValueError(f"{lost} has no georeference, but {found} does; copy it")
        if grid.is_somewhere():
            here, there = grid.corners(sides[band]), reference.corners(sides[first])
            if not all(abs(x - y) <= CORNER_TOLERANCE for x, y in zip(here, there, strict=True)):
                raise ValueError(f"{band} lies at {_text(here)}, but {first} at {_text(there)}; put them on one grid")


def _text(corners: tuple[float, ...]) -> str:
    left, first, right, last = corners
    return f"x {left:.1f} to {right:.1f}, y {first:.1f} to {last:.1f} (first to last row)"

"""Where the pixels of a patch's tiles lie: the bands of a patch must lie on each other."""

from typing import NamedTuple

from landcover.ground.benge import BANDS

NOWHERE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # the transform that GDAL gives a tile without one
SIZE_TOLERANCE = 0.01  # of a pixel's side: some data sets have pixels of 9.98 m
CORNER_TOLERANCE = 1.0  # metres, a tenth of the finest pixel


class Grid(NamedTuple):
    """Of one tile.

    `transform` is GDAL's, in another order: (a, b, c, d, e, f) with x = a * column + b * row + c and
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


def check(grids: dict[str, Grid], patch_metres: int) -> None:
    """See that the tiles of a patch lie on each other, pixel by pixel.

    Tiles that are nowhere, all alike, are taken at their word: some archives have lost their places.

    Args:
        grids: by band.
        patch_metres: a side of the patch.

    Raises:
        ValueError: they do not; says which and why.
    """
    for band, grid in grids.items():
        a, b, _, d, e, _ = grid.transform
        metres = BANDS[band]
        within = SIZE_TOLERANCE * metres
        # Written so that a number that is none fails.
        fits = b == d == 0 and abs(a - metres) <= within and abs(abs(e) - metres) <= within
        if grid.is_somewhere() and not fits:
            raise ValueError(
                f"{band} has pixels of {a:g} x {-e:g} in the units of its coordinate system"
                f"{' and is turned' if b or d else ''}, not {metres} x {metres} m; bring it to UTM with gdalwarp"
            )
    (first, reference), *others = grids.items()
    sides = {band: patch_metres // BANDS[band] for band in grids}
    for band, grid in others:
        if grid.crs != reference.crs:
            names = [grid.crs or "no coordinate system", reference.crs or "none"]
            raise ValueError(f"{band} is in {names[0][:60]}, {first} in {names[1][:60]}; bring them to one grid")
        if grid.is_somewhere() != reference.is_somewhere():
            lost, found = (first, band) if grid.is_somewhere() else (band, first)
            raise ValueError(f"{lost} does not say where it lies, {found} does; copy its georeference")
        if grid.is_somewhere():
            here, there = grid.corners(sides[band]), reference.corners(sides[first])
            if not all(abs(x - y) <= CORNER_TOLERANCE for x, y in zip(here, there, strict=True)):
                raise ValueError(f"{band} lies at {_text(here)}, {first} at {_text(there)}; bring them to one grid")


def _text(corners: tuple[float, ...]) -> str:
    left, first, right, last = corners
    return f"x {left:.1f} to {right:.1f}, y {first:.1f} to {last:.1f} (first to last row)"

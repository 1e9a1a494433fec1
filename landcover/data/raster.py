"""The pixels of a patch, read from GeoTIFFs with GDAL, checked, and brought to one grid with the north up."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from landcover.constants import BANDS, MAX_OFFSET, METRES_PER_PIXEL, NODATA, REFLECTANCE_SCALE
from landcover.modalities import QUANTITIES

NUMBERS = f"reflectance x {REFLECTANCE_SCALE:,}"
RESAMPLING_REACH = {"nearest": 0, "bilinear": 1, "cubic": 2}  # coarse pixels to each side that are mixed in
SIZE_TOLERANCE = 0.01  # of a pixel's side: some datasets have pixels of 9.98 m
CORNER_TOLERANCE = 1.0  # metres, a tenth of the finest pixel


# Of GDAL. Files beside a tile, such as statistics or masks, are no part of it. Its coordinate system is taken as it
# stands there, since looking it up would take a third of the time.
OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GTIFF_SRS_SOURCE": "GEOKEYS"}


class Channel(NamedTuple):
    """How a dataset stores an image channel: as one band of raster files."""

    name: str  # in BANDS: digital numbers of reflectance; else in QUANTITIES: values in its unit
    dtype: str  # that the pixels must have
    metres: int = METRES_PER_PIXEL  # side of a pixel
    band: int = 1  # its position in the file
    file_bands: int = 1  # how many bands the file must have


class Grid(NamedTuple):
    """The georeference of a tile."""

    crs: str  # WKT, '' for none
    transform: rasterio.Affine
    side: int  # in pixels

    @property
    def is_known(self) -> bool:
        return self.transform != rasterio.Affine.identity()  # which GDAL gives a tile without a georeference

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """x and y of the outer corners of the first and the last pixel, in the units of the coordinate system."""
        return *(self.transform @ (0, 0)), *(self.transform @ (self.side, self.side))

    @property
    def centre(self) -> tuple[float, float]:
        return self.transform @ (self.side / 2, self.side / 2)

    def is_far_from(self, other: "Grid", metres: float) -> bool:
        """Whether the centres, in the same coordinate system, are that far apart."""
        return _is_same(self.crs, other.crs) and math.dist(self.centre, other.centre) > metres

    def __str__(self) -> str:
        left, first, right, last = self.corners
        return f"x {left:.1f} to {right:.1f}, y {first:.1f} to {last:.1f} (first to last row)"


class Tile(NamedTuple):
    """A channel of a patch, with the first row in the north."""

    pixels: np.ndarray  # (H, W): digital numbers, uint16, NODATA where there is no valid pixel; or values, float32
    offset: int | None  # of the digital numbers, from the file's own tags; None if it has none
    grid: Grid


class PatchPixels(NamedTuple):
    """The channels of a patch on the 10 m grid."""

    numbers: np.ndarray  # uint16 (B, H, W): the digital numbers of the optical bands
    values: np.ndarray  # float32 (C - B, H, W): the other channels, in their units
    offset: int | None  # to subtract from the numbers, from the files' own tags; None if they have none
    far_apart: bool  # whether radar or elevation lie elsewhere on the ground than the first channel


def _crs_name(wkt: str) -> str:
    return CRS.from_wkt(wkt).to_string() if wkt else "no coordinate system"


def _is_same(crs: str, other: str) -> bool:
    return crs == other or _crs_name(crs) == _crs_name(other)  # names only where texts differ, since they take long


def _own_offset(file: DatasetReader, channel: Channel) -> int | None:
    """The offset of a file's digital numbers by its scale and offset tags; None if it has no such tags.

    With the tags, reflectance = number * scale + offset. Here, numbers are reflectance in steps of 0.0001, so offset
    tags are applied in whole steps. Anything else is refused: a scale of 1 with an offset of -1000, for example, leaves
    the unit open, and numbers with a different scale would have to be rounded.

    Raises:
        ValueError: the tags have other values.
    """
    scale, offset = file.scales[channel.band - 1], file.offsets[channel.band - 1]
    if (scale, offset) == (1, 0):
        return None
    if channel.name not in BANDS:
        raise ValueError(f"{channel.name} has scale and offset tags; write the values themselves")
    steps = -offset * REFLECTANCE_SCALE
    own = round(steps) if math.isfinite(steps) else -1
    if not (math.isclose(scale * REFLECTANCE_SCALE, 1, rel_tol=1e-6) and abs(steps - own) < 1e-3) or not (
        0 <= own <= MAX_OFFSET
    ):
        raise ValueError(
            f"{channel.name} has scale {scale:g} and offset {offset:g}, which do not give reflectance in steps of "
            f"{1 / REFLECTANCE_SCALE:g}; write it as {NUMBERS}, without such tags"
        )
    return own


def resampled_nodata(empty: np.ndarray, factor: int, resampling: str) -> np.ndarray:
    """Which of the pixels that were resampled from coarser ones are nodata: what was mixed with nodata is none.

    Args:
        empty: of the coarse pixels, bool (H, W).
        factor: how many fine pixels a side of a coarse one has.
        resampling: a name in RESAMPLING_REACH.

    Returns:
        Of the fine pixels, bool (factor * H, factor * W).
    """
    if empty.any() and (reach := RESAMPLING_REACH[resampling]):
        import scipy.ndimage  # here: few datasets have such a tile, and each process would wait for it

        empty = scipy.ndimage.binary_dilation(empty, np.ones((3, 3)), iterations=reach)
    return empty.repeat(factor, 0).repeat(factor, 1)


def _numbers(file: DatasetReader, channel: Channel, size: int, resampling: str) -> np.ndarray:
    """The digital numbers of an optical band, uint16 (size, size)."""
    pixels = file.read(channel.band)
    empty, nodata = pixels == NODATA, file.nodatavals[channel.band - 1]
    if nodata is not None:
        empty |= pixels == nodata
    if len(pixels) != size:
        empty = resampled_nodata(empty, size // len(pixels), resampling)
        pixels = file.read(channel.band, out_shape=(size, size), resampling=Resampling[resampling])
        np.maximum(pixels, 1, out=pixels)  # cubic may undershoot to the number that means nodata
    pixels[empty] = NODATA
    if empty.all():
        raise ValueError(f"{channel.name} is all nodata")
    return pixels


def _values(file: DatasetReader, channel: Channel) -> np.ndarray:
    """The values of another channel, float32 (size, size)."""
    values = file.read(channel.band).astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise ValueError(f"{channel.name} has values that are not finite")
    unit, low, high = QUANTITIES[channel.name]
    if bad := [end for end in (values.min(), values.max()) if not low <= end <= high]:
        raise ValueError(f"{channel.name} has values of {bad[0]:g} {unit}, outside {low:g} to {high:g}")
    return values


def _read_channel(file: DatasetReader, channel: Channel, size: int, resampling: str) -> Tile:
    name, is_optical = channel.name, channel.name in BANDS
    side, dtype = size * METRES_PER_PIXEL // channel.metres, file.dtypes[channel.band - 1 : channel.band]
    if file.count != channel.file_bands:
        raise ValueError(f"{name} has {file.count} bands, not {channel.file_bands}")
    if file.shape != (side, side):
        raise ValueError(f"{name} is {file.height} x {file.width} pixels, not {side} x {side}")
    if dtype != (channel.dtype,):
        content = NUMBERS if is_optical else f"values in {QUANTITIES[name].unit}"
        raise ValueError(f"{name} is {dtype[0]}, not {channel.dtype}; write {content} as {channel.dtype}")
    if MaskFlags.per_dataset in file.mask_flag_enums[channel.band - 1]:
        # In the other channels, each number is a value.
        raise ValueError(f"{name} has a mask; {f'mark nodata with {NODATA}' if is_optical else 'leave out the patch'}")
    offset = _own_offset(file, channel)
    pixels = _numbers(file, channel, size, resampling) if is_optical else _values(file, channel)
    grid = Grid(file.crs.to_wkt() if file.crs else "", file.transform, side)
    return Tile(pixels[::-1] if grid.is_known and grid.transform.e > 0 else pixels, offset, grid)


def _read_file(path: Path, channels: Sequence[Channel], size: int, resampling: str) -> dict[str, Tile]:
    """Some channels of one file, by name.

    Raises:
        ValueError: the file is missing or damaged, or has other content; says which channel and why.
    """
    name = channels[0].name
    if not path.is_file():
        raise ValueError(f"{name} is missing")
    try:
        # With a named driver, since a VRT could read other files or machines.
        with rasterio.open(path, driver="GTiff") as file:
            return {channel.name: _read_channel(file, channel, size, resampling) for channel in channels}
    except RasterioError as error:
        # The same for all patches, so that it is reported once.
        reason = " ".join(str(error.__cause__ or error).split()).replace(str(path), f"{name}.tif")
        raise ValueError(f"{name} is not a readable GeoTIFF ({reason})") from None


def _check_aligned(grids: dict[Channel, Grid]) -> None:
    """Check that the optical bands of a patch lie on each other.

    If all files lack a georeference, they are accepted, because some archives have lost it.

    Raises:
        ValueError: they do not; says which and why.
    """
    for (name, _, metres, *_), grid in grids.items():
        a, b, _, d, e, *_ = grid.transform
        # Written so that NaN fails.
        fits = b == d == 0 and max(abs(a - metres), abs(abs(e) - metres)) <= SIZE_TOLERANCE * metres
        if grid.is_known and not fits:
            raise ValueError(
                f"{name} has pixels of {a:g} x {-e:g} in the units of its coordinate system"
                f"{' and is rotated' if b or d else ''}, not {metres} x {metres} m; reproject it to UTM with gdalwarp"
            )
    for other, grid in grids.items():
        first, reference = next(iter(grids.items()))
        if not _is_same(grid.crs, reference.crs):
            names = _crs_name(grid.crs), _crs_name(reference.crs)
            raise ValueError(
                f"{other.name} is in {names[0][:60]}, but {first.name} in {names[1][:60]}; put them on one grid"
            )
        if grid.is_known != reference.is_known:
            without, given = (first, other) if grid.is_known else (other, first)
            raise ValueError(f"{without.name} has no georeference, but {given.name} does; copy it")
        apart = [abs(x - y) for x, y in zip(grid.corners, reference.corners, strict=True)]
        if grid.is_known and not max(apart) <= CORNER_TOLERANCE:
            raise ValueError(f"{other.name} lies at {grid}, but {first.name} at {reference}; put them on one grid")


def read_patch(
    files: Sequence[Path], channels: Sequence[Channel], size: int, resampling: str = "bilinear"
) -> PatchPixels:
    """Read the channels of a patch and check that they belong together.

    Args:
        files: of each channel; one that several channels share is opened once.
        channels: coarser bands are resampled to the 10 m grid.
        size: side in pixels at 10 m.
        resampling: a name in RESAMPLING_REACH.

    Raises:
        ValueError: a file is missing or invalid; says which and why.
    """
    tiles: dict[str, Tile] = {}
    with rasterio.Env(**OPTIONS), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a patch may have no georeference
        for path in dict.fromkeys(files):
            of_file = [channel for channel, own in zip(channels, files, strict=True) if own == path]
            tiles |= _read_file(path, of_file, size, resampling)
    optical = {channel: tiles[channel.name] for channel in channels if channel.name in BANDS}
    others = [tiles[channel.name].pixels for channel in channels if channel.name not in BANDS]
    _check_aligned({channel: tile.grid for channel, tile in optical.items()})
    offsets = {channel.name: tile.offset for channel, tile in optical.items()}
    if len(set(offsets.values())) > 1:
        given = ", ".join(f"{name} {'none' if offset is None else offset}" for name, offset in offsets.items())
        raise ValueError(f"its bands' tags give different offsets ({given}); make them equal")
    known = [tiles[channel.name].grid for channel in channels if tiles[channel.name].grid.is_known]
    return PatchPixels(
        np.stack([tile.pixels for tile in optical.values()]) if optical else np.empty((0, size, size), np.uint16),
        np.stack(others) if others else np.empty((0, size, size), np.float32),
        next(iter(offsets.values()), None),
        any(grid.is_far_from(known[0], size * METRES_PER_PIXEL / 2) for grid in known),
    )

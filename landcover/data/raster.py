"""The pixels of a patch, read from its files, checked, and brought to one grid with the north up.

GeoTIFFs are read with GDAL, 8-bit pictures with Pillow.
"""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from PIL import Image
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from landcover.constants import BANDS, MAX_OFFSET, METRES_PER_PIXEL, NODATA, REFLECTANCE_SCALE
from landcover.modalities import QUANTITIES

MOST_STEPS = 65_535  # the largest number of a band, as read
NUMBERS = f"reflectance x {REFLECTANCE_SCALE:,}"
# Reflectance per number, by type, where nothing else is stated; of 8-bit numbers, the share of the channel's range.
SCALES = {"uint8": 1 / 255, "uint16": 1e-4, "int16": 1e-4, "float32": 1.0, "float64": 1.0}
# Numbers up to this one mark nodata in signed types: -9999, -10000 and -32768 are common.
LARGEST_MARK = -9999
PICTURES = (".jpg", ".jpeg", ".png")
MODES = {1: "L", 3: "RGB"}  # Pillow's name of a picture's kind, by the number of its bands
# What the libraries raise for a damaged file.
DAMAGED = (RasterioError, OSError, SyntaxError, Image.DecompressionBombError)
KINDS = {"L": "grey", "LA": "grey with transparency", "P": "of a palette", "RGBA": "RGB with transparency"}
WRITE_PLAIN = "write pictures as 8-bit RGB, or as 8-bit grey"
# What differs in the messages of libraries from one damaged file to the next.
PLACE_OF_DAMAGE = re.compile(r" \(\d+ bytes not processed\)|(?<=IReadBlock failed) at X offset \d+, Y offset \d+")
RESAMPLING_REACH = {"nearest": 0, "bilinear": 1, "cubic": 2}  # coarse pixels to each side that are mixed in
SIZE_TOLERANCE = 0.01  # of a pixel's side: some datasets have pixels of 9.98 m
CORNER_TOLERANCE = 1.0  # metres, a tenth of the finest pixel

# Of GDAL. Files beside a tile, such as statistics or masks, are no part of it. Its coordinate system is taken as it
# stands there, since looking it up would take a third of the time.
OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GTIFF_SRS_SOURCE": "GEOKEYS"}


@contextmanager
def gdal() -> Iterator[None]:
    """GDAL as this module needs it; entered once for many files, since that takes as long as reading a small one."""
    with rasterio.Env(**OPTIONS), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a patch may have no georeference
        yield


class Channel(NamedTuple):
    """How a dataset stores an image channel: as one band of raster files."""

    name: str  # in BANDS: numbers of reflectance; else in QUANTITIES: values in its unit
    dtype: str  # that the pixels must have: of a band, one in SCALES
    metres: int | None = METRES_PER_PIXEL  # side of a pixel; None: any, but as many pixels as all other channels
    band: int = 1  # its position in the file
    file_bands: int = 1  # how many bands the file must have
    scale: float | None = None  # of a band: reflectance per number, whatever tags say; None: as in SCALES

    @property
    def label(self) -> str:
        """What a message calls its pixels: a file of several bands is named as a whole."""
        return self.name if self.file_bands == 1 else "its image"

    @property
    def steps(self) -> float:
        """The numbers of NUMBERS per number of the file."""
        return (self.scale or SCALES[self.dtype]) * REFLECTANCE_SCALE


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


def _own_offset(channel: Channel, scale: float, offset: float) -> int | None:
    """The offset of a file's digital numbers by its scale and offset tags; None if it has no such tags.

    With the tags, reflectance = number * scale + offset. Here, numbers are reflectance in steps of 0.0001, so offset
    tags are applied in whole steps. Anything else is refused: a scale of 1 with an offset of -1000, for example, leaves
    the unit open, and numbers with a different scale would have to be rounded.

    Raises:
        ValueError: the tags have other values.
    """
    if (scale, offset) == (1, 0) or channel.scale is not None:
        return None
    if channel.name not in BANDS:
        raise ValueError(f"{channel.label} has scale and offset tags; write the values themselves")
    steps = -offset * REFLECTANCE_SCALE
    own = round(steps) if math.isfinite(steps) else -1
    usual = channel.steps == 1 and math.isclose(scale * REFLECTANCE_SCALE, 1, rel_tol=1e-6)
    if not (usual and abs(steps - own) < 1e-3 and 0 <= own <= MAX_OFFSET):
        raise ValueError(
            f"{channel.label} has scale {scale:g} and offset {offset:g}, which do not give reflectance in steps of "
            f"{1 / REFLECTANCE_SCALE:g}; write it as {NUMBERS}, without such tags, or state scale and offset in the "
            "dataset's entry"
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


@cache
def _steps_of_bytes(steps: float) -> np.ndarray:
    """What `_to_steps` makes of the 8-bit numbers 0 to 255."""
    return np.rint(np.arange(256) * steps).clip(1, MOST_STEPS).astype(np.uint16)


def _to_steps(pixels: np.ndarray, empty: np.ndarray, steps: float) -> np.ndarray:
    """The numbers of a file as uint16 of NUMBERS: NODATA where empty, and at least 1 elsewhere.

    Args:
        steps: per number, see `Channel.steps`.
    """
    if pixels.dtype == np.uint16 and steps == 1:
        numbers = np.maximum(pixels, 1)
    elif pixels.dtype == np.uint8:
        numbers = _steps_of_bytes(steps)[pixels]
    else:
        numbers = np.rint(np.where(empty, 1, pixels) * steps).clip(1, MOST_STEPS).astype(np.uint16)
    numbers[empty] = NODATA
    return numbers


def _is_empty(pixels: np.ndarray, tag: float | None) -> np.ndarray:
    """Where numbers mean nodata; in 8-bit images, 0 is a value."""
    empty = np.zeros(pixels.shape, bool) if pixels.dtype == np.uint8 else pixels == NODATA
    if pixels.dtype.kind in "if":
        empty |= ~(pixels > LARGEST_MARK) | np.isinf(pixels)  # NaN, too
    return empty if tag is None else empty | (pixels == tag)


def _read_numbers(file: DatasetReader, channels: Sequence[Channel], size: int, resampling: str) -> np.ndarray:
    """The numbers of the optical bands of a file, uint16 (C, size, size)."""
    indexes = [channel.band for channel in channels]
    pixels = file.read(indexes)
    nodata = file.nodatavals
    empty = np.stack([_is_empty(own, nodata[index - 1]) for own, index in zip(pixels, indexes, strict=True)])
    if (side := pixels.shape[-1]) != size:
        empty = np.stack([resampled_nodata(own, size // side, resampling) for own in empty])
        # Cubic may undershoot to the number that means nodata, which `_to_steps` does not take for it.
        pixels = file.read(indexes, out_shape=(len(indexes), size, size), resampling=Resampling[resampling])
    for channel, own in zip(channels, empty, strict=True):
        if own.all():
            raise ValueError(f"{channel.name} is all nodata")
    return _to_steps(pixels, empty, channels[0].steps)


def _read_values(file: DatasetReader, channel: Channel) -> np.ndarray:
    """The values of another channel, float32 (size, size)."""
    values = file.read(channel.band).astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise ValueError(f"{channel.name} has values that are not finite")
    unit, low, high = QUANTITIES[channel.name]
    if bad := [end for end in (values.min(), values.max()) if not low <= end <= high]:
        raise ValueError(f"{channel.name} has values of {bad[0]:g} {unit}, outside {low:g} to {high:g}")
    return values


def _check_content(channel: Channel, bands: int, shape: tuple[int, int], dtype: str, size: int) -> None:
    """Check what a file says of its pixels, before they are read.

    Raises:
        ValueError: they are not as the channel must be.
    """
    side = size * METRES_PER_PIXEL // channel.metres if channel.metres else size
    if bands != channel.file_bands:
        raise ValueError(f"{channel.label} has {bands} band{'s' * (bands != 1)}, not {channel.file_bands}")
    if shape != (side, side):
        finer = f"; write it at {channel.metres} m, its own resolution" if shape == (size, size) else ""
        raise ValueError(f"{channel.label} is {shape[0]} x {shape[1]} pixels, not {side} x {side}{finer}")
    if dtype != channel.dtype:
        content = NUMBERS if channel.name in BANDS else f"values in {QUANTITIES[channel.name].unit}"
        raise ValueError(f"{channel.label} is {dtype}, not {channel.dtype}; write {content} as {channel.dtype}")


def _read_tiff(
    path: Path, channels: Sequence[Channel], size: int, resampling: str, *, with_crs: bool
) -> dict[str, Tile]:
    """Some channels of a GeoTIFF, by name."""
    first = channels[0]
    # With a named driver, since a VRT could read other files or machines.
    with rasterio.open(path, driver="GTiff") as file:
        dtypes, flags, scales, offsets = file.dtypes, file.mask_flag_enums, file.scales, file.offsets
        own = {}
        for channel in channels:
            dtype = dtypes[channel.band - 1] if channel.band <= file.count else ""
            _check_content(channel, file.count, file.shape, dtype, size)
            if MaskFlags.per_dataset in flags[channel.band - 1]:
                # In the other channels, each number is a value.
                remedy = f"mark nodata with {NODATA}" if channel.name in BANDS else "leave out the patch"
                if dtype == "uint8":  # where 0 is a value
                    remedy = "write it without, and nodata as a number that the nodata tag states"
                raise ValueError(f"{channel.label} has a mask or transparency; {remedy}")
            own[channel.name] = _own_offset(channel, scales[channel.band - 1], offsets[channel.band - 1])
        if first.name in BANDS:
            pixels = _read_numbers(file, channels, size, resampling)
        else:
            pixels = [_read_values(file, channel) for channel in channels]
        wkt = file.crs.to_wkt() if with_crs and file.crs else ""
        grid = Grid(wkt, file.transform, file.width)
    south_up = grid.is_known and grid.transform.e > 0
    return {
        channel.name: Tile(part[::-1] if south_up else part, own[channel.name], grid)
        for channel, part in zip(channels, pixels, strict=True)
    }


NOWHERE = Grid("", rasterio.Affine.identity(), 0)


def demand_plain(image: Image.Image, label: str) -> None:
    """Refuse a picture whose bands are not numbers of 8 bits.

    Pillow would give the number of a colour in the palette, or the upper half of 16 bits.

    Args:
        label: what a message calls the picture.

    Raises:
        ValueError: it is of another kind.
    """
    deep = image.mode.startswith("I") or any(";16" in str(tile.args) for tile in image.tile)
    if deep or image.mode not in MODES.values():
        kind = "of 16 bits" if deep else KINDS.get(image.mode, image.mode)
        raise ValueError(f"{label} is {kind}; {WRITE_PLAIN}{', or as GeoTIFFs' if deep else ''}")


def _read_picture(path: Path, channels: Sequence[Channel], size: int) -> dict[str, Tile]:
    """Some channels of a JPEG or PNG, by name."""
    first = channels[0]
    with Image.open(path, formats=("JPEG", "PNG")) as image:
        demand_plain(image, first.label)
        count = len(image.getbands())
        if count != first.file_bands:
            raise ValueError(
                f"{first.label} is {KINDS.get(image.mode, image.mode)} with {count} band{'s' * (count != 1)}, not "
                f"{first.file_bands}; {WRITE_PLAIN}, all alike"
            )
        _check_content(first, first.file_bands, image.size[::-1], "uint8", size)
        pixels = np.atleast_3d(np.asarray(image))
    numbers = _steps_of_bytes(first.steps)[pixels]
    return {channel.name: Tile(numbers[..., channel.band - 1], None, NOWHERE) for channel in channels}


def _read_file(
    path: Path, channels: Sequence[Channel], size: int, resampling: str, *, with_crs: bool
) -> dict[str, Tile]:
    """Some channels of one file, by name.

    Raises:
        ValueError: the file is missing or damaged, or has other content; says which channel and why.
    """
    label, is_picture = channels[0].label, path.suffix.lower() in PICTURES
    try:
        if is_picture:
            return _read_picture(path, channels, size)
        return _read_tiff(path, channels, size, resampling, with_crs=with_crs)
    except DAMAGED as error:
        if not path.is_file():
            raise ValueError(f"{label} is missing") from None
        # The same for all patches, so that it is reported once.
        named = f"{label}.tif" if label == channels[0].name else path.suffix
        reason = " ".join(str(error.__cause__ or error).split()).replace(str(path), named).replace(path.name, named)
        reason = PLACE_OF_DAMAGE.sub("", reason)
        raise ValueError(f"{label} is not a readable {'JPEG or PNG' if is_picture else 'GeoTIFF'} ({reason})") from None


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
                f"{' and is rotated' if b or d else ''}, not {metres} x {metres} m; reproject it to UTM with `rio warp`"
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
    """Read the channels of a patch and check that they belong together; within `gdal()`.

    Args:
        files: of each channel; one that several channels share is opened once.
        channels: coarser bands are resampled to the 10 m grid.
        size: side in pixels at 10 m.
        resampling: a name in RESAMPLING_REACH.

    Raises:
        ValueError: a file is missing or invalid; says which and why.
    """
    tiles: dict[str, Tile] = {}
    paths = dict.fromkeys(files)
    for path in paths:
        of_file = [channel for channel, own in zip(channels, files, strict=True) if own == path]
        tiles |= _read_file(path, of_file, size, resampling, with_crs=len(paths) > 1)
    optical = {channel: tiles[channel.name] for channel in channels if channel.name in BANDS}
    others = [tiles[channel.name].pixels for channel in channels if channel.name not in BANDS]
    _check_aligned({channel: tile.grid for channel, tile in optical.items() if channel.metres})
    offsets = {channel.name: tile.offset for channel, tile in optical.items()}
    if len(set(offsets.values())) > 1:
        given = ", ".join(f"{name} {'none' if offset is None else offset}" for name, offset in offsets.items())
        raise ValueError(f"its bands' tags give different offsets ({given}); make them equal")
    known = [tile.grid for tile in tiles.values() if tile.grid.is_known] if len(paths) > 1 else []
    return PatchPixels(
        np.stack([tile.pixels for tile in optical.values()]) if optical else np.empty((0, size, size), np.uint16),
        np.stack(others) if others else np.empty((0, size, size), np.float32),
        next(iter(offsets.values()), None),
        any(grid.is_far_from(known[0], size * METRES_PER_PIXEL / 2) for grid in known),
    )

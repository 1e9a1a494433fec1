"""Datasets of one image file per patch: which files there are, and what they hold, by a sample of them."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
import rasterio
from PIL import Image
from rasterio.crs import CRS

from landcover.config import CLASS_NAME_RULE, Dataset, is_class_name
from landcover.constants import BANDS, LARGEST_SIZE, LEAST_SIZE, METRES_PER_PIXEL, PATCH_SIZE
from landcover.data import offsets
from landcover.data.raster import DAMAGED, PICTURES, SCALES, SIZE_TOLERANCE, Channel, demand_plain, gdal
from landcover.errors import InputError, few

SUFFIXES = (".tif", ".tiff", *PICTURES)
SAMPLE = 25  # files by which all are judged
BAND = re.compile(r"B?0?(\d{1,2}|8A)", re.IGNORECASE)  # of a band in a file's descriptions
METRES_PER_DEGREE = 111_195  # of latitude, on a sphere


def is_visible(path: PurePosixPath) -> bool:
    """Whether no part of a path is hidden or what macOS adds to archives."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def is_image(path: PurePosixPath) -> bool:
    return path.suffix.lower() in SUFFIXES and is_visible(path)


def list_files(folder: Path) -> list[PurePosixPath]:
    """All visible files below a folder, relative to it, sorted."""
    files = (PurePosixPath(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if is_visible(path))


class Header(NamedTuple):
    """What a file says of its image."""

    height: int
    width: int
    bands: int
    dtype: str
    names: tuple[str, ...]  # of its bands, '' where it names none
    metres_per_pixel: float | None  # None without a georeference


def _metres_per_pixel(crs: CRS | None, transform: rasterio.Affine, height: int) -> float | None:
    if crs is None or transform == rasterio.Affine.identity():
        return None
    side = math.sqrt(abs(transform.determinant))
    if crs.is_geographic:
        _, lat = transform @ (0, height / 2)
        return side * METRES_PER_DEGREE * math.sqrt(math.cos(math.radians(min(abs(lat), 89))))
    return side * crs.linear_units_factor[1] if crs.is_projected else None


def read_header(path: Path) -> Header:
    """Inspect a file without reading its pixels; within `gdal()`.

    Raises:
        one of DAMAGED: it cannot be read.
        ValueError: it is a picture of another kind than 8-bit RGB or grey.
    """
    if path.suffix.lower() in PICTURES:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            demand_plain(image, "it")
            return Header(*image.size[::-1], len(image.getbands()), "uint8", ("",) * len(image.getbands()), None)
    with rasterio.open(path, driver="GTiff") as file:
        names = tuple(name or "" for name in file.descriptions)
        metres = _metres_per_pixel(file.crs, file.transform, file.height)
        return Header(*file.shape, file.count, file.dtypes[0], names, metres)


def typical_header(root: Path, files: Sequence[str]) -> Header:
    """What most files of an evenly spread sample hold.

    Raises:
        InputError: none of them can be read, or their numbers are of an unknown type.
    """
    headers, reason = [], ""
    with gdal():
        for place in np.unique(np.linspace(0, len(files) - 1, SAMPLE).astype(int)):
            try:
                headers.append(read_header(root / files[place]))
            except DAMAGED as error:
                reason = f"{files[place]}: {' '.join(str(error).split())}".replace(f"{root}/", "") + "; get them again"
            except ValueError as error:
                reason = f"{files[place]}: {error}"
    if not headers:
        raise InputError(f"{root}: none of its images can be read, for example {reason}")
    most = Counter(one._replace(metres_per_pixel=None) for one in headers).most_common(1)[0][0]
    if most.dtype not in SCALES:
        raise InputError(f"{root}: images have {most.dtype} numbers; write them as one of {', '.join(SCALES)}")
    metres = [one.metres_per_pixel for one in headers if one.metres_per_pixel]
    return most._replace(metres_per_pixel=float(np.median(metres)) if metres else None)


def metres_per_pixel(header: Header) -> float:
    """Of a Sentinel-2 image, if its georeference does not say otherwise."""
    metres = header.metres_per_pixel or METRES_PER_PIXEL
    return METRES_PER_PIXEL if abs(metres / METRES_PER_PIXEL - 1) < SIZE_TOLERANCE else float(f"{metres:.3g}")


def _positions(header: Header, channels: Sequence[str], entry: Dataset, first: str) -> list[int]:
    """The positions of channels in the files, from 1."""
    count, own = header.bands, entry.bands
    if isinstance(own, dict):
        if beyond := [f"{band}: {position}" for band, position in own.items() if position > count]:
            raise InputError(f"bands of the dataset's entry: {few(beyond)}, but {first} has {count} bands; correct it")
        return [own[name] for name in channels]
    if own is not None:
        if len(own) != count:
            raise InputError(
                f"bands of the dataset's entry lists {len(own)}, but {first} has {count} band{'s' * (count != 1)}; "
                "list all of them in the order in the file, or give positions, as in {B02: 1, B08: 4}"
            )
        return [own.index(name) + 1 for name in channels]
    named = [f"B{match[1].upper().zfill(2)}" if (match := BAND.fullmatch(name)) else "" for name in header.names]
    if set(channels) <= set(named):
        return [named.index(name) + 1 for name in channels]
    if any(named) or count != len(channels) or header.dtype == "uint8":
        has = f"{count} band{'s' * (count != 1)}{f' ({few([*filter(None, named)])})' if any(named) else ''}"
        example = "[B04, B03, B02] for red, green and blue" if count == 3 else "[B02, B03, ...]"
        raise InputError(
            f"{first} has {has}, and nothing says which of them are {', '.join(channels)}; state the bands in the "
            f"dataset's entry, in the order in the file: bands: {example}"
        )
    return list(range(1, count + 1))


def channels_of(header: Header, names: Sequence[str], entry: Dataset, first: str) -> list[Channel]:
    """How the files hold the bands of these names.

    Args:
        first: a file, for messages.

    Raises:
        InputError: they do not, or it is unknown where.
    """
    positions = _positions(header, names, entry, first)
    return [
        Channel(name, header.dtype, None, position, header.bands, entry.scale)
        for name, position in zip(names, positions, strict=True)
    ]


def patch_size(header: Header, entry: Dataset, first: str) -> int:
    """The side of a patch, from the entry or else from the files.

    Raises:
        InputError: they are no patches.
    """
    if entry.patch_size:
        return entry.patch_size
    pixels = f"{first} has {header.height} x {header.width} pixels"
    if header.height != header.width:
        raise InputError(f"{pixels}; cut the images to squares")
    if not LEAST_SIZE <= header.height <= LARGEST_SIZE:
        raise InputError(
            f"{pixels}; the texture baseline needs at least {LEAST_SIZE}, and a patch has at most {LARGEST_SIZE}: "
            f"cut the images to such a size, for example {PATCH_SIZE}"
        )
    return header.height


def check_inputs(channels: Sequence[str], features: Sequence[str]) -> None:
    """Raise an InputError if there are other inputs than bands."""
    if others := [name for name in (*channels, *features) if name not in BANDS]:
        raise InputError(
            f"inputs: this layout has bands of Sentinel-2 only, no {few(others)}; set inputs: [sentinel-2]"
        )


def choose_classes(occurring: Iterable[str], entry: Dataset, what: str) -> list[str]:
    """The classes, in the order of the entry, or else of the alphabet.

    Args:
        occurring: in the data.
        what: they are, for messages: "folders of data/patches".

    Raises:
        InputError: there are too few, or their names cannot be used.
    """
    occurring = sorted(set(occurring))
    if entry.classes:
        if lacking := [name for name in entry.classes if name not in occurring]:
            raise InputError(f"classes of the dataset's entry: no {few(lacking)} among {what}: {few(occurring, 20)}")
        return entry.classes
    spelt = Counter(name.strip().casefold() for name in occurring)
    if alike := [repr(name) for name in occurring if spelt[name.strip().casefold()] > 1]:
        raise InputError(f"{what}: {few(alike)} differ only in capitals or spaces; spell each class in one way")
    if bad := [repr(name) for name in occurring if not is_class_name(name)]:
        raise InputError(f"{len(bad)} names of classes among {what} cannot be used: {few(bad)}; {CLASS_NAME_RULE}")
    if len(occurring) < 2:
        raise InputError(f"{what}: {few(occurring) or 'none'}; at least two classes are needed")
    return occurring


def new_table(patch_ids: Sequence[str], files: Sequence[str], channels: Sequence[Channel]) -> pd.DataFrame:
    """The columns of `Patches.table` that do not differ, and the file of each channel."""
    table = pd.DataFrame({"patch_id": patch_ids, "problem": "", "warning": "", "offset": offsets.UNKNOWN})
    table = table.assign(lon=np.nan, lat=np.nan, date="", tile="")
    return table.assign(**dict.fromkeys((channel.name for channel in channels), np.array(files, object)))


def rare(table: pd.DataFrame, classes: Sequence[str], entry: Dataset) -> list[str]:
    """A warning, if classes have a single patch, unless the split warns of classes with too few."""
    if entry.split.method == "random":
        return []
    counts = table.loc[table["label"] >= 0, "label"].value_counts()
    if single := [classes[label] for label in sorted(counts.index[counts == 1])]:
        return [f"{few(single)}: {len(single)} of {len(classes)} classes have a single patch, so no two splits have it"]
    return []

"""A Sentinel-2 scene in any supported format, read as digital numbers without offset on a north-up 10 m grid."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from rasterio import Affine
from rasterio.enums import ColorInterp, Interleaving
from rasterio.io import DatasetReader
from rasterio.windows import Window

from landcover.constants import BANDS, BASELINE, CIRRUS, DATE, LEVELS, METRES_PER_PIXEL, NODATA, SURFACE
from landcover.data import offsets
from landcover.errors import InputError, redact
from landcover.mapping import classification, grids, pixels, products, scaling, stac
from landcover.mapping.grids import Grid
from landcover.mapping.layers import NEEDED, REMOTE, Layer, Source, are_numbers, band_of, level_of, other_satellite
from landcover.mapping.pixels import Gaps
from landcover.mapping.scaling import BLUE, NEAR_INFRARED, Scaling

T = TypeVar("T")
RASTERS = (".tif", ".tiff", ".jp2")
OTHER_PIXELS = (0.55, 1.5)  # beyond this ratio, pixels are not Sentinel-2's; in degrees, they are smaller in the north
MAX_BLOCK_BYTES = 1 << 27  # GDAL holds whole blocks in memory
# A strip is of whole blocks of the scene's files, so that no block is decoded twice, unless they are higher than
# MAX_BLOCK_ROWS. Those of Sentinel-2 products have 1,024 to 1,280 rows.
STRIP_ROWS, MAX_BLOCK_ROWS = 500, 1280


@dataclass(frozen=True)
class Provenance:
    """Where a scene's numbers come from, as in a map's summary.json; values of a band each if bands differ."""

    kind: str
    level: str | None  # 2A, 1C
    processing_baseline: str | None
    date: str | None  # YYYY-MM-DD
    # reflectance = (number - offset) / quantification, and the source of each.
    offset: float | dict[str, float]
    offset_by: str | dict[str, str]
    quantification: float | dict[str, float]
    quantification_by: str | dict[str, str]
    resampled_from: str | dict[str, str] | None  # coordinate system and pixels, where these are not the scene's
    warnings: list[str]


def _side_by_side(job: Callable[..., T], *of_each: Collection[Any]) -> list[T]:
    """What a job returns for each of its arguments, in threads; an interrupt does not wait for them."""
    threads = ThreadPoolExecutor(len(of_each[0]))
    try:
        return list(threads.map(job, *of_each))
    finally:
        threads.shutdown(wait=False)


class SceneBand(NamedTuple):
    """A band of a scene in its file."""

    layer: Layer
    scaling: Scaling
    scale: float | int  # the side of the file's pixels, in pixels of the scene
    gaps: Gaps


@dataclass(frozen=True)
class Area:
    """What is mapped: the pixels of a scene, or of a mosaic of scenes."""

    name: str
    bands: list[str]
    crs: str  # EPSG:<code>, or WKT, of a projected system in metres
    transform: tuple[float, ...]  # (a, b, c, d, e, f), as Affine has it: north up, pixels of 10 m
    width: int
    height: int

    def facts(self) -> dict[str, Any]:
        """As in a map's summary.json."""
        return {
            "name": self.name, "crs": self.crs, "transform": list(self.transform), "width": self.width,
            "height": self.height, "bands": self.bands,
        }  # fmt: skip


@dataclass(frozen=True)
class Scene(Area):
    """An inspected scene: only paths and numbers, so that any process can read from it."""

    provenance: Provenance
    files: list[SceneBand]  # by band
    warped: bool  # the files are not on Sentinel-2's grids, or in another coordinate system
    block_rows: int  # strips of a multiple of this many rows read each block of the files once
    mask: classification.Mask | None = None

    def facts(self) -> dict[str, Any]:
        return super().facts() | asdict(self.provenance)

    def read(self, row: int, rows: int) -> np.ndarray:
        """Numbers of some rows, uint16 (C, rows, width): reflectance x 10,000 without offset; NODATA where empty.

        Raises:
            InputError: a file is damaged, or its host fails.
        """
        output = np.empty((len(self.bands), rows, self.width), np.uint16)
        grid = {"crs": self.crs, "transform": Affine(*self.transform), "width": self.width, "height": self.height}

        def read(path: str, positions: list[int]) -> None:
            indexes = [self.files[position].layer.index for position in positions]
            gaps = [self.files[position].gaps for position in positions]
            scale = self.files[positions[0]].scale
            if self.warped:
                job = partial(
                    pixels.read_warped, indexes=indexes, gaps=gaps, grid=grid, scale=scale, row=row, rows=rows
                )
            elif scale == 1:
                job = partial(pixels.read, indexes=indexes, gaps=gaps, window=Window(0, row, self.width, rows))
            else:
                place = {"factor": int(scale), "row": row, "rows": rows, "width": self.width}
                job = partial(pixels.read_resampled, indexes=indexes, gaps=gaps, **place)
            with _named(self.name):
                numbers, empty = pixels.reading(path, job)
            for position, band, none in zip(positions, numbers, empty, strict=True):
                output[position] = scaling.rescale(band, none, self.files[position].scaling)

        files = _by_file([band.layer for band in self.files])
        _side_by_side(read, files.keys(), files.values())
        if self.mask:
            with _named(self.name):
                output[:, self.mask.read(grid, row, rows)] = NODATA
        return output


def strip_rows(scene: Scene, least: int) -> int:
    """How many rows of a scene, at least the given number, to read at a time."""
    block = min(scene.block_rows, MAX_BLOCK_ROWS)
    return math.ceil(max(STRIP_ROWS, least) / block) * block


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Prefix errors with the scene's name, unless they begin with it."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(f"{name} ") else f"{name}: {error}") from None


def _by_file(layers: list[Layer]) -> dict[str, list[int]]:
    """By file, the positions of its layers, which are read together."""
    positions = defaultdict(list)
    for position, layer in enumerate(layers):
        positions[layer.path].append(position)
    return positions


# -- the parts of a scene


def _named_by_gdal(path: str) -> tuple[str, str]:
    """The file, folder or URL behind a name that GDAL has for it, and the file in a zip, '' if it names none.

    A folder inside a product stands for the product.
    """
    member = ""
    path = path.removeprefix(REMOTE)
    if product := re.fullmatch(r"SENTINEL2_L\w\w:(.+\.xml)(?::.*)?", path, re.IGNORECASE):
        path = product[1] if product[1].startswith("/vsizip/") else str(Path(product[1]).parent)
    if zipped := re.fullmatch(r"/vsizip/\{?(.+?\.zip)\}?/?(.*)", path, re.IGNORECASE):
        path, member = zipped.groups()
    if re.fullmatch(r"R\d0m|IMG_DATA|L\w\w_T\w+|GRANULE", Path(path).name):
        path = next((str(folder) for folder in Path(path).absolute().parents if products.is_product(folder)), path)
    return path, member


def _read_source(path: str, member: str, bands: list[str], positions: list[int] | None) -> Source:
    """The parts of a scene of any format."""
    remote = stac.is_url(path)
    if "://" in path and not remote:
        raise InputError(redact(f"{path}: cannot be read; give an http(s) URL or a path, or download it"))
    try:
        file = Path(urlsplit(path).path if remote else path).absolute()
    except ValueError as error:
        raise InputError(redact(f"{path}: is not a valid URL ({error}); correct it")) from None
    suffix = file.suffix.lower()
    if not remote and not file.exists():
        raise InputError(
            f"{path}: not found; give a GeoTIFF, a folder with a file per band, a .SAFE folder or .zip, or a STAC item"
        )
    if remote and suffix == ".zip":
        raise InputError(redact(f"{path}: is a zip on a host; download it, and give the file"))
    if suffix == ".vrt":
        raise InputError(
            f"{file.name}: only refers to other files; write one that holds them by `rio convert {file.name} scene.tif`"
        )
    if Path(member).suffix.lower() not in RASTERS:
        member = "" if remote or suffix != ".zip" else products.only_raster(file)
    if member:
        with _named(member):
            return _source_of_raster(f"/vsizip/{{{file}}}/{member}", Path(member), bands, positions)
    if (remote and suffix not in RASTERS) or suffix in (".json", ".geojson"):
        source = stac.read_source(path if remote else str(file), bands)
    elif not remote and (file.is_dir() or suffix == ".zip" or products.is_metadata(file)):
        source = products.read_source(file)
    else:
        with _named(file.name):
            return _source_of_raster(f"{REMOTE}{path}" if remote else str(file), file, bands, positions)
    if positions is not None:
        raise InputError(f"{source.name}: its bands are found by name, not by position; omit --bands")
    return source


def _source_of_raster(path: str, file: Path, bands: list[str], positions: list[int] | None) -> Source:
    """The bands of a single raster, by its descriptions or by positions."""
    descriptions, count = pixels.reading(path, lambda raster: (raster.descriptions, raster.count))
    if positions is not None:
        if len(positions) != len(bands) or not all(1 <= position <= count for position in positions):
            raise InputError(f"--bands takes {len(bands)} positions from 1 to {count}, those of {', '.join(bands)}")
        layers = dict(zip(bands, (Layer(path, index) for index in positions), strict=True))
        return Source("raster", file.name, layers, classification=_classes_of(path, file, descriptions))
    if are_numbers(descriptions):
        raise InputError(
            f"its bands are only numbered, from {descriptions[0]} to {descriptions[-1]}; give the positions of "
            f"{', '.join(bands)} by --bands, from 1"
        )
    if other := other_satellite(" ".join(text or "" for text in descriptions)):
        raise InputError(f"its bands have the names of those of {other}; {NEEDED}")
    if count == 1 and len(bands) > 1:
        raise InputError(f"has one band of {', '.join(bands)}; give the folder with a file of each, or the product")
    layers: dict[str, Layer] = {}
    for index, text in enumerate(descriptions, 1):
        band = band_of(text or (file.stem if count == 1 else ""))
        if band in layers and band in bands:
            raise InputError(f"{band} occurs more than once; give the positions of {', '.join(bands)} by --bands")
        if band:
            layers[band] = Layer(path, index)
    if missing := [band for band in bands if band not in layers]:
        named = ", ".join(f"{index} {text}" for index, text in enumerate(descriptions, 1) if text)
        raise InputError(
            f"has no {', '.join(missing)}, only {named or f'{count} bands without names'}; if they are among these, "
            f"give the positions of {', '.join(bands)} by --bands"
        )
    return Source("raster", file.name, layers, classification=_classes_of(path, file, descriptions))


def _classes_of(path: str, file: Path, descriptions: Sequence[str | None]) -> Layer | None:
    """The classification of a single raster: one of its bands, or the file beside it, <name>_SCL.tif or SCL.tif."""
    for index, text in enumerate(descriptions, 1):
        if classification.NAME.fullmatch(text or ""):
            return Layer(path, index)
    if not Path(path).is_file():
        return None
    beside = [other for other in file.parent.iterdir() if other.suffix.lower() in RASTERS and other != file]
    own = [other for other in beside if other.stem.startswith(file.stem) or classification.NAME.fullmatch(other.stem)]
    found = classification.find(map(str, own))
    return Layer(found) if found else None


def _complete(source: Source, bands: list[str]) -> Source:
    """The source, with the level, the baseline and the date from its names where it does not give them."""
    names = f"{source.name} {pixels.file_name(source.layers[bands[0]].path)}"
    baseline, day = re.search(BASELINE, names), re.search(DATE, names)
    return replace(
        source,
        level=source.level or level_of(names) or ("1C" if CIRRUS in source.layers else None),
        baseline=source.baseline or (f"{baseline[1][:2]}.{baseline[1][2:]}" if baseline else ""),
        date=source.date or (f"{day[1][:4]}-{day[1][4:6]}-{day[1][6:]}" if day else None),
    )


# -- metadata of its files


class Header(NamedTuple):
    """A layer's metadata in its file."""

    grid: Grid
    scale: tuple[float, float]  # its tags of scale and offset
    block_rows: int
    signed: bool  # its numbers may be negative


def _header(layer: Layer, alone: bool) -> Header:
    """The metadata of a layer, which may have to be alone in its file."""
    file = pixels.file_name(layer.path)

    def inspect(raster: DatasetReader) -> Header:
        on_earth = raster.crs and (raster.crs.is_projected or raster.crs.is_geographic)
        degenerate = not np.isfinite(raster.transform).all() or raster.transform.determinant == 0
        if not on_earth or degenerate or raster.transform == Affine.identity():
            raise InputError(
                f"{file} has no georeference; add one with `rio edit-info --crs EPSG:<code> --transform "
                f"'[10, 0, <left>, 0, -10, <top>]' {file}`"
            )
        if alone and raster.count - (ColorInterp.alpha in raster.colorinterp) > 1:
            raise InputError(
                f"{file} has {raster.count} bands instead of one; give the files of single bands, or it alone"
            )
        band = layer.index - 1
        dtype, block = np.dtype(raster.dtypes[band]), raster.block_shapes[band]
        if dtype.kind not in "uif":
            raise InputError(f"{file} has {dtype} numbers, which cannot be reflectances; give another file")
        together = raster.count if raster.interleaving == Interleaving.pixel else 1
        if math.prod(block) * dtype.itemsize * together > MAX_BLOCK_BYTES:
            raise InputError(
                f"{file} is stored in blocks of {block[1]} x {block[0]} pixels, too large to read in parts; "
                "rewrite it with `rio convert --driver COG`"
            )
        grid = Grid(raster.crs, raster.transform, raster.width, raster.height)
        return Header(grid, (raster.scales[band], raster.offsets[band]), block[0], dtype.kind != "u")

    return pixels.reading(layer.path, inspect)


# -- what its numbers mean


def _scalings(
    source: Source, headers: dict[str, Header], offset: float | None, quantification: float | None
) -> tuple[dict[str, Scaling], dict[str, Gaps], list[str]]:
    """Offset and quantification of the layers, and their nodata, by band, and warnings.

    Raises:
        InputError: the pixels contradict them.
    """
    product = int(offsets.by_product(pd.Series([""]), pd.Series([source.baseline])).iloc[0])
    checked = [band for band in (BLUE, NEAR_INFRARED) if band in headers] or list(headers)[:1]
    sampled = dict.fromkeys([*checked, *(band for band, header in headers.items() if header.signed)])

    block_rows = max(header.block_rows for header in headers.values())

    def sample(band: str) -> tuple[np.ndarray, np.ndarray]:
        return pixels.sample(source.layers[band].path, source.layers[band].index, block_rows)

    samples = dict(zip(sampled, _side_by_side(sample, sampled), strict=True))
    fills = {band: pixels.fill_of(numbers[~empty]) for band, (numbers, empty) in samples.items()}
    numbers, empty = samples[checked[0]]
    known = numbers[~empty & (numbers != fills[checked[0]])]
    scalings = {
        band: scaling.choose(source.layers[band], header.scale, product, offset, quantification, known)
        for band, header in headers.items()
    }
    scaling.check_unit(scalings[checked[0]])
    gaps = {band: Gaps(fills.get(band, fills[checked[0]]), scaling.least(scalings[band])) for band in headers}
    shares: dict[str, dict[str, float]] = defaultdict(dict)  # of what is remarkable, by band
    for band, (numbers, empty) in samples.items():
        fill, least = gaps[band]
        none = ~empty & ((numbers == fill) | (numbers <= least))
        below = ~empty & ~none & (numbers < 0)
        empty |= none
        what = f"below a reflectance of {scaling.LEAST_REFLECTANCE:g}" if fill is None else f"{fill:g}"
        shares[f"{what}, which is taken as nodata"][band] = none.mean()
        shares["below 0, and become the darkest value"][band] = below.mean()
    warnings = [
        f"{float(f'{100 * max(of.values()):.2g}'):g}% of the pixels of {max(of, key=of.get)} are {what}"
        for what, of in shares.items()
        if any(of.values())
    ]
    if source.level == "1C":
        return scalings, gaps, warnings  # light scattered by the atmosphere is in all pixels

    def levels(band: str, numbers: np.ndarray, empty: np.ndarray) -> np.ndarray:
        return scaling.levels(numbers, empty, scalings[band])

    def darkest() -> float:
        each = [levels(band, *(samples.get(band) or sample(band))) for band in headers]
        return min(float(np.nanpercentile(level, 0.1)) for level in each if not np.isnan(level).all())

    # Of a coarser band, the pixels are others.
    alike = [band for band in checked if samples[band][0].shape == samples[checked[0]][0].shape]
    checked_levels = {band: levels(band, *samples[band]) for band in alike}
    return scalings, gaps, warnings + scaling.check_plausible(scalings, checked_levels, source.level, darkest)


def open_scene(
    path: str,
    bands: list[str],
    *,
    positions: list[int] | None = None,
    offset: float | None = None,
    quantification: float | None = None,
    crs: str | None = None,
    level: str | None = SURFACE,
    mask: Collection[str] = (),
) -> Scene:
    """Inspect a scene: its parts, its location, and what its numbers mean.

    Args:
        path: a GeoTIFF or COG, a folder with one file per band, a Level-2A .SAFE folder or its .zip, or a STAC item; a
            raster or an item may also be an http(s) URL.
        bands: names in BANDS, in the order in which `read` returns them.
        positions: those of the bands in a single raster, from 1, if its descriptions do not name them.
        offset, quantification: what the numbers mean, instead of what the scene says: reflectance = (number - offset) /
            quantification.
        crs: the coordinate system to reproject to, EPSG:<code>, or `utm` for the UTM zone of its centre.
        level: which the scene must have, 1C or 2A, as far as it is known; None: any.
        mask: kinds of pixels that count as nodata, of `classification.KINDS`.

    Raises:
        InputError: it is not such a scene, lacks a band, or its pixels contradict what is known about them.
    """
    scaling.check_given(offset, quantification)
    source = _read_source(*_named_by_gdal(path), bands, positions)
    with _named(source.name):
        names = [source.name, *(pixels.file_name(layer.path) for layer in source.layers.values())]
        if other := other_satellite(" ".join(names)):
            raise InputError(
                f"has the name of a product of {other}; give a scene of Sentinel-2, or rename it if it is one"
            )
        if missing := [band for band in bands if band not in source.layers]:
            raise InputError(
                f"has no {', '.join(missing)}, only {', '.join(sorted(source.layers))}; give a scene with all bands"
            )
        if mask and not source.classification:
            raise InputError(
                f"has no scene classification (SCL), which names its {' and '.join(mask)}; give the Level-2A product, "
                "or put <name>_SCL.tif beside a GeoTIFF <name>.tif"
            )
        masked = [source.classification.path] if mask and source.classification else []
        products.check_files([*(source.layers[band].path for band in bands), *masked])
        source = _complete(source, bands)
        if level and source.level and source.level != level:
            raise InputError(
                f"is Level {source.level}, {LEVELS[source.level]}, but Level {level} is needed; give the "
                f"Level-{level} product, or force it by --level any"
            )
        inspected = list(dict.fromkeys([*bands, *(band for band in (BLUE, NEAR_INFRARED) if band in source.layers)]))
        a_file_each = source.kind not in ("raster", "STAC item")
        headers = {band: _header(source.layers[band], a_file_each) for band in inspected}
        own = {band: headers[band].grid for band in bands}
        finest = min(own, key=lambda band: own[band].pixel_area())
        for band, grid in own.items():
            if not grid.lies_on(own[finest]):
                raise InputError(
                    f"{band} is not on the same grid as {finest}; warp it with `rio warp <its file> <new file> --like "
                    f"<the file of {finest}>`"
                )
        target = grids.around(own[finest], grids.metric(own[finest], crs))
        warped = target.crs != own[finest].crs or None in [grid.factor() for grid in own.values()]
        assumed = source.level or (None if level == SURFACE else level or "any")
        kept = None
        if mask and source.classification:
            kept = classification.mask(source.classification, mask, target._asdict())
        scalings, gaps, warnings = _scalings(replace(source, level=assumed), headers, offset, quantification)
    scales = {
        band: grid.pixel_side(target.crs) / METRES_PER_PIXEL if warped else grid.factor() for band, grid in own.items()
    }
    side, native = scales[finest] * METRES_PER_PIXEL, min(BANDS[band] for band in bands)
    if not OTHER_PIXELS[0] < side / native < OTHER_PIXELS[1]:
        warnings.append(
            f"its pixels are {side:.3g} m, those of Sentinel-2 {native} m; the networks have not seen such images, and "
            "if this is another satellite, the map is wrong"
        )
    resampled = {
        band: f"{grid.crs.to_string()}, {scales[band] * METRES_PER_PIXEL:.6g} m"
        for band, grid in own.items()
        if warped or scales[band] != 1
    }
    provenance = Provenance(
        kind=source.kind,
        level=source.level,
        processing_baseline=source.baseline or None,
        date=source.date,
        **{
            name: _one_or_each({band: getattr(scalings[band], name) for band in bands})
            for name in ("offset", "offset_by", "quantification", "quantification_by")
        },
        resampled_from=_one_or_each(resampled) if len(resampled) == len(bands) else resampled or None,
        warnings=warnings,
    )
    return Scene(
        name=source.name,
        bands=bands,
        crs=target.crs.to_string(),
        transform=tuple(target.transform)[:6],
        width=target.width,
        height=target.height,
        provenance=provenance,
        files=[SceneBand(source.layers[band], scalings[band], scales[band], gaps[band]) for band in bands],
        warped=warped,
        block_rows=max(math.ceil(headers[band].block_rows * scales[band]) for band in bands),
        mask=kept,
    )


def _one_or_each(values: dict[str, Any]) -> Any:
    """The common value of all bands, or else the values by band."""
    return next(iter(values.values())) if len(set(values.values())) == 1 else values

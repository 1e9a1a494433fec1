"""Scenes with one file per band: products as ESA ships them, a .SAFE folder or its .zip, and folders of bands."""

import hashlib
import math
import mmap
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple
from xml.etree import ElementTree

from landcover.constants import MAX_OFFSET
from landcover.errors import InputError, few
from landcover.mapping import classification
from landcover.mapping.layers import METRES, REMOTE, Layer, Source, band_of, level_of
from landcover.modalities import SENTINEL_2

METADATA = re.compile(r"((?:[^/]+/){0,2})MTD_MSI(L1C|L2A)\.xml")
IMAGE = re.compile(r"GRANULE/[^/]+/IMG_DATA/(?:R\d0m/)?[^/]+\.(?:jp2|tiff?)", re.IGNORECASE)
BAND_FILE = re.compile(r"(?:[^/]+/)?[^/]+\.(?:jp2|tiff?)", re.IGNORECASE)
MANIFEST = "manifest.safe"
CHUNK = 1 << 20
HOLE = 1024  # zeros in a row, more than encoders write; gaps in a download are longer
NOT_OURS = re.compile(r"(?:.*/)?\._[^/]*")  # what macOS puts beside each file
MAX_METADATA_BYTES = 1 << 24  # a hundred times the usual size
# The bands in the order of `band_id` in the metadata.
ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


class _Files(NamedTuple):
    """The files of a folder or of a zip."""

    names: list[str]  # relative, with slashes
    prefix: str  # what GDAL needs before a name
    read: Callable[[str], bytes]  # by name, at most MAX_METADATA_BYTES + 1 bytes


def is_benge(path: Path) -> bool:
    """Whether a folder has patches in the ben-ge layout, rather than a scene."""
    return (path / SENTINEL_2).is_dir()


def is_product(folder: Path) -> bool:
    return any(METADATA.fullmatch(file.name) for file in folder.glob("MTD_MSI*.xml"))


def _product_folder(path: Path) -> Path:
    """The folder of the one product in a folder, however it was unpacked; without one, the folder as it is."""
    for depth in ("", "*/", "*/*/"):
        found = {file.parent for file in path.glob(f"{depth}MTD_MSI*.xml") if METADATA.fullmatch(file.name)}
        if len(found) > 1:
            products = few(sorted(folder.relative_to(path).as_posix() for folder in found))
            raise InputError(f"{path.name}: contains more than one product ({products}); give one product")
        if found:
            return found.pop()
        if any(BAND_FILE.fullmatch(file.name) for file in path.iterdir()):
            return path
    return path


def is_metadata(path: Path) -> bool:
    """Whether a file is what other programs open a product by."""
    return bool(METADATA.fullmatch(path.name) or path.name == "manifest.safe")


def read_source(path: Path) -> Source:
    """The bands of a product or of a folder of bands, with what the product's metadata say about them.

    Raises:
        InputError: there are no bands, a band occurs more than once, or the metadata are damaged.
    """
    if path.is_dir() or is_metadata(path):
        path = _product_folder(path if path.is_dir() else path.parent)
        paths = [*path.glob("*"), *path.glob("GRANULE/*/IMG_DATA/**/*")]
        names = sorted(file.relative_to(path).as_posix() for file in paths if file.is_file())
        return _read_source(path.name, _Files(names, f"{path}/", lambda name: _read(open(path / name, "rb"))))
    with _unzipping(path) as archive:
        prefix = f"/vsizip/{{{path.absolute()}}}/"
        return _read_source(
            path.name, _Files(sorted(archive.namelist()), prefix, lambda name: _read(archive.open(name)))
        )


@contextmanager
def _unzipping(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path.name}: is not a readable zip ({error}); download it again") from None
    except RuntimeError as error:  # it is encrypted, or compressed in another way
        raise InputError(f"{path.name}: cannot be unpacked here ({error}); unpack it, and give what it holds") from None


def only_raster(path: Path) -> str | None:
    """The one raster in a zip, if it has only one."""
    with _unzipping(path) as archive:
        names = [name for name in archive.namelist() if not NOT_OURS.fullmatch(name)]
    rasters = [name for name in names if re.search(r"\.(jp2|tiff?)$", name, re.IGNORECASE)]
    return rasters[0] if len(rasters) == 1 else None


def check_files(paths: Iterable[str]) -> None:
    """Compare files with the sizes and checksums in their zip, or in the manifest.safe of their product.

    Of a JPEG 2000 without either, look for a hole: what is decoded from one passes for nodata, or for an image.

    Args:
        paths: as GDAL opens them; what a host has is not checked.

    Raises:
        InputError: one is damaged.
    """
    for path in dict.fromkeys(paths):
        if path.startswith(REMOTE):
            continue
        zipped = re.fullmatch(r"/vsizip/\{(.+)\}/(.+)", path)
        if zipped:
            with _unzipping(Path(zipped[1])) as archive, archive.open(zipped[2]) as content:
                while content.read(CHUNK):
                    pass
        elif damage := _damage(Path(path)):
            raise InputError(f"{Path(path).name} {damage}; download it again")


def _damage(file: Path) -> str | None:
    root = next((folder for folder in file.parents if (folder / MANIFEST).is_file()), None)
    stated = _stated(root / MANIFEST) if root else {}
    size, algorithm, digest = stated.get(file.relative_to(root or file.parent).as_posix(), (None, None, None))
    found = file.stat().st_size
    if size not in (found, None):
        return f"has {found} bytes instead of {size}"
    with open(file, "rb") as content:
        if algorithm in hashlib.algorithms_available:
            if hashlib.file_digest(content, algorithm).hexdigest() != digest:
                return f"has another checksum than {MANIFEST} says"
        elif found and file.suffix.lower() == ".jp2":
            with mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if (place := data.find(bytes(HOLE))) >= 0:
                    return f"has {HOLE} zeros or more from byte {place} on, as if a part were missing"
    return None


def _stated(manifest: Path) -> dict[str, tuple[int, str, str]]:
    """By file, its size, the name of a checksum as in hashlib, and its value."""
    files = {}
    try:
        streams = list(ElementTree.fromstring(manifest.read_bytes()).iter("byteStream"))
    except ElementTree.ParseError as error:
        raise InputError(f"{MANIFEST} is damaged ({error}); download the product again") from None
    for stream in streams:
        place, checksum = stream.find("fileLocation"), stream.find("checksum")
        if place is not None and checksum is not None and stream.get("size", "").isdigit():
            algorithm = checksum.get("checksumName", "").lower().replace("-", "_")
            href = place.get("href", "").removeprefix("./")
            files[href] = (int(stream.get("size")), algorithm, (checksum.text or "").strip().lower())
    return files


def _read(file: IO[bytes]) -> bytes:
    with file:
        return file.read(MAX_METADATA_BYTES + 1)


def _read_source(name: str, files: _Files) -> Source:
    names = [file for file in files.names if not NOT_OURS.fullmatch(file)]
    matches = [match for match in map(METADATA.fullmatch, names) if match]
    if not matches:
        if any(re.search("(^|/)GRANULE/", file) for file in names):
            raise InputError(f"{name}: has no MTD_MSIL2A.xml, which says what its numbers mean; download it again")
        images = [file for file in names if BAND_FILE.fullmatch(file)]
        return Source("folder", name, _layers(name, files.prefix, images), classification=_classes(files, images))
    if len(matches) > 1:
        paths = few([match[0] for match in matches])
        raise InputError(f"{name}: contains the metadata of more than one product ({paths}); give one product")
    metadata, root, level = matches[0].group(0, 1, 2)
    images = [file for file in names if file.startswith(root) and IMAGE.fullmatch(file.removeprefix(root))]
    layers = _layers(name, files.prefix, images)
    try:
        offsets, quantification, baseline, date = _parse(files.read(metadata), level)
    except (ValueError, TypeError, IndexError, ElementTree.ParseError) as error:
        raise InputError(f"{name}: {metadata} is damaged ({error}); download the product again") from None
    layers = {
        band: replace(layer, offset=offsets.get(band), quantification=quantification) for band, layer in layers.items()
    }
    classes = _classes(files, images)
    return Source(f"Level-{level_of(level)} product", name, layers, level_of(level), baseline, date, classes)


def _classes(files: _Files, images: list[str]) -> Layer | None:
    found = classification.find(images)
    return Layer(files.prefix + found) if found else None


def _layers(name: str, prefix: str, images: list[str]) -> dict[str, Layer]:
    """For each band, its file of the finest resolution."""
    by_band: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for image in images:
        stem = Path(image).stem
        if band := band_of(stem):
            metres = METRES.search(stem)
            by_band[band].append((int(metres[1]) if metres else 0, image))
    if not by_band:
        raise InputError(
            f"{name}: contains no files of bands, such as <name>_B02.tif or <name>_B02_10m.jp2; give a folder with "
            "these, or a GeoTIFF"
        )
    for band, candidates in by_band.items():
        candidates.sort()
        if len(candidates) > 1 and candidates[0][0] in (0, candidates[1][0]):
            both = " and ".join(image for _, image in candidates[:2])
            raise InputError(f"{name}: {band} occurs more than once, as {both}; keep only one scene's files")
    return {band: Layer(prefix + candidates[0][1]) for band, candidates in by_band.items()}


def _parse(content: bytes, level: str) -> tuple[dict[str, float], float | None, str, str | None]:
    """Offsets by band, quantification, processing baseline and date, from a product's MTD_MSI<level>.xml.

    Source: Sentinel-2 Products Specification Document: reflectance = (number + ADD_OFFSET) / QUANTIFICATION_VALUE.
    """
    if len(content) > MAX_METADATA_BYTES:
        raise ValueError(f"it has more than {MAX_METADATA_BYTES} bytes")
    text = content.decode()
    if "<!DOCTYPE" in text:  # nested entities could fill the memory
        raise ValueError("it declares a document type")
    elements = [(element.tag.rpartition("}")[2], element) for element in ElementTree.fromstring(text).iter()]

    def first(*tags: str) -> str | None:
        return next((element.text.strip() for tag, element in elements if tag in tags and element.text), None)

    kind = "BOA" if level == "L2A" else "RADIO"
    offsets = {}
    for tag, element in elements:
        if tag == f"{kind}_ADD_OFFSET":
            offset = -float(element.text)
            if not 0 <= offset <= MAX_OFFSET:
                raise ValueError(f"{tag} is {element.text}")
            offsets[ORDER[int(element.get("band_id"))]] = offset
    quantification = first("QUANTIFICATION_VALUE", "BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
    if quantification is not None and not 0 < float(quantification) < math.inf:
        raise ValueError(f"QUANTIFICATION_VALUE is {quantification}")
    start = first("PRODUCT_START_TIME")
    baseline = first("PROCESSING_BASELINE") or ""
    return offsets, None if quantification is None else float(quantification), baseline, start and start[:10]

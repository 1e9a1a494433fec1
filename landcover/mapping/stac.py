"""Scenes as STAC items.  Source: the STAC specification, versions 1.0 and 1.1, and its eo and raster extensions."""

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import requests

from landcover.archives.source import reason
from landcover.errors import CERTIFICATES, UNTRUSTED, InputError, redact
from landcover.mapping import classification
from landcover.mapping.layers import METRES, REMOTE, Layer, Source, band_of, level_of

TIMEOUT = (15, 60)  # seconds: to connect, and between two reads
CHUNK, MAX_BYTES = 1 << 20, 1 << 24  # hundreds of times the size of an item
# Hosts' own properties for numbers from which the offset was removed, whatever else the item says.
REMOVED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
BASELINE = ("s2:processing_baseline", "processing:version", "sentinel:processing_baseline")
LEVEL = ("processing:level", "s2:product_type", "s2:product_uri", "sentinel:product_id")

PICTURE = re.compile("visual|tci|overview|thumbnail|preview", re.IGNORECASE)  # in an asset's key or roles


def is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def read_source(path: str, bands: Collection[str]) -> Source:
    """The bands of an item, a file or an http(s) URL, with what it says about them.

    Args:
        bands: those that are needed; assets of others are left out where there is anything wrong with them.

    Raises:
        InputError: it cannot be read, is not an item, is of another satellite, or has several assets, or none that can
            be read, for one of the bands.
    """
    name = redact(path).rpartition("/")[2]
    content = _fetch(path) if is_url(path) else Path(path).read_bytes()
    try:
        item = json.loads(content)
        properties, assets = item["properties"], item["assets"]
        name = str(item.get("id") or name)
        by_band = defaultdict(list)
        for key, asset in assets.items():
            for band, rank, layer in _bands(path, key, asset, any(properties.get(word) for word in REMOVED)):
                by_band[band].append((rank, key, layer))
        found = [asset for key, asset in assets.items() if classification.NAME.fullmatch(key)]
        hrefs = [href for href in (_href(path, asset) for asset in found) if _is_readable(href)]
        satellite = str(properties.get("constellation") or properties.get("platform") or "sentinel-2")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"{name}: is not a STAC item ({why}); give an item, not a catalogue or a search result"
        ) from None
    if not re.match(r"sentinel[-_ ]?2", satellite, re.IGNORECASE):
        raise InputError(f"{name}: is of {satellite}, not of Sentinel-2, on which the networks are trained")
    classes = Layer(hrefs[0]) if hrefs else None
    layers = {}
    for band, candidates in by_band.items():
        candidates.sort(key=lambda candidate: candidate[:2])
        (rank, key, layer), *others = candidates
        why = None
        if not _is_readable(layer.path):
            why = f"{redact(layer.path)}: cannot be read; give an item whose assets have http(s) URLs or paths"
        elif others and others[0][0] == rank:
            why = f"{band} occurs more than once, as {key} and {others[0][1]}; keep only one of these assets"
        if why is None:
            layers[band] = layer
        elif band in bands:
            raise InputError(f"{name}: {why}")
    texts = " ".join(str(text) for text in (name, item.get("collection"), *map(properties.get, LEVEL)))
    baseline = next((str(properties[word]) for word in BASELINE if properties.get(word)), "")
    date = str(properties.get("datetime") or "")[:10] or None
    return Source("STAC item", name, layers, level_of(texts), baseline, date, classes)


def _fetch(url: str) -> bytes:
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT) as response:
            response.raise_for_status()
            content = b"".join(itertools.islice(response.iter_content(CHUNK), MAX_BYTES // CHUNK + 1))
    except OSError as error:  # those of requests, and of a file of certificates that is not there
        remedy = UNTRUSTED if CERTIFICATES.search(str(error)) else "check the URL and the network"
        raise InputError(redact(f"{url}: cannot be fetched ({reason(error)}); {remedy}")) from None
    if len(content) > MAX_BYTES:
        raise InputError(redact(f"{url}: has more than {MAX_BYTES} bytes, too many for a STAC item; check the URL"))
    return content


def _bands(path: str, key: str, asset: dict[str, Any], removed: bool) -> Iterator[tuple[str, tuple, Layer]]:
    """The bands of an asset, each with a rank; the lowest rank is preferred."""
    if PICTURE.search(" ".join([key, *(asset.get("roles") or [])])):
        return
    entries = asset.get("bands") or asset.get("eo:bands") or [{}]
    rasters = asset.get("raster:bands") or [{}] * len(entries)
    for position, (entry, raster) in enumerate(zip(entries, rasters, strict=False)):
        texts = [entry.get("name"), entry.get("common_name"), entry.get("eo:common_name")]
        texts += [key] if len(entries) == 1 else []
        names = {band_of(str(text)) for text in texts if text} - {None}
        if len(names) != 1:  # none, or another sensor's, whose B05 is near infrared
            continue
        metres = METRES.search(key)
        size = float(metres[1] if metres else raster.get("spatial_resolution") or asset.get("gsd") or 0)
        href, is_jp2 = _href(path, asset), "jp2" in str(asset.get("type"))
        rank = (not _is_readable(href), len(entries) > 1, is_jp2, size)
        scale, offset = _number("scale", raster, entry, asset), _number("offset", raster, entry, asset)
        layer = Layer(
            href,
            position + 1,
            offset=0.0 if removed and not is_jp2 else None,  # hosts remove it from their COGs, not from ESA's own files
            scale=None if scale is None and offset is None else (1.0 if scale is None else scale, offset),
        )
        yield names.pop(), rank, layer


def _number(word: str, *parts: dict[str, Any]) -> float | None:
    """A number from the first part that has it, under its name in STAC 1.0 or 1.1."""
    values = (part.get(name) for part in parts for name in (word, f"raster:{word}"))
    return next((float(number) for number in values if number is not None), None)


def _href(path: str, asset: dict[str, Any]) -> str:
    """The first of an asset's links that can be read, as GDAL opens it; if none can, the first."""
    links = [asset, *asset.get("alternate", {}).values()]
    paths = [_resolve(path, link["href"]) for link in links]
    return next(filter(_is_readable, paths), paths[0])


def _is_readable(path: str) -> bool:
    return path.startswith(REMOTE) or "://" not in path


def _resolve(path: str, href: str) -> str:
    """A link as GDAL opens it; with its scheme if it is neither http(s) nor, in an item on this disk, a file."""
    address = urljoin(path, href) if is_url(path) else href
    if is_url(address):
        return f"{REMOTE}{address}"
    if is_url(path) or ("://" in address and not address.startswith("file://")):
        return address
    return str(Path(path).parent / (url2pathname(urlsplit(address).path) if "://" in address else address))

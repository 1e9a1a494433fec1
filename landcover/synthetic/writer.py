"""The samples: synthetic ben-ge archives, with the same bytes on any machine and without a download."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from struct import pack, pack_into, unpack_from

import numpy as np
import pandas as pd
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.warp import transform
from tqdm import tqdm

from landcover.archives import archive
from landcover.constants import (
    CLASSES,
    LEVEL_2A_BANDS,
    METRES_PER_PIXEL,
    NODATA,
    PATCH_METRES,
    PATCH_SIZE,
    REFLECTANCE_SCALE,
    SAMPLES,
    WORLDCOVER_CODES,
)
from landcover.synthetic.covers import COVERS, SPECTRAL_COVERS, Cover, render
from landcover.synthetic.landscape import (
    ACQUISITIONS,
    BIOMES,
    GROUNDS,
    RADAR,
    Patch,
    class_map,
    elevation,
    make_landscape,
    place,
    season,
)
from landcover.synthetic.noise import generator, noise
from landcover.synthetic.radar import POLARIZATIONS, backscatter
from landcover.synthetic.weather import pressure_level

# The covers and the seed of each sample: the first two seeds with which every class but mangroves occurs at least twice
# in each part of 500, 150 and 150 rows.
LOOKS = dict(zip(SAMPLES, [(COVERS, 4), (SPECTRAL_COVERS, 13)], strict=True))
SIXTEENTHS = {"train": 10, "val": 3, "test": 3}  # of the rows, by split: 500 / 150 / 150 of 800

# BigEarthNet's labels are CORINE's classes.
CORINE = {
    "tree_cover": "Mixed forest",
    "shrubland": "Transitional woodland/shrub",
    "grassland": "Pastures",
    "cropland": "Non-irrigated arable land",
    "built-up": "Discontinuous urban fabric",
    "bare/sparse_vegetation": "Sparsely vegetated areas",
    "snow_and_ice": "Glaciers and perpetual snow",
    "permanent_water_bodies": "Water bodies",
    "herbaceous_wetland": "Inland marshes",
    "moss_and_lichen": "Moors and heathland",
}
STRIP_OFFSETS, STRIP_BYTE_COUNTS = 273, 279  # tags of TIFF
LABELLED = 0.1  # share of a patch from which on a class is among its labels
README = """\
{name}: a synthetic dataset in the layout of ben-ge. A program generated it; no satellite has seen it.

{name}_meta.csv
    ids, times, seasons (0: winter solstice, 1: summer solstice), longitude and latitude, climate zone
{name}_esaworldcover.csv
    the share of each class
{name}_era-5.csv
    pressure level (mbar), temperature (K), wind (m/s) and relative humidity (%) when each sensor passed
splits/
    the ids of the train, val and test splits
sentinel-2/<patch_id>/
    twelve bands: uint16, reflectance times 10000; labels and position
sentinel-1/<patch_id_s1>/
    VV and VH: float32, dB; labels and position
dem/<patch_id>_dem.tif
    elevation: int16, metres
esaworldcover/<patch_id>_esaworldcover.tif
    land cover: uint8, codes of ESA WorldCover

Sentinel-1 passed on other days, and its ids sort differently. Join it by patch_id_s1 of the meta table, and all else by
patch_id.
"""


def sense(scene: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Each band as seen by the sensor: area means on its own grid, noise, whole numbers."""
    for fine, (band, metres) in zip(scene, LEVEL_2A_BANDS.items(), strict=True):
        step = metres * PATCH_SIZE // PATCH_METRES
        # Summed one by one, because the order of numpy's mean is not specified.
        mean = sum(fine[i::step, j::step] for i in range(step) for j in range(step)) / (step * step)
        noisy = mean + noise(rng, *mean.shape) * (8 + np.float32(0.01) * mean)
        yield band, np.clip(np.rint(noisy), NODATA + 1, 2 * REFLECTANCE_SCALE).astype("<u2")


def _gdal(pixels: np.ndarray, **profile: object) -> bytes:
    side = len(pixels)
    profile |= {"width": side, "height": side, "count": 1, "dtype": pixels.dtype, "blockysize": side}
    with MemoryFile() as file:
        with file.open(driver="GTiff", **profile) as tile:
            tile.write(pixels, 1)
        return file.read()


def _position_of(tiff: bytes, tag: int) -> int:
    """Where a TIFF has the value of a tag that is one LONG."""
    return tiff.index(pack("<HHI", tag, 4, 1)) + 8


def _split(tiff: bytes) -> tuple[bytes, bytes]:
    """A TIFF's header, and the only strip of pixels, which follows it."""
    (start,) = unpack_from("<I", tiff, _position_of(tiff, STRIP_OFFSETS))
    return tiff[:start], tiff[start:]


@cache
def _header(dtype: np.dtype, side: int, epsg: int, **compression: object) -> tuple[bytes, int, int]:
    """What tiles have in common: their header, and where it has the corner and the size of the strip.

    GDAL takes longer to write a coordinate system than the pixels take to compute and compress.
    """
    corner = 123456.0, 7654321.0
    grid = Affine(PATCH_METRES / side, 0, corner[0], 0, -PATCH_METRES / side, corner[1])
    tile = _gdal(np.zeros((side, side), dtype), crs=_crs(epsg), transform=grid, **compression)
    header, _ = _split(tile)
    return header, header.index(pack("<2d", *corner)), _position_of(header, STRIP_BYTE_COUNTS)


def _geotiff(pixels: np.ndarray, patch: Patch, **compression: object) -> bytes:
    """`compression` is GDAL's; among its methods, LZW has the same bytes on any machine, and deflate does not."""
    header, corner, size = _header(pixels.dtype, len(pixels), patch.land.epsg, **compression)
    strip = pixels.tobytes()
    if compression:
        _, strip = _split(_gdal(pixels, transform=Affine.scale(METRES_PER_PIXEL), **compression))
    header = bytearray(header)
    pack_into("<2d", header, corner, *patch.corner)
    pack_into("<I", header, size, len(strip))
    return bytes(header + strip)


@cache
def _crs(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)


def _labels(patch: Patch, fractions: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """BigEarthNet's description of a patch for each sensor."""
    left, top = patch.corner
    content = {
        "labels": [CORINE[name] for name, share in zip(CLASSES, fractions, strict=True) if share >= LABELLED],
        "coordinates": {"ulx": left, "uly": top, "lrx": left + PATCH_METRES, "lry": top - PATCH_METRES},
        "projection": _crs(patch.land.epsg).to_wkt(),
    }
    product = patch.id.rsplit("_", 2)[0].replace("L2A", "L1C")
    s2 = {"tile_source": f"{product}_T{patch.land.tile}.SAFE", "acquisition_date": str(patch.land.taken)}
    s1 = {"corresponding_s2_patch": patch.id, "scene_source": patch.id_s1.rsplit("_", 3)[0]}
    s1 |= {"acquisition_time": f"{patch.land.taken_s1:%Y-%m-%dT%H:%M:%S}"}
    for folder, name, more in (("sentinel-2", patch.id, s2), ("sentinel-1", patch.id_s1, s1)):
        yield f"{folder}/{name}/{name}_labels_metadata.json", json.dumps(content | more).encode()


def _weather(patch: Patch, height: float) -> dict[str, object]:
    """A row of the table of weather, at the patch's mean elevation in metres."""
    row = {"patch_id": patch.id, "patch_id_s1": patch.id_s1, "atmpressure_level": pressure_level(height)}
    for sensor, weather in (("s2", patch.land.weather), ("s1", patch.land.weather_s1)):
        east, north = weather.wind
        values = {"temperature": weather.temperature_at(height), "wind-u": east, "wind-v": north}
        values |= {"relhumidity": weather.humidity}
        row |= {f"{name}_{sensor}": round(value, 3) for name, value in values.items()}
    return row


def _meta(patch: Patch) -> dict[str, object]:
    """A row of the meta table."""
    x, y = patch.corner[0] + PATCH_METRES / 2, patch.corner[1] - PATCH_METRES / 2
    (lon,), (lat,) = transform(f"EPSG:{patch.land.epsg}", "EPSG:4326", [x], [y])
    return {
        "patch_id": patch.id,
        "patch_id_s1": patch.id_s1,
        "timestamp_s2": patch.land.taken,
        "timestamp_s1": patch.land.taken_s1,
        "season_s2": season(patch.land.taken),
        "season_s1": season(patch.land.taken_s1),
        "lon": round(lon, 5),
        "lat": round(lat, 5),
        "climatezone": BIOMES[GROUNDS[patch.land.ground][-1]][0],
    }


def _members(name: str, covers: dict[str, Cover], patches: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """The archive's files, one patch at a time."""
    lands = [make_landscape(seed, number) for number in range(min(patches, len(ACQUISITIONS)))]
    order = generator(seed).permutation(patches).tolist()
    rows = [place(lands[i % len(ACQUISITIONS)], i // len(ACQUISITIONS)) for i in order]
    yield f"{name}_meta.csv", pd.DataFrame(map(_meta, rows)).to_csv(index=False).encode()
    start, share = 0, 0
    for split, sixteenths in SIXTEENTHS.items():
        share += sixteenths
        stop = -(-patches * share // 16)
        yield f"splits/{name}_{split}.csv", "".join(f"{patch.id}\n" for patch in rows[start:stop]).encode()
        start = stop

    yield "README", README.format(name=name).encode()

    fractions, heights = {}, []
    for patch in tqdm(rows, desc="sample", unit="patch", disable=None):
        # The map depends on the ground, not on the date.
        classes = class_map(patch, generator(seed, patch.land.ground, patch.column, patch.row))
        rng = generator(seed, len(GROUNDS) + patch.land.number, patch.column, patch.row)
        fractions[patch.id] = np.bincount(classes.ravel(), minlength=len(CLASSES)) / classes.size
        for band, pixels in sense(render(patch, classes, covers, rng), rng):
            yield f"sentinel-2/{patch.id}/{patch.id}_{band}.tif", _geotiff(pixels, patch)
        s2_labels, s1_labels = _labels(patch, fractions[patch.id])
        yield s2_labels
        codes = np.uint8(WORLDCOVER_CODES)[classes]
        yield f"esaworldcover/{patch.id}_esaworldcover.tif", _geotiff(codes, patch)

        metres = elevation(patch, classes)
        rng = generator(seed, RADAR + patch.land.number, patch.column, patch.row)
        for polarization, decibels in zip(POLARIZATIONS, backscatter(patch, classes, metres, rng), strict=True):
            radar = f"sentinel-1/{patch.id_s1}/{patch.id_s1}_{polarization}.tif"
            yield radar, _geotiff(decibels, patch, compress="lzw", predictor=3)
        yield s1_labels
        metres = np.rint(metres).astype("int16")
        heights.append(int(metres.sum(dtype=int)) / metres.size)
        yield f"dem/{patch.id}_dem.tif", _geotiff(metres, patch, compress="lzw", predictor=2)

    # In the order of the meta table, so that the notebook, which joins by row, reads the same labels.
    cover = pd.DataFrame.from_dict(fractions, orient="index", columns=CLASSES).rename_axis("patch_id")
    yield f"{name}_esaworldcover.csv", cover.to_csv().encode()
    weather = pd.DataFrame(map(_weather, rows, heights))
    yield f"{name}_era-5.csv", weather.to_csv(index=False).encode()


def write_sample(path: Path, source: str = SAMPLES[0], *, patches: int = 800, seed: int | None = None) -> None:
    """Write a sample as a tar, with all that ben-ge has: bands, radar, elevation and maps, tables and split files.

    A smaller sample is a subset of a larger one with the same seed: the same tiles, with the rows in another order.

    Args:
        source: which of SAMPLES.
        patches: 1 to 81,000, half of what the acquisitions hold, since two share one tile.
        seed: by default the sample's own.
    """
    covers, own_seed = LOOKS[source]
    root = f"ben-ge-{source}"
    members = _members(root, covers, patches, own_seed if seed is None else seed)
    with rasterio.Env():  # else each tile would set one up
        archive.write(path, ((f"{root}/{name}", content) for name, content in members))

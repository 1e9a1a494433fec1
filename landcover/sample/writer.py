"""The samples: synthetic ben-ge archives, with the same bytes on any machine and without a download."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from struct import pack

import numpy as np
import pandas as pd
from rasterio import Affine
from rasterio.io import MemoryFile
from rasterio.warp import transform
from tqdm import tqdm

from landcover.dataset import archive
from landcover.ground.benge import BANDS, CLASSES, NODATA, PATCH_METRES, PATCH_SIZE, REFLECTANCE_SCALE, WORLDCOVER_CODES
from landcover.ground.params import SAMPLES
from landcover.sample.covers import COVERS, SPECTRAL_COVERS, Cover, render
from landcover.sample.landscape import (
    ACQUISITIONS,
    BIOMES,
    GRID,
    GROUNDS,
    Patch,
    class_map,
    make_landscape,
    place,
    season,
)
from landcover.sample.noise import generator, noise

# The covers and the seed of each sample: the first two seeds with which every class but mangroves occurs at least twice
# in each part of 500, 150 and 150 rows.
LOOKS = dict(zip(SAMPLES, [(COVERS, 4), (SPECTRAL_COVERS, 13)], strict=True))
SPLITS = {"train": 10, "val": 3, "test": 3}  # in sixteenths of the rows: 500 / 150 / 150 of 800


def sense(scene: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Each band as seen by the sensor: area means on its own grid, noise, whole numbers."""
    for light, (band, metres) in zip(scene, BANDS.items(), strict=True):
        step = metres * PATCH_SIZE // PATCH_METRES
        # Summed one by one, because the order of numpy's mean is not specified.
        mean = sum(light[i::step, j::step] for i in range(step) for j in range(step)) / (step * step)
        noisy = mean + noise(rng, *mean.shape) * (8 + np.float32(0.01) * mean)
        yield band, np.clip(np.rint(noisy), NODATA + 1, 2 * REFLECTANCE_SCALE).astype("<u2")


@cache
def _template(dtype: str, side: int, epsg: int) -> tuple[bytes, bytes, bytes]:
    """The bytes that tiles have in common: before the corner, from there to the pixels, and after them.

    GDAL takes a millisecond to write a tile, longer than its pixels take to compute.
    """
    corner, pixels = (123456.0, 7654321.0), np.arange(side * side).astype(dtype)
    grid = Affine(PATCH_METRES / side, 0, corner[0], 0, -PATCH_METRES / side, corner[1])
    shape = {"width": side, "height": side, "count": 1, "dtype": dtype, "blockysize": side}
    with MemoryFile() as file:
        with file.open(driver="GTiff", **shape, crs=f"EPSG:{epsg}", transform=grid) as tile:
            tile.write(pixels.reshape(1, side, side))
        before, _, rest = file.read().partition(pack("<2d", *corner))
    between, _, after = rest.partition(pixels.tobytes())
    return before, between, after


def _geotiff(pixels: np.ndarray, patch: Patch) -> bytes:
    before, between, after = _template(pixels.dtype.name, len(pixels), patch.land.epsg)
    return before + pack("<2d", *patch.corner) + between + pixels.tobytes() + after


def _meta(patch: Patch) -> dict[str, object]:
    """A row of the meta table."""
    x, y = patch.corner[0] + PATCH_METRES / 2, patch.corner[1] - PATCH_METRES / 2
    (lon,), (lat,) = transform(f"EPSG:{patch.land.epsg}", "EPSG:4326", [x], [y])
    return {
        "patch_id": patch.id,
        "patch_id_s1": patch.id_s1,
        "timestamp_s2": patch.land.taken,
        "timestamp_s1": patch.taken_s1,
        "season_s2": season(patch.land.taken),
        "season_s1": season(patch.taken_s1),
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
    for split, sixteenths in SPLITS.items():
        share += sixteenths
        stop = -(-patches * share // 16)
        yield f"splits/{name}_{split}.csv", "".join(f"{patch.id}\n" for patch in rows[start:stop]).encode()
        start = stop

    fractions = {}
    for patch in tqdm(rows, desc="sample", unit="patch", disable=None):
        # The map depends on the ground, not on the date.
        classes = class_map(patch, generator(seed, patch.land.ground, patch.column, patch.row))
        rng = generator(seed, len(GROUNDS) + patch.land.number, patch.column, patch.row)
        fractions[patch.id] = np.bincount(classes.ravel(), minlength=len(CLASSES)) / classes.size
        for band, pixels in sense(render(patch, classes, covers, rng), rng):
            yield f"sentinel-2/{patch.id}/{patch.id}_{band}.tif", _geotiff(pixels, patch)
        codes = np.uint8(WORLDCOVER_CODES)[classes]
        yield f"esaworldcover/{patch.id}_esaworldcover.tif", _geotiff(codes, patch)

    # In the order of the meta table, so that the notebook, which joins by row, reads the same labels.
    cover = pd.DataFrame.from_dict(fractions, orient="index", columns=CLASSES).rename_axis("patch_id")
    yield f"{name}_esaworldcover.csv", cover.to_csv().encode()


def write_sample(path: Path, source: str = SAMPLES[0], *, patches: int = 800, seed: int | None = None) -> None:
    """Write a sample as a .tar.gz: twelve bands and a WorldCover map per patch, the tables, the split files.

    A smaller sample is a subset of a larger one with the same seed: the same tiles, with the rows in another order.

    Args:
        source: which of SAMPLES.
        seed: by default the sample's own.

    Raises:
        ValueError: `patches` is less than 1, or more than the acquisitions hold.
    """
    most = len(ACQUISITIONS) * GRID * GRID // 2  # since two acquisitions share one tile
    if not 1 <= patches <= most:
        raise ValueError(f"cannot write {patches} patches; choose from 1 to {most}")
    covers, own_seed = LOOKS[source]
    root = f"ben-ge-{source}"
    members = _members(root, covers, patches, own_seed if seed is None else seed)
    archive.write(path, ((f"{root}/{name}", content) for name, content in members))

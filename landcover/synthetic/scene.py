"""A synthetic scene for trying out predictions: one GeoTIFF with all bands, and the truth beside it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from landcover.constants import (
    LEVEL_2A_BANDS,
    METRES_PER_PIXEL,
    NODATA,
    PATCH_SIZE,
    REFLECTANCE_SCALE,
    SAMPLES,
    WORLDCOVER_CODES,
)
from landcover.files import replacing
from landcover.synthetic.covers import render
from landcover.synthetic.landscape import (
    ACQUISITIONS,
    BIOMES,
    CELL,
    GROUNDS,
    REGION,
    Patch,
    class_map,
    draw_lattice,
    make_landscape,
)
from landcover.synthetic.noise import generator, smooth
from landcover.synthetic.writer import LOOKS, sense

SCENE, TRUTH = "scene.tif", "truth.tif"
SOUTHWARDS = ("mountain", "lowland", "atlantic")  # the biomes, which together have every class but mangroves
ACQUISITION = 6  # of the sample: the scene has its light, haze and parcels
EPSG, CORNER = 32632, (660_000, 5_240_040)  # away from the sample's patches
# In the default scene, each class but mangroves is the most prevalent in at least two windows, and windows are as pure
# as the patches of the sample.
SEED = 87


def _cells(rng: np.random.Generator, side: int) -> np.ndarray:
    """A class lattice in which one biome follows another, (side, side)."""
    lattices = [draw_lattice(rng, BIOMES[name][1])[:side, :side] for name in SOUTHWARDS]
    aside = rng.integers(0, REGION // 2, (side, side))  # ragged borders, as between regions
    return np.choose((np.arange(side)[:, None] + aside) * len(SOUTHWARDS) // (side + REGION // 2), lattices)


def _stands(rng: np.random.Generator, size: int) -> np.ndarray:
    """Stands about as large as a patch, with wavy borders: their numbers, (size, size)."""
    across = size // PATCH_SIZE
    places = np.indices((size, size)) + smooth(rng, 40, size) * np.float32(12)
    row, column = np.clip(places // PATCH_SIZE, 0, across - 1).astype(int)
    return row * across + column


def _on_grid(pixels: np.ndarray, size: int) -> np.ndarray:
    """A band on the finest band's grid, resampled like a patch."""
    if len(pixels) == size:
        return pixels
    with MemoryFile() as file:
        side = len(pixels)
        profile = {"driver": "GTiff", "count": 1, "dtype": pixels.dtype, "transform": Affine.scale(size / side)}
        with file.open(**profile, width=side, height=side) as band:
            band.write(pixels, 1)
        with file.open() as band:
            return band.read(1, out_shape=(size, size), resampling=Resampling.bilinear)


def lay_out(source: str = SAMPLES[0], patches: int = 10) -> tuple[Patch, np.ndarray, np.random.Generator]:
    """The scene, its classes as indices into CLASSES, (size, size), and its random generator."""
    rng = generator(SEED, len(GROUNDS) + len(ACQUISITIONS))
    _, own_seed = LOOKS[source]
    cells = _cells(rng, patches * PATCH_SIZE // CELL + 2)
    land = replace(make_landscape(own_seed, ACQUISITION), epsg=EPSG, origin=CORNER, cells=cells)
    scene = Patch(land, 0, 0, patches * PATCH_SIZE)
    return scene, class_map(scene, rng), rng


def write_scene(folder: Path, source: str = SAMPLES[0], *, patches: int = 10) -> None:
    """Write scene.tif, the digital numbers of all bands at 10 m, and truth.tif, the classes as WorldCover's codes.

    The land is made like the sample's, and looks as on one of its dates: mountains in the north, a coast in the south.
    The bytes are the same on every machine.

    Args:
        source: one of SAMPLES.
        patches: along each side, of 1.2 km each, 1 to 90.
    """
    scene, classes, rng = lay_out(source, patches)
    covers, _ = LOOKS[source]
    bands = render(scene, classes, covers, rng, _stands(rng, scene.size))

    left, top = scene.corner
    grid = Affine(METRES_PER_PIXEL, 0, left, 0, -METRES_PER_PIXEL, top)
    profile = {"driver": "GTiff", "width": scene.size, "height": scene.size, "crs": f"EPSG:{scene.land.epsg}"}
    profile |= {"transform": grid, "nodata": NODATA}
    with replacing(folder / TRUTH) as part, rasterio.open(part, "w", **profile, count=1, dtype="uint8") as raster:
        raster.write(np.uint8(WORLDCOVER_CODES)[classes], 1)
    # Not compressed, since compressors differ between builds.
    profile |= {"count": len(LEVEL_2A_BANDS), "dtype": "uint16", "interleave": "band"}
    with replacing(folder / SCENE) as part, rasterio.open(part, "w", **profile) as raster:
        raster.descriptions = tuple(LEVEL_2A_BANDS)
        raster.scales = [1 / REFLECTANCE_SCALE] * len(LEVEL_2A_BANDS)
        for number, (_, pixels) in enumerate(sense(bands, rng), 1):
            raster.write(_on_grid(pixels, scene.size), number)

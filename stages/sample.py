"""The sample: a synthetic ben-ge archive, the same to the byte anywhere, that needs no network.

A landscape is a lattice of classes per acquisition: regions of a main and a second class, with islands of
others. Interpolated, it gives continuous maps, so that neighbouring patches are alike as in nature, and a
random split leaks. On the map lies each class's spectrum, varied by texture, relief, season, haze, cloud and
sensor noise. The vegetated classes share their range of values, so that it is mostly their structure that
tells them apart.

Pixels come of exactly rounded operations only (+ - * /, sqrt, integers): numpy's exp or sin, and the order in
which BLAS adds, differ from one CPU to another in the last bit, and with it a digital number.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from struct import pack

import numpy as np
import pandas as pd
from rasterio import Affine
from rasterio.io import MemoryFile
from rasterio.warp import transform
from scipy.ndimage import uniform_filter

from stages import archive
from stages.benge import BANDS, CLASSES, NODATA, PATCH_METRES, PATCH_SIZE, REFLECTANCE_SCALE, WORLDCOVER_CODES

NAME = "ben-ge-sample"
SPLITS = {"train": 10, "val": 3, "test": 3}  # in sixteenths of the rows: 500 / 150 / 150 of 800

# Koeppen-Geiger class (Beck et al. 2018) and how much of the land each class takes.
BIOMES = {
    "lowland": (15, {"cropland": 44, "grassland": 21, "tree_cover": 19, "built-up": 15,
                     "permanent_water_bodies": 7}),
    "atlantic": (15, {"grassland": 44, "tree_cover": 16, "cropland": 14, "built-up": 6,
                      "permanent_water_bodies": 17, "herbaceous_wetland": 13, "shrubland": 4}),
    "continental": (26, {"cropland": 33, "tree_cover": 39, "grassland": 17, "built-up": 9, "shrubland": 3}),
    "mediterranean": (8, {"tree_cover": 26, "shrubland": 17, "cropland": 29, "grassland": 10, "built-up": 6,
                          "bare/sparse_vegetation": 6, "permanent_water_bodies": 11}),
    "boreal": (27, {"tree_cover": 56, "permanent_water_bodies": 31, "herbaceous_wetland": 12,
                    "moss_and_lichen": 4}),
    "mountain": (29, {"tree_cover": 32, "grassland": 26, "bare/sparse_vegetation": 14, "moss_and_lichen": 16,
                      "snow_and_ice": 8, "shrubland": 4}),
}  # fmt: skip

# Acquisition, UTM zone (north), 100 km square of the tile's upper left corner (easting, northing), biome.
ACQUISITIONS = (
    ("S2A_MSIL2A_20170613T101031", 33, 4, 54, "continental"),
    ("S2A_MSIL2A_20170617T113321", 29, 6, 59, "atlantic"),
    ("S2A_MSIL2A_20170701T93031", 35, 5, 69, "boreal"),
    ("S2B_MSIL2A_20170709T094029", 34, 5, 62, "continental"),
    ("S2A_MSIL2A_20170717T113321", 29, 5, 43, "mediterranean"),
    ("S2B_MSIL2A_20170729T103019", 32, 4, 52, "mountain"),
    ("S2A_MSIL2A_20170803T105031", 31, 6, 57, "lowland"),
    ("S2B_MSIL2A_20170818T112109", 29, 5, 46, "mediterranean"),
    ("S2B_MSIL2A_20170824T095029", 35, 4, 76, "boreal"),
    ("S2A_MSIL2A_20170905T104021", 31, 5, 57, "lowland"),
    ("S2B_MSIL2A_20170924T93020", 34, 4, 50, "lowland"),
    ("S2A_MSIL2A_20171002T112112", 29, 6, 42, "mediterranean"),
    ("S2B_MSIL2A_20171016T101009", 33, 3, 53, "mountain"),
    ("S2A_MSIL2A_20171121T114351", 29, 5, 60, "atlantic"),
    ("S2A_MSIL2A_20180225T104021", 31, 6, 56, "lowland"),
    ("S2B_MSIL2A_20180327T093029", 34, 5, 49, "continental"),
    ("S2B_MSIL2A_20180417T102019", 32, 5, 53, "mountain"),
    ("S2A_MSIL2A_20180502T094031", 34, 5, 68, "boreal"),
    ("S2B_MSIL2A_20180511T093039", 34, 5, 47, "continental"),
    ("S2B_MSIL2A_20180521T113319", 29, 4, 59, "atlantic"),
)
GRID = 90  # patches along a side of an acquisition
CLUSTER = (5, 2)  # columns and rows of adjacent patches; an acquisition's patches come in such clusters
CELL = 24  # pixels along a side of a cell of the class lattice: five cells a patch
REGION = 12  # cells along a side of a region
CROPLAND = CLASSES.index("cropland")

# How a dry season or spot changes each band, in the order of BANDS: near infrared down, the rest up.
DRYNESS = np.float32([0.2, 0.25, 0.2, 0.55, 0.3, -0.1, -0.2, -0.22, -0.22, -0.2, 0.35, 0.45])[:, None]
# Haze scatters blue light most; clouds are white, up to the bands that water vapour and ice absorb.
HAZE = np.float32([1.0, 0.85, 0.65, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.05, 0.0])[:, None, None]
CLOUD = np.float32([8200, 8300, 8100, 8300, 8400, 8500, 8600, 8700, 8700, 5000, 4700, 3600])[:, None, None]


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def _noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Nearly normal, of mean 0 and variance 1: four uniforms added, which need no logarithm."""
    a, b, c, d = rng.random((4, *shape), dtype=np.float32)
    return (a + b + c + d - 2) * np.float32(math.sqrt(3))


def _spline(knots: np.ndarray, step: int) -> np.ndarray:
    """Quadratic B-spline surface: knots (..., m + 2, n + 2) -> pixels (..., m * step, n * step)."""
    t = (np.arange(step, dtype=np.float32)[:, None] + np.float32(0.5)) / step
    weights = (1 - t) * (1 - t) / 2, t * (1 - t) + np.float32(0.5), t * t / 2
    for _ in range(2):  # rows, then columns
        count = knots.shape[-2] - 2
        rows = sum(weight * knots[..., i : i + count, None, :] for i, weight in enumerate(weights))
        knots = rows.reshape(*knots.shape[:-2], count * step, -1).swapaxes(-1, -2)
    return knots


@dataclass(frozen=True)
class Landscape:
    """What the patches of one acquisition have in common."""

    number: int  # in ACQUISITIONS
    epsg: int
    origin: tuple[int, int]  # upper left corner, easting and northing in metres
    season: float  # ben-ge's encoding: 0 at the winter solstice, 1 at the summer solstice
    clusters: np.ndarray  # the order in which clusters are taken
    cells: np.ndarray  # class lattice, (452, 452)
    relief: np.ndarray  # brightness, dryness and cloud, a knot a patch, (3, 92, 92)
    rotation: tuple[int, int, int]  # of parcels and streets: a Pythagorean triple
    parcel: tuple[int, int]  # breadth and length, in pixels
    offsets: np.ndarray  # of each strip of parcels, (64,)
    parcels: np.ndarray  # brightness and dryness of each, (2, 64, 64), repeated
    gain: np.ndarray  # (12, 1, 1)
    haze: float  # DN in B01


@dataclass(frozen=True)
class Patch:
    """A patch's place in a landscape."""

    land: Landscape
    column: int
    row: int

    @property
    def id(self) -> str:
        return f"{ACQUISITIONS[self.land.number][0]}_{self.column}_{self.row}"

    @property
    def corner(self) -> tuple[int, int]:
        """Easting and northing of the upper left corner, in metres."""
        easting, northing = self.land.origin
        return easting + self.column * PATCH_METRES, northing - self.row * PATCH_METRES

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates along and across the direction of parcels and streets, two of (120, 120)."""
        a, b, c = self.land.rotation
        x = np.arange(PATCH_SIZE) + self.column * PATCH_SIZE
        y = np.arange(PATCH_SIZE)[:, None] + self.row * PATCH_SIZE
        return (a * x + b * y) // c, (a * y - b * x) // c

    def fields(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates in a brick bond of parcels, and the parcel's number, three of (120, 120)."""
        along, across = self.axes()
        breadth, length = self.land.parcel
        strip = across // breadth & 63
        along = along + self.land.offsets[strip]
        return along, across, strip * 64 + (along // length & 63)


# Textures: (patch, rng) -> brightness and dryness, of mean 0 and variance 1 or nearly so, (2, 120, 120).


def _smooth(rng: np.random.Generator, step: int, count: int = 2) -> np.ndarray:
    side = PATCH_SIZE // step + 2
    return _spline(_noise(rng, count, side, side), step) * np.float32(1.8)


def _grain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    noise = _noise(rng, 2, PATCH_SIZE, PATCH_SIZE)
    return uniform_filter(noise, (1, height, width), mode="wrap") * np.float32(math.sqrt(height * width))


def _canopy(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Crowns of about 30 m, bright towards the sun and shadowed away from it."""
    crowns = _grain(rng, 3, 3)
    crowns[0] = (crowns[0] - np.roll(crowns[0], (2, 2), (0, 1))) * np.float32(0.71)
    return crowns


def _clumps(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Dark shrubs, sparse on brighter ground."""
    grain = _grain(rng, 5, 5)
    shrub, ground = np.float32([-1.6, -1.2])[:, None, None], np.float32([0.5, 0.4])[:, None, None]
    return np.where(grain[0] > np.float32(0.7), shrub, ground) + grain * np.float32(0.3)


def _meadow(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    return _smooth(rng, 24) * np.float32(0.95) + _smooth(rng, 5) * np.float32(0.3)


def _parcels(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Fields, each of one brightness and dryness, with furrows and dark borders."""
    along, across, fields = patch.fields()
    breadth, length = patch.land.parcel
    parcels = patch.land.parcels.reshape(2, -1)[:, fields]
    furrows = np.where(parcels[1] > 0, across, along) % 5 < 2
    parcels[0] = parcels[0] * np.float32(0.95) + np.where(furrows, np.float32(-0.3), np.float32(0.2))
    parcels[0] -= (across % breadth == 0) | (along % length == 0)
    return parcels


def _streets(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Roofs, a few of them very bright, in blocks between straight streets."""
    along, across = patch.axes()
    roofs = patch.land.parcels[:, across // 3 & 63, along // 4 & 63]
    roofs[0] = roofs[0] * np.float32(1.5) + np.maximum(6 * roofs[0] - 9, 0)
    street = np.float32([-1, 0.3])[:, None, None]
    return np.where((along % 15 < 2) | (across % 11 < 2), street, roofs)


def _ridges(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Rock: sharp valleys between slopes."""
    slopes = np.abs(_smooth(rng, 12)) + np.abs(_smooth(rng, 6)) / 2
    return (slopes - np.float32(1.2)) * np.float32(1.5)


def _ripples(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    return _grain(rng, 2, 4)


def _channels(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Winding dark channels in reed."""
    course, bright, dry = _smooth(rng, 20, count=3)
    channel = np.abs(course) < np.float32(0.22)
    bright = bright * np.float32(0.5) + np.float32(0.4)
    return np.stack([np.where(channel, np.float32(-2.6), bright), np.where(channel, np.float32(-1), dry)])


def _mottles(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    return _smooth(rng, 6)


@dataclass(frozen=True)
class Cover:
    """How a class looks: digital numbers in the order of BANDS, its texture, the texture's two contrasts."""

    spectrum: tuple[int, ...]
    texture: Callable[[Patch, np.random.Generator], np.ndarray]
    brightness: float = 0.24
    dryness: float = 0.4


# Mangroves do not grow in Europe: their column in the table stays zero.
COVERS = {
    "tree_cover": Cover((250, 280, 480, 340, 800, 1750, 2100, 2230, 2350, 2400, 1400, 720), _canopy),
    "shrubland": Cover((330, 380, 600, 560, 980, 1750, 2050, 2180, 2300, 2350, 2000, 1200), _clumps),
    "grassland": Cover((300, 340, 640, 430, 1020, 2250, 2750, 2900, 3050, 3100, 1800, 950), _meadow),
    "cropland": Cover((350, 410, 700, 560, 1120, 2450, 3050, 3250, 3350, 3400, 2100, 1200), _parcels),
    "built-up": Cover((750, 880, 1080, 1150, 1450, 2000, 2250, 2350, 2450, 2500, 2300, 1850),
                      _streets, brightness=0.27, dryness=0.3),
    "bare/sparse_vegetation": Cover((600, 750, 1020, 1220, 1500, 1950, 2150, 2300, 2400, 2450, 2700, 2200),
                                    _ridges, brightness=0.25, dryness=0.2),
    "snow_and_ice": Cover((7800, 8000, 7900, 7800, 7700, 7500, 7400, 7300, 7200, 7100, 900, 700),
                          _meadow, brightness=0.1, dryness=0.03),
    "permanent_water_bodies": Cover((230, 190, 170, 90, 80, 60, 55, 42, 36, 30, 20, 15),
                                    _ripples, brightness=0.08, dryness=0.05),
    "herbaceous_wetland": Cover((300, 320, 540, 430, 850, 1550, 1800, 1920, 2000, 2050, 1400, 800),
                                _channels),
    "moss_and_lichen": Cover((420, 470, 720, 650, 1050, 1750, 2100, 2250, 2350, 2400, 2000, 1250), _mottles),
}  # fmt: skip


def _draw(rng: np.random.Generator, shares: dict[str, int], *shape: int) -> np.ndarray:
    """Indices into CLASSES, each as often as its share says."""
    labels = np.uint8([CLASSES.index(name) for name in shares])
    bounds = np.cumsum(list(shares.values())) / sum(shares.values())
    return labels[np.searchsorted(bounds[:-1], rng.random(shape), side="right")]


def _cells(rng: np.random.Generator, shares: dict[str, int]) -> np.ndarray:
    """The class lattice: a cell is of its region's main class, or of its second, or of any."""
    side = GRID * PATCH_SIZE // CELL + 2
    regions = side // REGION + 2
    main, second = _draw(rng, shares, 2, regions, regions)
    grip = rng.random((regions, regions)) * 0.6 + 0.3
    # Borders between regions are ragged: each cell looks up its region from a little aside.
    y, x = (np.indices((side, side)) + rng.integers(0, REGION // 2, (2, side, side))) // REGION
    chance, grip = rng.random((side, side)), grip[y, x]
    other = np.where(chance < grip + (1 - grip) * 0.7, second[y, x], _draw(rng, shares, side, side))
    return np.where(chance < grip, main[y, x], other)


def _landscape(seed: int, number: int) -> Landscape:
    acquisition, zone, easting, northing, biome = ACQUISITIONS[number]
    day = _sensed(acquisition).timetuple().tm_yday
    season = round(math.sin(math.pi * ((day + 9) / 365 % 1)), 6)
    rng = _rng(seed, number)
    knots, level = _noise(rng, 3, GRID + 2, GRID + 2), _noise(rng, 3)
    brightness = 0.15 * knots[0] + 0.05 * level[0]
    dryness = 0.65 * knots[1] + 0.2 * level[1] + 0.5 * (0.5 - season)
    cloud = 2 * knots[2] + 1.2 * level[2] - 3.6
    return Landscape(
        number=number,
        epsg=32600 + zone,
        # Tiles begin at multiples of 100 km, moved out to the 60 m grid.
        origin=(easting * 100_000 // 60 * 60, -(-northing * 100_000 // 60) * 60),
        season=season,
        clusters=rng.permutation(GRID * GRID // (CLUSTER[0] * CLUSTER[1])),
        cells=_cells(rng, BIOMES[biome][1]),
        relief=np.stack([brightness, dryness, cloud]),
        rotation=((4, 3, 5), (12, 5, 13), (15, 8, 17), (24, 7, 25), (40, 9, 41))[rng.integers(5)],
        parcel=tuple(rng.integers((18, 26), (30, 46)).tolist()),
        offsets=rng.integers(0, 64, 64, dtype=np.int32),
        parcels=_noise(rng, 2, 64, 64),
        gain=1 + np.float32(0.04) * _noise(rng, len(BANDS), 1, 1),
        haze=float(rng.random()) * 150,
    )


def _place(land: Landscape, index: int) -> Patch:
    """The acquisition's patch number `index`."""
    columns, rows = CLUSTER
    cluster, (y, x) = index // (columns * rows), divmod(index % (columns * rows), columns)
    row, column = divmod(int(land.clusters[cluster]), GRID // columns)
    return Patch(land, column * columns + x, row * rows + y)


def _classes(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """The patch's map: indices into CLASSES, (120, 120)."""
    across = PATCH_SIZE // CELL
    knots = patch.land.cells[patch.row * across :, patch.column * across :][: across + 2, : across + 2]
    present = np.unique(knots)
    scores = _spline((knots == present[:, None, None]).astype(np.float32), CELL)
    scores += _smooth(rng, 6, len(present)) * np.float32(0.12)
    if CROPLAND in present:
        # A field is farmed as a whole, so cropland ends at straight borders.
        score, fields = scores[present == CROPLAND][0], patch.fields()[2].ravel()
        mean = np.bincount(fields, score.ravel()) / np.maximum(np.bincount(fields), 1)
        scores[present == CROPLAND] = mean[fields].reshape(score.shape)
    return present[scores.argmax(axis=0)]


def _scene(patch: Patch, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digital numbers of all bands at 10 m, without sensor noise, float32 (12, 120, 120)."""
    land = patch.land
    knots = land.relief[:, patch.row : patch.row + 3, patch.column : patch.column + 3]
    brightness, dryness, cloud = _spline(knots, PATCH_SIZE)
    scene = np.empty((len(BANDS), *classes.shape), np.float32)
    for label in np.unique(classes):
        here, cover = classes == label, COVERS[CLASSES[label]]
        # The fainter the structure, the stronger the smooth variation below it: the histogram stays as it is.
        clarity = 0.2 + 0.65 * float(rng.random())
        texture = cover.texture(patch, rng) * np.float32(clarity)
        texture += _smooth(rng, 24) * np.float32(math.sqrt(1 - clarity * clarity))
        bright = 1 + brightness[here] + texture[0, here] * np.float32(cover.brightness)
        dry = dryness[here] + texture[1, here] * np.float32(cover.dryness)
        spectrum = np.float32(cover.spectrum)[:, None]
        scene[:, here] = spectrum * np.maximum(bright, np.float32(0.25)) * (1 + DRYNESS * dry)
    scene = scene * land.gain + HAZE * np.float32(land.haze)
    opacity = np.clip(cloud + _smooth(rng, 12, count=1)[0] * np.float32(0.25), 0, 1)
    return scene + (CLOUD - scene) * opacity


def _sense(scene: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Each band as its sensor sees the scene: area means on its own grid, noise, whole numbers."""
    for light, (band, metres) in zip(scene, BANDS.items(), strict=True):
        step = metres * PATCH_SIZE // PATCH_METRES
        # Added one by one: the order in which numpy's mean adds is its own.
        mean = sum(light[i::step, j::step] for i in range(step) for j in range(step)) / (step * step)
        noisy = mean + _noise(rng, *mean.shape) * (8 + np.float32(0.01) * mean)
        yield band, np.clip(np.rint(noisy), NODATA + 1, 2 * REFLECTANCE_SCALE).astype("<u2")


@cache
def _template(dtype: str, side: int, epsg: int) -> tuple[bytes, bytes, bytes]:
    """A GeoTIFF's bytes before its corner, from there to its pixels, and after: what tiles have in common.

    GDAL takes a millisecond to write a tile, longer than its pixels take.
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


def _sensed(acquisition: str) -> datetime:
    day, time = acquisition.split("_")[2].split("T")
    return datetime.strptime(f"{day}{time:0>6}", "%Y%m%d%H%M%S")


def _meta(patch: Patch) -> dict[str, object]:
    """A row of the meta table. There is no Sentinel-1, so its columns are empty."""
    acquisition, *_, biome = ACQUISITIONS[patch.land.number]
    x, y = patch.corner[0] + PATCH_METRES / 2, patch.corner[1] - PATCH_METRES / 2
    (lon,), (lat,) = transform(f"EPSG:{patch.land.epsg}", "EPSG:4326", [x], [y])
    return {
        "patch_id": patch.id,
        "patch_id_s1": "",
        "timestamp_s2": _sensed(acquisition),
        "timestamp_s1": "",
        "season_s2": patch.land.season,
        "season_s1": "",
        "lon": round(lon, 6),
        "lat": round(lat, 6),
        "climatezone": BIOMES[biome][0],
    }


def _members(patches: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """The archive's files, one patch at a time."""
    lands = [_landscape(seed, number) for number in range(min(patches, len(ACQUISITIONS)))]
    order = _rng(seed).permutation(patches).tolist()
    rows = [_place(lands[i % len(ACQUISITIONS)], i // len(ACQUISITIONS)) for i in order]
    yield f"{NAME}_meta.csv", pd.DataFrame(map(_meta, rows)).to_csv(index=False).encode()
    start, share = 0, 0
    for split, sixteenths in SPLITS.items():
        share += sixteenths
        stop = -(-patches * share // 16)
        yield f"splits/{NAME}_{split}.csv", "".join(f"{patch.id}\n" for patch in rows[start:stop]).encode()
        start = stop

    fractions = {}
    for patch in rows:
        rng = _rng(seed, patch.land.number, patch.column, patch.row)
        classes = _classes(patch, rng)
        fractions[patch.id] = np.bincount(classes.ravel(), minlength=len(CLASSES)) / classes.size
        for band, pixels in _sense(_scene(patch, classes, rng), rng):
            yield f"sentinel-2/{patch.id}/{patch.id}_{band}.tif", _geotiff(pixels, patch)
        codes = np.uint8(WORLDCOVER_CODES)[classes]
        yield f"esaworldcover/{patch.id}_esaworldcover.tif", _geotiff(codes, patch)

    # In the order of the meta table, so that the notebook, which joins by row, reads the same labels.
    cover = pd.DataFrame.from_dict(fractions, orient="index", columns=CLASSES).rename_axis("patch_id")
    yield f"{NAME}_esaworldcover.csv", cover.to_csv().encode()


def write_sample(path: Path, *, patches: int = 800, seed: int = 0) -> None:
    """Write the sample as a .tar.gz: twelve bands and a WorldCover map a patch, the tables, the split files.

    A smaller sample is a part of a larger one of the same seed: the same tiles, in another order of rows.

    Raises:
        ValueError: `patches` is less than 1, or more than the acquisitions hold.
    """
    most = len(ACQUISITIONS) * GRID * GRID
    if not 1 <= patches <= most:
        raise ValueError(f"cannot write {patches} patches; choose from 1 to {most}")
    archive.write(path, ((f"{NAME}/{name}", content) for name, content in _members(patches, seed)))

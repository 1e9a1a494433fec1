"""The landscape: which class lies where, in the twenty acquisitions of the sample.

It is a lattice of classes per acquisition: regions of a main and a second class, with islands of others. Interpolated,
it gives continuous maps, so that neighbouring patches are alike as in nature, and a random split leaks.
"""

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from landcover.ground.benge import BANDS, CLASSES, PATCH_METRES, PATCH_SIZE
from landcover.sample.noise import generator, noise, smooth, spline

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


def sensed(acquisition: str) -> datetime:
    """When an acquisition was taken, by its name."""
    day, time = acquisition.split("_")[2].split("T")
    return datetime.strptime(f"{day}{time:0>6}", "%Y%m%d%H%M%S")


def draw_classes(rng: np.random.Generator, shares: dict[str, int], *shape: int) -> np.ndarray:
    """Indices into CLASSES, each as often as its share says."""
    labels = np.uint8([CLASSES.index(name) for name in shares])
    bounds = np.cumsum(list(shares.values())) / sum(shares.values())
    return labels[np.searchsorted(bounds[:-1], rng.random(shape), side="right")]


def draw_lattice(rng: np.random.Generator, shares: dict[str, int]) -> np.ndarray:
    """The class lattice: a cell is of its region's main class, or of its second, or of any."""
    side = GRID * PATCH_SIZE // CELL + 2
    regions = side // REGION + 2
    main, second = draw_classes(rng, shares, 2, regions, regions)
    grip = rng.random((regions, regions)) * 0.6 + 0.3
    # Borders between regions are ragged: each cell looks up its region from a little aside.
    y, x = (np.indices((side, side)) + rng.integers(0, REGION // 2, (2, side, side))) // REGION
    chance, grip = rng.random((side, side)), grip[y, x]
    other = np.where(chance < grip + (1 - grip) * 0.7, second[y, x], draw_classes(rng, shares, side, side))
    return np.where(chance < grip, main[y, x], other)


def make_landscape(seed: int, number: int) -> Landscape:
    acquisition, zone, easting, northing, biome = ACQUISITIONS[number]
    day = sensed(acquisition).timetuple().tm_yday
    season = round(math.sin(math.pi * ((day + 9) / 365 % 1)), 6)
    rng = generator(seed, number)
    knots, level = noise(rng, 3, GRID + 2, GRID + 2), noise(rng, 3)
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
        cells=draw_lattice(rng, BIOMES[biome][1]),
        relief=np.stack([brightness, dryness, cloud]),
        rotation=((4, 3, 5), (12, 5, 13), (15, 8, 17), (24, 7, 25), (40, 9, 41))[rng.integers(5)],
        parcel=tuple(rng.integers((18, 26), (30, 46)).tolist()),
        offsets=rng.integers(0, 64, 64, dtype=np.int32),
        parcels=noise(rng, 2, 64, 64),
        gain=1 + np.float32(0.04) * noise(rng, len(BANDS), 1, 1),
        haze=float(rng.random()) * 150,
    )


def place(land: Landscape, index: int) -> Patch:
    """The acquisition's patch number `index`."""
    columns, rows = CLUSTER
    cluster, (y, x) = index // (columns * rows), divmod(index % (columns * rows), columns)
    row, column = divmod(int(land.clusters[cluster]), GRID // columns)
    return Patch(land, column * columns + x, row * rows + y)


def class_map(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """The patch's map: indices into CLASSES, (120, 120)."""
    across = PATCH_SIZE // CELL
    knots = patch.land.cells[patch.row * across :, patch.column * across :][: across + 2, : across + 2]
    present = np.unique(knots)
    scores = spline((knots == present[:, None, None]).astype(np.float32), CELL)
    scores += smooth(rng, 6, len(present)) * np.float32(0.12)
    if CROPLAND in present:
        # A field is farmed as a whole, so cropland ends at straight borders.
        score, fields = scores[present == CROPLAND][0], patch.fields()[2].ravel()
        mean = np.bincount(fields, score.ravel()) / np.maximum(np.bincount(fields), 1)
        scores[present == CROPLAND] = mean[fields].reshape(score.shape)
    return present[scores.argmax(axis=0)]

"""The landscape: class and elevation at each point of the sample's tiles, and the dates of the acquisitions.

Each tile has a lattice of classes: regions of a main and a second class, with islands of others. Interpolation gives
continuous maps, so that neighbouring patches are alike as in nature, and a random split leaks. Elevation follows the
classes: within a tile, forest and rock lie high, fields and towns low, and water lies flat at the lowest level.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from rasterio.warp import transform

from landcover.constants import CLASSES, LEVEL_2A_BANDS, PATCH_METRES, PATCH_SIZE
from landcover.synthetic.noise import generator, noise, smooth, spline
from landcover.synthetic.weather import Weather, draw_weather

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
# Each biome's level of water and its relief, in metres: a coast lies at 0, and the Alps are high.
ELEVATIONS = {
    "lowland": (35, 140),
    "atlantic": (0, 260),
    "continental": (170, 330),
    "mediterranean": (0, 500),
    "boreal": (105, 210),
    "mountain": (450, 2200),
}
# How high a class prefers to lie, as percent of the relief.
ALTITUDES = {
    "tree_cover": 60,
    "shrubland": 55,
    "grassland": 45,
    "cropland": 30,
    "built-up": 22,
    "bare/sparse_vegetation": 85,
    "snow_and_ice": 110,
    "permanent_water_bodies": 0,
    "herbaceous_wetland": 6,
    "moss_and_lichen": 75,
}

# The tiles of ground: UTM zone (north), 100 km square of the upper left corner (easting, northing), biome.
GROUNDS = (
    (33, 4, 54, "continental"),
    (29, 6, 59, "atlantic"),
    (35, 5, 69, "boreal"),
    (34, 5, 62, "continental"),
    (29, 5, 43, "mediterranean"),
    (32, 4, 52, "mountain"),
    (31, 6, 57, "lowland"),
    (29, 5, 46, "mediterranean"),
    (35, 4, 76, "boreal"),
    (31, 5, 57, "lowland"),
    (34, 4, 50, "lowland"),
    (29, 6, 42, "mediterranean"),
    (33, 3, 53, "mountain"),
    (29, 5, 60, "atlantic"),
    (34, 5, 49, "continental"),
    (32, 5, 53, "mountain"),
)
# The acquisitions: the prefixes of the patch ids, from north to south, and the number of the ground. As in the real
# dataset, a prefix does not identify a tile: tiles of one overpass share it, one tile's patches have two, and some
# ground was acquired on two dates, in two seasons.
ACQUISITIONS = (
    (("S2A_MSIL2A_20170613T101031",), 0),
    (("S2A_MSIL2A_20170617T113321",), 1),
    (("S2A_MSIL2A_20170701T93031",), 2),
    (("S2B_MSIL2A_20170709T094029",), 3),
    (("S2A_MSIL2A_20170717T113321",), 4),
    (("S2B_MSIL2A_20170729T103019",), 5),
    (("S2A_MSIL2A_20170803T105031",), 6),
    (("S2B_MSIL2A_20170818T112109",), 7),
    (("S2B_MSIL2A_20170824T095029",), 8),
    (("S2A_MSIL2A_20170905T104021",), 9),
    (("S2B_MSIL2A_20170924T93020", "S2B_MSIL2A_20170924T93021"), 10),
    (("S2A_MSIL2A_20171002T112112",), 11),
    (("S2B_MSIL2A_20171016T101009",), 12),
    (("S2A_MSIL2A_20171121T114351",), 13),
    (("S2A_MSIL2A_20180225T105021",), 6),
    (("S2B_MSIL2A_20170924T93020",), 14),
    (("S2B_MSIL2A_20180417T102019",), 15),
    (("S2A_MSIL2A_20180502T93041",), 2),
    (("S2B_MSIL2A_20180511T094039",), 3),
    (("S2B_MSIL2A_20180521T113319",), 1),
)
GRID = 90  # patches along a side of an acquisition
CLUSTER = (5, 2)  # columns and rows of the clusters of adjacent patches in an acquisition
CELL = 24  # pixels along a side of a cell of the class lattice: five cells a patch
REGION = 12  # cells along a side of a region
CROPLAND, WATER = CLASSES.index("cropland"), CLASSES.index("permanent_water_bodies")
# The keys of generators, to which the number of the ground or of the acquisition is added. Grounds, acquisitions and
# the scene have the first ones. With generators of their own, terrain and radar leave the optical bands as they are.
TERRAIN = len(GROUNDS) + len(ACQUISITIONS) + 1
RADAR = TERRAIN + len(GROUNDS)


@dataclass(frozen=True)
class Landscape:
    """What the patches of one acquisition have in common: the ground, and the air when either sensor passes."""

    number: int  # in ACQUISITIONS
    ground: int  # in GROUNDS
    tile: str  # its MGRS code
    epsg: int
    origin: tuple[int, int]  # upper left corner, easting and northing in metres
    taken: datetime
    taken_s1: datetime  # at most two days before or after
    clusters: np.ndarray  # the order in which clusters are taken
    cells: np.ndarray  # class lattice, (452, 452)
    relief: np.ndarray  # brightness, dryness and cloud, a knot a patch, (3, 92, 92)
    rotation: tuple[int, int, int]  # of parcels and streets: a Pythagorean triple
    parcel: tuple[int, int]  # breadth and length, in pixels
    offsets: np.ndarray  # of each strip of parcels, (64,)
    parcels: np.ndarray  # brightness and dryness of each, (2, 64, 64), repeated
    gain: np.ndarray  # (12, 1, 1)
    haze: float  # DN in B01
    level: int  # elevation of water, in metres
    heights: np.ndarray  # metres above that, a knot a patch, (92, 92)
    hills: np.ndarray  # of mean 0 and variance 1, a knot a cell, (452, 452)
    weather: Weather  # at sea level, when Sentinel-2 passes
    weather_s1: Weather
    moisture: float  # of the soil when Sentinel-1 passes, of mean 0 and variance 1


@dataclass(frozen=True)
class Patch:
    """A patch's place in a landscape; a larger one is a scene."""

    land: Landscape
    column: int
    row: int
    size: int = PATCH_SIZE  # pixels a side: a multiple of PATCH_SIZE

    @property
    def id(self) -> str:
        prefixes, _ = ACQUISITIONS[self.land.number]
        return f"{prefixes[self.row * len(prefixes) // GRID]}_{self.column}_{self.row}"

    @property
    def id_s1(self) -> str:
        """The id of the Sentinel-1 patch of the same ground."""
        satellite = "AB"[self.land.number % 2]
        return (
            f"S1{satellite}_IW_GRDH_1SDV_{self.land.taken_s1:%Y%m%dT%H%M%S}_{self.land.tile}_{self.column}_{self.row}"
        )

    @property
    def corner(self) -> tuple[int, int]:
        """Easting and northing of the upper left corner, in metres."""
        easting, northing = self.land.origin
        return easting + self.column * PATCH_METRES, northing - self.row * PATCH_METRES

    def knots(self, lattice: np.ndarray, step: int) -> np.ndarray:
        """The part of a landscape's lattice, with a knot every `step` pixels, that a surface over the patch needs."""
        row, column, across = (
            pixels // step for pixels in (self.row * PATCH_SIZE, self.column * PATCH_SIZE, self.size)
        )
        return lattice[..., row : row + across + 2, column : column + across + 2]

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates along and across the direction of parcels and streets, two of (size, size)."""
        a, b, c = self.land.rotation
        x = np.arange(self.size) + self.column * PATCH_SIZE
        y = np.arange(self.size)[:, None] + self.row * PATCH_SIZE
        return (a * x + b * y) // c, (a * y - b * x) // c

    def fields(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates in a brick bond of parcels, and the parcel's number, three of (size, size)."""
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


def draw_heights(rng: np.random.Generator, cells: np.ndarray, biome: str) -> np.ndarray:
    """Heights above the level of water in metres, a knot a patch: as the classes of `cells` like it, and by chance.

    Args:
        cells: class lattice, (5 n + 2, 5 n + 2).

    Returns:
        float32 (n + 2, n + 2).
    """
    _, relief = ELEVATIONS[biome]
    each = PATCH_SIZE // CELL
    side = (len(cells) - 2) // each
    patches = cells[1:-1, 1:-1].reshape(side, each, side, each)
    liking = np.array([ALTITUDES.get(name, 0) for name in CLASSES])[patches].sum((1, 3))  # of whole numbers, so exact
    height = np.float32(liking) / (100 * each * each) + noise(rng, side, side) * np.float32(0.15)
    height = np.maximum(height, np.float32(0.02)) * np.float32(relief)
    height[(patches == WATER).any((1, 3))] *= np.float32(0.3)  # around a lake the land is low
    return np.pad(height, 1, mode="edge")


def season(taken: datetime) -> float:
    """ben-ge's encoding of the season: 0 at the winter solstice, 1 at the summer solstice."""
    return round(math.sin(math.pi * ((taken.timetuple().tm_yday + 9) / 365 % 1)), 5)


def mgrs_tile(zone: int, easting: int, northing: int, latitude: float) -> str:
    """The code of a Sentinel-2 tile in the northern hemisphere.

    Args:
        easting, northing: its upper left corner, in 100 km.
        latitude: of any place in it, in degrees.
    """
    band = "NPQRSTUVWX"[min(int(latitude // 8), 9)]
    column = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")[zone % 3][easting - 1]
    row = "ABCDEFGHJKLMNPQRSTUV"[(northing - 1 + (0 if zone % 2 else 5)) % 20]
    return f"{zone}{band}{column}{row}"


def _clusters(order: np.ndarray, number: int) -> np.ndarray:
    """The order in which an acquisition takes the clusters of its ground."""
    prefixes, ground = ACQUISITIONS[number]
    sharing = [n for n, (others, _) in enumerate(ACQUISITIONS) if set(others) & set(prefixes)]
    # Columns and rows count anew in each tile: of tiles that share a prefix, each takes places of its own.
    order = order[order % len(sharing) == sharing.index(number)]
    if number != next(n for n, (_, other) in enumerate(ACQUISITIONS) if other == ground):
        # On a later date, every second cluster is one that the first date has too.
        half = len(order) // 2
        order = np.stack([order[:half], order[::-1][:half]], axis=1).ravel()
    return order


def make_landscape(seed: int, number: int) -> Landscape:
    """The landscape of one of ACQUISITIONS."""
    prefixes, ground = ACQUISITIONS[number]
    zone, easting, northing, biome = GROUNDS[ground]
    # Tiles begin at multiples of 100 km, moved out to the 60 m grid.
    origin = (easting * 100_000 // 60 * 60, -(-northing * 100_000 // 60) * 60)
    _, (latitude,) = transform(f"EPSG:{32600 + zone}", "EPSG:4326", [origin[0] + 50_000], [origin[1] - 50_000])
    taken = sensed(prefixes[0])
    taken_s1 = taken.replace(hour=5, minute=11 + number, second=2 * number) + timedelta(days=number % 5 - 2)
    rng, air = generator(seed, ground), generator(seed, len(GROUNDS) + number)
    terrain, radar = generator(seed, TERRAIN + ground), generator(seed, RADAR + number)
    knots, level, haze = noise(rng, 2, GRID + 2, GRID + 2), noise(air, 3), noise(air, GRID + 2, GRID + 2)
    brightness = 0.15 * knots[0] + 0.05 * level[0]
    dryness = 0.65 * knots[1] + 0.2 * level[1] + 0.5 * (0.5 - season(taken))
    cloud = 2 * haze + 1.2 * level[2] - 3.6
    clusters = _clusters(rng.permutation(GRID * GRID // (CLUSTER[0] * CLUSTER[1])), number)
    cells = draw_lattice(rng, BIOMES[biome][1])
    return Landscape(
        number=number,
        ground=ground,
        tile=mgrs_tile(zone, easting, northing, latitude),
        epsg=32600 + zone,
        origin=origin,
        taken=taken,
        taken_s1=taken_s1,
        clusters=clusters,
        cells=cells,
        relief=np.stack([brightness, dryness, cloud]),
        rotation=((4, 3, 5), (12, 5, 13), (15, 8, 17), (24, 7, 25), (40, 9, 41))[rng.integers(5)],
        parcel=tuple(rng.integers((18, 26), (30, 46)).tolist()),
        offsets=rng.integers(0, 64, 64, dtype=np.int32),
        parcels=noise(rng, 2, 64, 64),
        gain=1 + np.float32(0.04) * noise(air, len(LEVEL_2A_BANDS), 1, 1),
        haze=float(air.random()) * 150,
        level=ELEVATIONS[biome][0],
        heights=draw_heights(terrain, cells, biome),
        hills=noise(terrain, *cells.shape),
        weather=draw_weather(radar, biome, season(taken), taken.hour),
        weather_s1=draw_weather(radar, biome, season(taken_s1), taken_s1.hour),
        moisture=float(noise(radar)),
    )


def place(land: Landscape, index: int) -> Patch:
    """The acquisition's patch number `index`."""
    columns, rows = CLUSTER
    cluster, (y, x) = index // (columns * rows), divmod(index % (columns * rows), columns)
    row, column = divmod(int(land.clusters[cluster]), GRID // columns)
    return Patch(land, column * columns + x, row * rows + y)


def class_map(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """The patch's map: indices into CLASSES, (size, size)."""
    knots = patch.knots(patch.land.cells, CELL)
    present = np.unique(knots)
    scores = spline((knots == present[:, None, None]).astype(np.float32), CELL)
    scores += smooth(rng, 6, patch.size, len(present)) * np.float32(0.12)
    if CROPLAND in present:
        # A field is farmed as a whole, so cropland ends at straight borders.
        score, fields = scores[present == CROPLAND][0], patch.fields()[2].ravel()
        mean = np.bincount(fields, score.ravel()) / np.maximum(np.bincount(fields), 1)
        scores[present == CROPLAND] = mean[fields].reshape(score.shape)
    return present[scores.argmax(axis=0)]


def elevation(patch: Patch, classes: np.ndarray) -> np.ndarray:
    """Metres above sea level, float32 (size, size): the same on every date, and without a step between patches.

    Args:
        classes: the patch's map, as indices into CLASSES, (size, size).
    """
    land = patch.land
    hills = 1 + spline(patch.knots(land.hills, CELL), CELL) * np.float32(0.1)
    height = spline(patch.knots(land.heights, PATCH_SIZE), PATCH_SIZE) * hills
    cells = patch.knots(land.cells, CELL)
    if WATER in cells:
        # Land rises from the shore.
        shore = np.clip(1 - 2 * spline((cells == WATER).astype(np.float32), CELL), 0, 1)
        height = np.where(classes == WATER, 0, height * shore)
    return height + land.level

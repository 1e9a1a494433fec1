"""How the classes look: each has a spectrum, varied by texture, relief, season, haze and cloud.

In COVERS, the vegetated classes share a range of values, so that mostly their texture distinguishes them.
In SPECTRAL_COVERS, all classes have the same texture, and only their spectra differ.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from landcover.constants import CLASSES, LEVEL_2A_BANDS, PATCH_SIZE
from landcover.synthetic.landscape import Patch
from landcover.synthetic.noise import noise, smooth, spline

# How a dry season or spot changes each band, in their order: near infrared decreases, the others increase.
DRYNESS = np.float32([0.2, 0.25, 0.2, 0.55, 0.3, -0.1, -0.2, -0.22, -0.22, -0.2, 0.35, 0.45])[:, None]
# Haze scatters blue light most; clouds are white except in bands absorbed by water vapour and ice.
HAZE = np.float32([1.0, 0.85, 0.65, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.05, 0.0])[:, None, None]
CLOUD = np.float32([8200, 8300, 8100, 8300, 8400, 8500, 8600, 8700, 8700, 5000, 4700, 3600])[:, None, None]


# Textures: (patch, rng) -> brightness and dryness, of mean 0 and variance 1 or nearly so, (2, size, size).


def _grain(patch: Patch, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    grains = noise(rng, 2, patch.size, patch.size)
    return uniform_filter(grains, (1, height, width), mode="wrap") * np.float32(math.sqrt(height * width))


def _canopy(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Crowns of about 30 m, bright towards the sun and shadowed away from it."""
    crowns = _grain(patch, rng, 3, 3)
    crowns[0] = (crowns[0] - np.roll(crowns[0], (2, 2), (0, 1))) * np.float32(0.71)
    return crowns


def _clumps(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Dark shrubs, sparse on brighter ground."""
    grain = _grain(patch, rng, 5, 5)
    shrub, ground = np.float32([-1.6, -1.2])[:, None, None], np.float32([0.5, 0.4])[:, None, None]
    return np.where(grain[0] > np.float32(0.7), shrub, ground) + grain * np.float32(0.3)


def _meadow(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    return smooth(rng, 24, patch.size) * np.float32(0.95) + smooth(rng, 5, patch.size) * np.float32(0.3)


def _parcels(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Fields of uniform brightness and dryness, with furrows and dark borders."""
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
    slopes = np.abs(smooth(rng, 12, patch.size)) + np.abs(smooth(rng, 6, patch.size)) / 2
    return (slopes - np.float32(1.2)) * np.float32(1.5)


def _ripples(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    return _grain(patch, rng, 2, 4)


def _channels(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Winding dark channels in reed."""
    course, bright, dry = smooth(rng, 20, patch.size, count=3)
    channel = np.abs(course) < np.float32(0.22)
    bright = bright * np.float32(0.5) + np.float32(0.4)
    return np.stack([np.where(channel, np.float32(-2.6), bright), np.where(channel, np.float32(-1), dry)])


def _mottles(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    return smooth(rng, 6, patch.size)


@dataclass(frozen=True)
class Cover:
    """How a class looks: digital numbers in the order of LEVEL_2A_BANDS, its texture, and the texture's two contrasts.

    `variation` is the standard deviation, from one patch to another, of the gain that multiplies each band.
    """

    spectrum: tuple[int, ...]
    texture: Callable[[Patch, np.random.Generator], np.ndarray]
    brightness: float = 0.24
    dryness: float = 0.4
    variation: float = 0.0


# Mangroves do not grow in Europe, so their column in the table is zero.
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
SPECTRAL_COVERS = {
    name: Cover(spectrum, _mottles, brightness=0.1, dryness=0.1, variation=0.08)
    for name, spectrum in {
        "tree_cover": (220, 240, 400, 260, 700, 1750, 2150, 2300, 2450, 2500, 1150, 520),
        "shrubland": (370, 430, 640, 680, 1050, 1650, 1900, 2050, 2200, 2250, 2250, 1400),
        "grassland": (300, 340, 780, 420, 1150, 2600, 3150, 3350, 3500, 3550, 1900, 900),
        "cropland": (480, 560, 880, 900, 1350, 2350, 2750, 2950, 3100, 3150, 2550, 1650),
        "built-up": (950, 1080, 1250, 1350, 1550, 1900, 2050, 2150, 2250, 2300, 2250, 1950),
        "bare/sparse_vegetation": (750, 900, 1250, 1650, 1900, 2150, 2300, 2450, 2600, 2650, 3300, 2900),
        "snow_and_ice": COVERS["snow_and_ice"].spectrum,
        "permanent_water_bodies": COVERS["permanent_water_bodies"].spectrum,
        "herbaceous_wetland": (320, 340, 520, 440, 750, 1150, 1300, 1400, 1500, 1550, 1000, 550),
        "moss_and_lichen": (560, 640, 900, 1020, 1250, 1550, 1700, 1800, 1900, 1950, 2100, 1500),
    }.items()
}


def render(
    patch: Patch,
    classes: np.ndarray,
    covers: dict[str, Cover],
    rng: np.random.Generator,
    stands: np.ndarray | None = None,
) -> np.ndarray:
    """Digital numbers of all bands at 10 m, without sensor noise, float32 (12, size, size).

    Args:
        classes: indices into CLASSES, (size, size).
        covers: of each class that occurs.
        stands: the number of the stand that each pixel lies in, (size, size): how clear the structure of a class is,
            and the variation of its spectrum, are drawn for each stand. By default there is one.
    """
    land = patch.land
    stands = np.zeros((1, 1), int) if stands is None else stands
    count = stands.max() + 1
    brightness, dryness, cloud = spline(patch.knots(land.relief, PATCH_SIZE), PATCH_SIZE)
    scene = np.empty((len(LEVEL_2A_BANDS), *classes.shape), np.float32)
    pixels = scene.reshape(len(LEVEL_2A_BANDS), -1)
    for label in np.unique(classes):
        here, cover = np.flatnonzero(classes == label), covers[CLASSES[label]]
        # The fainter the structure, the stronger the smooth variation below it: the histogram stays as it is.
        clarity = 0.2 + 0.65 * rng.random(count)
        texture = cover.texture(patch, rng) * np.float32(clarity)[stands]
        texture += smooth(rng, 24, patch.size) * np.float32(np.sqrt(1 - clarity * clarity))[stands]
        texture = texture.reshape(2, -1)[:, here]
        bright = 1 + brightness.ravel()[here] + texture[0] * np.float32(cover.brightness)
        dry = dryness.ravel()[here] + texture[1] * np.float32(cover.dryness)
        spectrum = np.float32(cover.spectrum)[:, None]
        if cover.variation:
            variation = noise(rng, len(LEVEL_2A_BANDS), count) * np.float32(cover.variation)
            spectrum = spectrum * (1 + variation)[:, np.broadcast_to(stands, classes.shape).ravel()[here]]
        pixels[:, here] = spectrum * np.maximum(bright, np.float32(0.25)) * (1 + DRYNESS * dry)
    scene *= land.gain
    scene += HAZE * np.float32(land.haze)
    opacity = np.clip(cloud + smooth(rng, 12, patch.size, count=1)[0] * np.float32(0.25), 0, 1)
    return scene + (CLOUD - scene) * opacity if opacity.any() else scene

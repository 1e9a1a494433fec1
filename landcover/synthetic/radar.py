"""How the classes look to radar: Sentinel-1's backscatter in VV and VH.

Built in:
- Water is a mirror and dark; wind roughens it, which brightens VV.
- Crowns scatter in their volume, which brightens VH.
- Walls reflect towards the sensor by way of the street, which brightens VV, at some pixels strongly. Reeds above water
  do so too, but less.
- Fields, meadows and bare soil lie between: brighter when the soil is moist or the plants are green, and each parcel
  differs.
- Wet snow is dark; dry snow shows the ground below it.
- Slopes that face the sensor are brighter, and speckle multiplies everything.
- Clouds and haze leave no trace, so a patch that is hard to classify by its optical bands is as easy here as any.
"""

import math
from dataclasses import dataclass

import numpy as np

from landcover.constants import CLASSES, METRES_PER_PIXEL, PATCH_SIZE
from landcover.synthetic.landscape import CROPLAND, WATER, Landscape, Patch
from landcover.synthetic.noise import noise, smooth, spline

POLARIZATIONS = ("VV", "VH")
STEP = 8  # steps of a decibel that values are rounded to, so that tiles compress
SPECKLE = np.float32(2.0)  # dB, standard deviation: of about four looks
VARIATION = np.float32([[0.9], [1.0]])  # dB, standard deviation from one patch to another: VV, VH
# How much darker dry spots are, and dry parcels, in dB: VV, VH.
DRYNESS, PARCELS = np.float32([[[0.6]], [[1.8]]]), np.float32([[1.3], [1.6]])
MOISTURE = 0.8  # dB, standard deviation from one acquisition to another


@dataclass(frozen=True)
class Echo:
    """Backscatter of a class in dB, and its dependences.

    `vigour` and `moisture` weigh how greenness and moist soil change it; `contrast` is the texture's standard deviation
    in dB.
    """

    vv: float
    vh: float
    vigour: float = 0.0
    moisture: float = 0.0
    contrast: float = 0.5


ECHOES = {
    "tree_cover": Echo(-8.8, -14.3, vigour=0.4),
    "shrubland": Echo(-11.2, -16.8, vigour=0.8, moisture=0.5, contrast=0.8),
    "grassland": Echo(-12.2, -16.3, vigour=1.2, moisture=0.8),
    "cropland": Echo(-11.2, -15.4, vigour=1.6, moisture=1.0),
    "built-up": Echo(-8.2, -15.6, contrast=1.0),
    "bare/sparse_vegetation": Echo(-12.6, -20.8, moisture=1.0, contrast=1.2),
    "snow_and_ice": Echo(-12.0, -17.6),
    "permanent_water_bodies": Echo(-21.0, -27.0, contrast=0.3),
    "herbaceous_wetland": Echo(-9.4, -18.2, vigour=0.6, contrast=1.2),
    "moss_and_lichen": Echo(-13.2, -20.0, vigour=0.5, moisture=0.6),
}
BUILT_UP, SNOW = CLASSES.index("built-up"), CLASSES.index("snow_and_ice")
WET_SNOW = np.float32([[4.5], [4.5]])  # dB: VV, VH
THAW = 270  # K: where snow begins to be wet; 4 K above, it is wet throughout
WIND = np.float32([0.55, 0.15])  # dB for each m/s, over water: VV, VH
CORNERS = np.float32(0.12)  # the share of built-up pixels that are bright
CORNER = np.float32([[7.0], [4.5]])  # by how many dB: VV, VH


def _echoes(land: Landscape) -> np.ndarray:
    """VV, VH, vigour and contrast of each of CLASSES on the day, float32 (4, 11)."""
    echoes = [ECHOES.get(name, Echo(0, 0)) for name in CLASSES]
    table = np.float32([[echo.vv, echo.vh, echo.vigour, echo.contrast] for echo in echoes]).T
    table[:2] += np.float32([echo.moisture * land.moisture * MOISTURE for echo in echoes])
    east, north = land.weather_s1.wind
    table[:2, WATER] += WIND * np.float32(min(math.sqrt(east * east + north * north), 9))
    return table


def backscatter(patch: Patch, classes: np.ndarray, elevation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Decibels in the order of POLARIZATIONS at 10 m, float32 (2, size, size).

    Args:
        classes: indices into CLASSES, (size, size).
        elevation: in metres, (size, size).
    """
    land = patch.land
    vv, vh, vigour, contrast = np.take(_echoes(land), classes, axis=1)
    decibels = np.stack([vv, vh])
    decibels += (noise(rng, 2, 1) * VARIATION)[..., None]
    decibels -= DRYNESS * (vigour * spline(patch.knots(land.relief[1], PATCH_SIZE), PATCH_SIZE))
    # Sentinel-1 passes southwards in the morning and looks west: slopes that fall to the east face it.
    slope = np.diff(elevation, axis=1, prepend=2 * elevation[:, :1] - elevation[:, 1:2]) / np.float32(METRES_PER_PIXEL)
    decibels += contrast * smooth(rng, 12, patch.size, count=1)[0] - np.clip(6 * slope, -4, 4)
    if CROPLAND in classes:
        here = classes == CROPLAND
        dry = land.parcels[1].ravel()[patch.fields()[2][here]]
        decibels[:, here] -= PARCELS * dry
    if SNOW in classes:
        here = classes == SNOW
        warmth = land.weather_s1.temperature_at(elevation[here]) - THAW
        decibels[:, here] -= WET_SNOW * np.clip(warmth / 4, 0, 1)
    if BUILT_UP in classes:
        corner = (classes == BUILT_UP) & (rng.random(classes.shape, dtype=np.float32) < CORNERS)
        decibels[:, corner] += CORNER
    # The logarithm of a gamma distribution, nearly: its dark tail is longer.
    speckle = noise(rng, *decibels.shape)
    speckle -= np.float32(0.08) * (speckle * speckle - 1)
    decibels += SPECKLE * speckle
    return np.rint(np.clip(decibels, -45, 15) * STEP) / STEP

from dataclasses import replace

import numpy as np
import pytest

from landcover.constants import CLASSES
from landcover.synthetic.landscape import Landscape, Patch, make_landscape
from landcover.synthetic.noise import generator
from landcover.synthetic.radar import ECHOES, backscatter
from landcover.synthetic.weather import Weather

pytestmark = pytest.mark.xdist_group("radar")  # share a fixture that takes long

FLAT = np.zeros((120, 120), np.float32)


@pytest.fixture(scope="module")
def calm() -> Landscape:
    """Ground neither moist nor dry, on a mild day without wind."""
    land = make_landscape(0, 0)
    still = Weather(temperature=283.0, humidity=70.0, wind=(0.0, 0.0))
    return replace(land, relief=np.zeros_like(land.relief), weather_s1=still, moisture=0.0)


def pure(land: Landscape, name: str, seed: int = 0, elevation: np.ndarray = FLAT) -> np.ndarray:
    """A patch of one class: dB, (2, 120, 120)."""
    classes = np.full(elevation.shape, CLASSES.index(name), np.uint8)
    return backscatter(Patch(land, 3, 5, len(elevation)), classes, elevation, generator(seed))


@pytest.fixture(scope="module")
def means(calm) -> dict[str, np.ndarray]:
    """VV and VH of each class in dB, over several patches."""
    return {name: np.mean([pure(calm, name, seed).mean((1, 2)) for seed in range(30)], 0) for name in ECHOES}


def test_every_class_has_its_echo(means):
    assert set(ECHOES) == set(CLASSES) - {"mangroves"}
    for name in set(ECHOES) - {"built-up", "snow_and_ice"}:
        assert means[name] == pytest.approx([ECHOES[name].vv, ECHOES[name].vh], abs=0.8)


def difference(land: Landscape, name: str, other: Landscape, **arguments: np.ndarray) -> np.ndarray:
    """By how many dB a class is brighter in the other landscape, with the same randomness: VV, VH."""
    return (pure(other, name, **arguments) - pure(land, name)).mean((1, 2))


def test_wind_brightens_water_and_nothing_else(calm):
    windy = replace(calm, weather_s1=replace(calm.weather_s1, wind=(3.0, -4.0)))  # 5 m/s
    assert difference(calm, "permanent_water_bodies", windy) == pytest.approx([2.75, 0.75], abs=0.01)
    assert difference(calm, "grassland", windy).tolist() == [0, 0]


def test_wet_snow_is_darker_than_dry_snow(calm):
    cold = replace(calm, weather_s1=replace(calm.weather_s1, temperature=260.0))
    assert difference(calm, "snow_and_ice", cold) == pytest.approx([4.5, 4.5], abs=0.01)
    # Two kilometres above the calm day's 283 K it is 270 K, and the snow is dry.
    assert difference(calm, "snow_and_ice", calm, elevation=FLAT + 2000) == pytest.approx([4.5, 4.5], abs=0.01)


def test_soil_is_brighter_when_moist_and_plants_when_green(calm):
    moist = replace(calm, moisture=1.0)
    assert difference(calm, "cropland", moist) == pytest.approx([0.8, 0.8], abs=0.01)
    assert difference(calm, "built-up", moist).tolist() == [0, 0]
    dry = replace(calm, relief=np.ones_like(calm.relief))
    assert difference(calm, "cropland", dry) == pytest.approx([-0.6 * 1.6, -1.8 * 1.6], abs=0.01)


def test_slopes_that_face_the_sensor_in_the_east_are_brighter(calm):
    east = np.arange(120, dtype=np.float32) * np.ones((120, 1), np.float32)
    for metres, expected in ((-2, 1.2), (2, -1.2), (-20, 4)):  # a pixel; in dB
        assert difference(calm, "tree_cover", calm, elevation=east * metres) == pytest.approx([expected] * 2, abs=0.01)


def test_clouds_and_haze_leave_no_trace(calm):
    cloudy = np.zeros_like(calm.relief)
    cloudy[2] = 9
    assert difference(calm, "grassland", replace(calm, relief=cloudy, haze=500.0)).tolist() == [0, 0]

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from landcover.errors import InputError
from landcover.mapping.grids import Grid, around, metric

UTM = CRS.from_epsg(32633)


def grid(a=10.0, e=-10.0, width=6, height=12, crs=UTM, left=500_000.0, top=5_000_000.0) -> Grid:
    return Grid(crs, Affine(a, 0, left, 0, e, top), width, height)


DEGREES = grid(1e-4, -1e-4, 6, 6, CRS.from_epsg(4326), 73.3, 30.5)


@pytest.mark.parametrize(
    ("layer", "lies"),
    [
        (grid(), True),
        (grid(20, -20, 3, 6), True),
        (grid(60, -60, 1, 2), True),
        (grid(60, -60, 2, 2), False),
        (grid(30, -30, 2, 4), False),  # none of Sentinel-2's
        (grid(left=500_000.5), True),
        (grid(left=500_002), False),
        (grid(20, -20, 3, 6, left=500_010), False),
        (grid(e=10, top=4_999_880), False),  # the other side up
        (grid(width=7), False),
        (grid(crs=CRS.from_epsg(32632)), False),
    ],
)
def test_layers_lie_on_one_grid_or_on_sentinel_2s_own(layer, lies):
    assert layer.lies_on(grid()) is lies


def test_a_band_of_20_m_covers_an_odd_number_of_pixels():
    assert grid(20, -20, 4, 6).lies_on(grid(width=7))
    assert not grid(20, -20, 3, 6).lies_on(grid(width=7))


@pytest.mark.parametrize(
    ("layer", "transform", "size"),
    [
        (grid(left=500_003), (10, 0, 500_003, 0, -10, 5_000_000), (6, 12)),
        (grid(20, -20), (10, 0, 500_000, 0, -10, 5_000_000), (12, 24)),
        (grid(5, -5), (10, 0, 500_000, 0, -10, 5_000_000), (3, 6)),
        (grid(e=10), (10, 0, 500_000, 0, -10, 5_000_120), (6, 12)),
        (Grid(UTM, Affine(0, 10, 500_003, -10, 0, 5_000_000), 6, 12), (10, 0, 500_000, 0, -10, 5_000_000), (13, 6)),
    ],
    ids=["as it is", "20 m", "5 m", "south up", "turned"],
)  # fmt: skip
def test_the_scene_has_pixels_of_ten_metres_north_up(layer, transform, size):
    target = around(layer, UTM)
    assert tuple(target.transform)[:6] == transform
    assert (target.width, target.height) == size


def test_a_scene_in_degrees_is_brought_to_whole_steps_of_utm():
    degrees = grid(1e-4, -1e-4, 100, 100, CRS.from_epsg(4326), 15, 45)  # 788 x 1111 m, whose west is the meridian
    target = around(degrees, UTM)
    assert (target.transform.c, target.transform.f) == (500_000, 4_982_960)  # the parallel is at 4,982,950.4
    assert (target.width, target.height) == (79, 113)
    assert degrees.pixel_side(UTM) == pytest.approx(np.sqrt(7.88 * 11.11), abs=0.01)


@pytest.mark.parametrize(
    ("layer", "wanted", "crs"),
    [
        (grid(), None, 32633), (grid(), "EPSG:32632", 32632), (grid(), "utm", 32633),
        (DEGREES, "utm", 32643),
        (grid(1e-4, -1e-4, 6, 6, CRS.from_epsg(4326), 73.3, -30.5), "utm", 32743),
        (grid(crs=CRS.from_epsg(27700), left=257_000, top=285_000), None, 27700),
        (grid(crs=CRS.from_epsg(3035), left=4_321_000, top=3_210_000), None, 3035),
    ],
)  # fmt: skip
def test_a_scene_is_read_in_its_own_metres_or_in_those_that_are_wanted(layer, wanted, crs):
    assert metric(layer, wanted) == CRS.from_epsg(crs)


@pytest.mark.parametrize(
    ("layer", "wanted", "why"),
    [
        (DEGREES, None, "EPSG:4326 is not in metres; give --crs EPSG:32643"),
        (grid(), "EPSG:4326", "EPSG:4326 is not in metres; give --crs EPSG:32633"),
        (grid(), "EPSG:1", "--crs EPSG:1 is unknown; give --crs EPSG:32633, or"),
        # At 60 N, half a metre; in the state plane of New York, feet.
        (grid(crs=CRS.from_epsg(3857), left=1_000_000, top=8_400_000), None, r"is 0\.50 m .*; give --crs EPSG:32632"),
        (grid(crs=CRS.from_epsg(2263), left=1_000_000, top=200_000), None, r"is 0\.30 m .*; give --crs EPSG:32618"),
    ],
)  # fmt: skip
def test_what_is_not_in_metres_is_refused_with_the_utm_zone_to_give(layer, wanted, why, capfd):
    with pytest.raises(InputError, match=why):
        metric(layer, wanted)
    assert capfd.readouterr().err == ""  # nothing by PROJ

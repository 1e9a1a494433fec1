import numpy as np
import pandas as pd
import pytest

from landcover.data import places

HUNDREDTH_KM = np.pi / 180 * 6371.0088 / 100  # of a hundredth of a degree, along the equator or a meridian: 1.112


def at(*lon_lat: tuple[float, float], dates: str = "") -> pd.DataFrame:
    return pd.DataFrame(lon_lat, columns=["lon", "lat"], dtype=float).assign(date=list(dates) or "")


def test_distances_by_hand():
    here = at((0, 0), (10, 60), (10, 60), (179.995, 0), (0, 0))
    there = at((0.01, 0), (10.01, 60), (-179.995, 0))
    # Along the equator; along the parallel of 60 degrees, half as far; across the date line; the same for the twin.
    expected = [1, 0.5, 0.5, 1, 1]
    assert places.nearest_km(here, there, 6) == pytest.approx(np.multiply(expected, HUNDREDTH_KM), rel=1e-6)
    assert places.nearest_km(at((0, 50)), at((0, 50.01)), 6) == pytest.approx([HUNDREDTH_KM])
    assert places.nearest_km(at((0, 50)), at((0, 50)), 6) == pytest.approx([0], abs=1e-9)


def test_beyond_the_limit_distances_are_infinite():
    assert places.nearest_km(at((0, 0)), at((0, 0.06)), 6).tolist() == [np.inf]
    assert places.nearest_km(at((0, 0)), at(), 6).tolist() == [np.inf]
    assert places.nearest_km(at(), at((0, 0)), 6).tolist() == []


def test_distances_agree_with_the_haversine_formula():
    rng = np.random.default_rng(0)
    here, there = (pd.DataFrame({"lon": rng.uniform(-9, -8, 200), "lat": rng.uniform(40, 41, 200)}) for _ in range(2))
    a, b = np.radians(here.to_numpy())[:, None], np.radians(there.to_numpy())[None]
    inner = np.sin((a - b)[..., 1] / 2) ** 2
    inner += np.cos(a[..., 1]) * np.cos(b[..., 1]) * np.sin((a - b)[..., 0] / 2) ** 2
    haversine = (2 * 6371.0088 * np.arcsin(np.sqrt(inner))).min(1)
    assert places.nearest_km(here, there, 100) == pytest.approx(haversine)


def test_the_same_ground_on_another_date():
    train = at((0, 0), (0, 0), (1, 0), (2, 0), dates="ABAA")
    test = at((0, 0.001), (1, 0.001), (1, 0.001), (3, 0), dates="AABB")
    assert places.has_other_date(test, train, 0.6).tolist() == [True, False, True, False]
    many = at(*[(0, 0)] * 5, dates="AABCD")
    assert places.has_other_date(at((0, 0), (0, 0), dates="AD"), many, 0.6).tolist() == [True, True]


def test_patches_are_gathered_where_they_are_densest():
    """Two groups 300 km apart, of 20 km each across a border of the 50 km grid, and one patch alone."""
    lon = [10.0, 10.1, 10.2, 10.28, 14.2, 14.3, 20.0]
    patches = pd.DataFrame({"lon": lon, "lat": 50.0})
    found = places.gather(patches, 50)
    assert len(set(found[:4])) == len(set(found[4:6])) == 1
    assert sorted(set(found.tolist())) == [0, 1, 2]


def test_a_large_group_makes_places_of_about_that_diameter():
    rng = np.random.default_rng(0)
    patches = pd.DataFrame({"lon": rng.uniform(10, 13, 2000), "lat": rng.uniform(50, 52, 2000)})  # 214 x 222 km
    found = places.gather(patches, 50)
    for place in range(found.max() + 1):
        own = patches[found == place]
        assert len(own) > 0
        height = (own["lat"].max() - own["lat"].min()) * 111.2
        assert height <= 2 * 50 / np.sqrt(2)
    assert 12 <= found.max() + 1 <= 36  # one for its area in circles, and not more than three times as many


def test_blocks_by_hand():
    """The grid's origin of coordinates, 52 N 10 E, lies at 4,321 km east and 3,210 km north."""
    # Blocks of 321 km end there towards the south, blocks of 4,321 km towards the west.
    assert places.blocks(at((10, 52), (10, 51.999), (10, 52.001)), 321).tolist() == [1, 0, 1]
    assert places.blocks(at((10, 52), (9.999, 52), (10.001, 52)), 4321).tolist() == [1, 0, 1]
    # A degree of latitude is some 111 km, of longitude at 52 N some 68 km: columns and rows 86 66, 87 64, 86 64, 86 64.
    assert places.blocks(at((10, 53), (11, 52), (9.7, 52), (10, 52)), 50).tolist() == [1, 2, 0, 0]

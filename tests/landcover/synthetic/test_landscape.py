from collections import defaultdict

import numpy as np
import pytest

from landcover.constants import CLASSES
from landcover.synthetic import landscape
from landcover.synthetic.landscape import ACQUISITIONS, make_landscape, place
from landcover.synthetic.noise import generator

pytestmark = pytest.mark.xdist_group("landscape")  # share a fixture that takes long

PATCHES = 40  # of each acquisition, as the sample of 800 has


@pytest.fixture(scope="module")
def patches() -> list[list[landscape.Patch]]:
    lands = [make_landscape(0, n) for n in range(len(ACQUISITIONS))]
    return [[place(land, i) for i in range(PATCHES)] for land in lands]


def test_tiles_have_the_codes_of_real_ones():
    """As in the real dataset: 35VPK lies at 62.98 N, 30.0 E, and 33UUP in Bavaria."""
    assert landscape.mgrs_tile(35, 6, 70, 62.98) == "35VPK"
    assert landscape.mgrs_tile(33, 3, 54, 48.2) == "33UUP"
    assert landscape.mgrs_tile(32, 4, 52, 46.5) == "32TMS"


def test_ids_are_unique_but_name_no_tile(patches):
    ids = [patch.id for part in patches for patch in part]
    assert len(set(ids)) == len(ids) == PATCHES * len(ACQUISITIONS)
    assert len({patch.id_s1 for part in patches for patch in part}) == len(ids)
    tiles, prefixes = defaultdict(set), defaultdict(set)
    for part in patches:
        for patch in part:
            prefix = patch.id.rsplit("_", 2)[0]
            tiles[prefix].add(patch.land.tile)
            prefixes[patch.land.number].add(prefix)
    assert max(map(len, tiles.values())) == 2  # an overpass whose tiles share a prefix
    assert max(map(len, prefixes.values())) == 2  # a tile with two prefixes


def test_ground_on_two_dates_is_the_same_ground(patches):
    seen = defaultdict(list)
    for part in patches:
        seen[part[0].land.ground].append(part)
    twice = [parts for parts in seen.values() if len(parts) > 1]
    assert len(twice) == 4
    for first, later in twice:
        assert first[0].land.taken.month != later[0].land.taken.month
        corners = {patch.corner: patch for patch in first}
        again = [patch for patch in later if patch.corner in corners]
        assert len(again) == PATCHES // 2
        for patch in again[:2]:
            other = corners[patch.corner]
            maps = [
                landscape.class_map(one, generator(0, one.land.ground, one.column, one.row)) for one in (patch, other)
            ]
            assert (maps[0] == maps[1]).all()
            assert np.array_equal(patch.land.cells, other.land.cells)
            assert patch.id != other.id


def test_seasons_by_hand():
    """At the solstices 0 and 1, as the real table has them to a hundredth."""
    for day, expected in (("20171222", 0), ("20170622", 1), ("20170924", 0.689), ("20180204", 0.367)):
        assert landscape.season(landscape.sensed(f"S2A_MSIL2A_{day}T103031")) == pytest.approx(expected, abs=0.01)


def test_heights_by_hand(monkeypatch):
    """Snow likes to lie at 110 % of the relief, and cropland at 30 %; where there is a lake, the land is low."""
    monkeypatch.setattr(landscape, "noise", lambda rng, *shape: np.zeros(shape, np.float32))
    snow, crop, water = (CLASSES.index(name) for name in ("snow_and_ice", "cropland", "permanent_water_bodies"))
    cells = np.full((12, 12), snow)
    cells[:, 6:] = crop
    cells[8, 8] = water
    heights = landscape.draw_heights(generator(0), cells, "mountain")
    assert heights.shape == (4, 4)
    lake = 0.3 * 24 / 25 * 0.3 * 2200
    assert heights[1:3, 1:3] == pytest.approx(np.array([[2420, 660], [2420, lake]]))
    assert np.array_equal(heights, np.pad(heights[1:3, 1:3], 1, mode="edge"))


def elevation(patch: landscape.Patch) -> tuple[np.ndarray, np.ndarray]:
    """The patch's classes and its elevation."""
    classes = landscape.class_map(patch, generator(0, patch.land.ground, patch.column, patch.row))
    return classes, landscape.elevation(patch, classes)


def test_water_is_flat_and_land_above_it(patches):
    water_pixels = 0
    for part in patches:
        for patch in part[:4]:
            classes, metres = elevation(patch)
            level = landscape.ELEVATIONS[landscape.GROUNDS[patch.land.ground][-1]][0]
            assert metres.min() >= level
            water = metres[classes == landscape.WATER]
            water_pixels += len(water)
            assert (water == level).all()
    assert water_pixels > 10_000


def test_elevation_runs_on_across_the_border_of_neighbours_and_is_the_same_on_each_date(patches):
    for part in patches:
        (_, west), (_, east) = map(elevation, part[:2])
        within = np.abs(np.diff(west, axis=1)).max()
        assert np.abs(east[:, 0] - west[:, -1]).max() < 2 * within + 5  # m
    corners = {(patch.land.ground, patch.corner): patch for part in patches[:14] for patch in part}
    again = [(corners[patch.land.ground, patch.corner], patch) for part in patches[14:] for patch in part
             if (patch.land.ground, patch.corner) in corners]  # fmt: skip
    for one, other in again[::20]:
        assert np.array_equal(elevation(one)[1], elevation(other)[1])

from collections import defaultdict

import numpy as np
import pytest

from landcover.synthetic import landscape
from landcover.synthetic.landscape import ACQUISITIONS, make_landscape, place
from landcover.synthetic.noise import generator

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

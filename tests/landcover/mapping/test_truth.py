from types import SimpleNamespace

import numpy as np
import pytest
from rasterio import Affine
from rasterio.transform import from_origin
from tiny import write_tile

from landcover.errors import InputError
from landcover.mapping.maps import NOTHING
from landcover.mapping.truth import Agreement, Truth, read_truth
from landcover.mapping.windows import Windows

# Classes 10, 30 and 80 have the labels 0, 1 and 2; 0 is no class.
TRUTH = np.uint8([
    [10, 10, 30, 30],
    [10, 30, 30, 80],
    [ 0,  0, 30, 80],
    [ 0,  0, 10, 80],
])  # fmt: skip
GRID = from_origin(500_000, 5_000_000, 10, 10)


@pytest.fixture
def truth(tmp_path):
    write_tile(tmp_path / "truth.tif", TRUTH, transform=GRID)
    return tmp_path / "truth.tif"


def read(truth, numbers=(10, 30, 80), step=2, side=4, aside=0, metres=10, crs="EPSG:32633") -> Truth:
    """What is true of windows of 2 x 2 pixels of a scene of `side` pixels, which starts `aside` in the truth."""
    transform = GRID @ Affine.translation(aside, aside) @ Affine.scale(metres / 10)
    scene = SimpleNamespace(crs=crs, transform=tuple(transform)[:6], width=side, height=side)
    return read_truth(truth, numbers, scene, Windows.over(scene, 2, step))


def test_a_window_has_the_class_that_covers_most_of_it(truth):
    labels, pixels, warning = read(truth)
    assert pixels[:, 0].tolist() == [[3, 0], [1, 3], [0, 1]]  # of the windows in the first row, as cells are the same
    assert (labels.tolist(), warning) == ([[0, 1], [NOTHING, 2]], None)
    assert read(truth, side=2, aside=2)[0].tolist() == [[2]]


def test_windows_overlap_where_the_step_is_smaller(truth):
    # In the window below the middle, 10 and 30 cover a pixel each: the first of them counts.
    labels, pixels, _ = read(truth, step=1)
    assert labels.tolist() == [[0, 1, 1], [0, 1, 1], [NOTHING, 0, 2]]
    assert pixels[1].tolist() == [[0, 0, 1], [0, 1, 1], [0, 0, 1]]  # whether the cell, a pixel, is of class 30


@pytest.mark.parametrize("place", [{"aside": 0.5}, {"side": 6}, {"aside": -1}, {"metres": 20, "side": 2}])
def test_windows_beside_the_pixels_are_refused(truth, place):
    with pytest.raises(InputError, match=r"truth\.tif: is not aligned with the scene's pixels; warp it"):
        read(truth, **place)
    with pytest.raises(InputError, match=r"truth\.tif: is in EPSG:32633, and the map in EPSG:32632; warp it to the sc"):
        read(truth, crs="EPSG:32632")


def test_numbers_of_no_class_are_told(truth, tmp_path):
    labels, _, warning = read(truth, (30, 80, 95))
    assert labels.tolist() == [[NOTHING, 0], [NOTHING, 1]]
    assert warning == "33% of its numbers are of no class (10); windows where these cover most do not count"
    with pytest.raises(
        InputError, match=r"100% of its numbers .* \(10, 30, 80\); give those of .* \[1, 2\], or 0 for none"
    ):
        read(truth, [1, 2])
    write_tile(tmp_path / "tagged.tif", TRUTH, transform=GRID, nodata=10)
    assert read(tmp_path / "tagged.tif", (30, 80, 95)).warning is None
    write_tile(tmp_path / "empty.tif", TRUTH * 0, transform=GRID)
    with pytest.raises(InputError, match=r"100% of its numbers are of no class \(0\)"):
        read(tmp_path / "empty.tif")


def test_agreement_by_hand():
    actual = np.array([[0, 0, 0, 2], [2, NOTHING, 1, 0]])
    predicted = np.array([[0, 0, 1, 2], [0, 0, 1, NOTHING]])
    assert Agreement.of(actual, predicted, ["forest", "meadow", "lake"])._asdict() == {
        "cells": 6,
        "accuracy": pytest.approx(4 / 6),
        "classes": [
            {"class": "forest", "cells": 3, "recall": pytest.approx(2 / 3)},
            {"class": "meadow", "cells": 1, "recall": 1},
            {"class": "lake", "cells": 2, "recall": 0.5},
        ],
    }
    assert Agreement.of(actual, np.full((2, 4), NOTHING), [])._asdict() == {"cells": 0, "accuracy": None, "classes": []}

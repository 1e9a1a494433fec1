import numpy as np
import pytest
from rasterio import Affine
from rasterio.transform import from_origin
from tiny import write_tile

from landcover.errors import InputError
from landcover.mapping.maps import NOTHING
from landcover.mapping.truth import Agreement, read_labels

# Classes 10, 30 and 80 have the labels 0, 1 and 2; 0 is no class.
TRUTH = np.uint8([
    [10, 10, 30, 30],
    [10, 30, 30, 80],
    [ 0,  0, 30, 80],
    [ 0,  0, 10, 80],
])  # fmt: skip
GRID = from_origin(500_000, 5_000_000, 10, 10)
UTM = "EPSG:32633"


@pytest.fixture
def truth(tmp_path):
    write_tile(tmp_path / "truth.tif", TRUTH, transform=GRID)
    return tmp_path / "truth.tif"


def labels(truth, step: int, side: int, aside: float = 0) -> list[list[int]]:
    """Of windows of 2 x 2 pixels, whose cells are the step x step pixels in their middle."""
    margin = (2 - step) / 2 + aside
    transform = GRID @ Affine.translation(margin, margin) @ Affine.scale(step)
    return read_labels(truth, [10, 30, 80], UTM, transform, (side, side), 2).tolist()


def test_a_window_has_the_class_that_covers_most_of_it(truth):
    assert labels(truth, 2, 2) == [[0, 1], [NOTHING, 2]]


def test_windows_overlap_where_the_step_is_smaller(truth):
    # In the window below the middle, 10 and 30 cover a pixel each: the first of them counts.
    assert labels(truth, 1, 3) == [[0, 1, 1], [0, 1, 1], [NOTHING, 0, 2]]


@pytest.mark.parametrize(("step", "side", "aside"), [(2, 2, 0.5), (2, 3, 0), (1, 3, -1)])
def test_windows_beside_the_pixels_are_refused(truth, step, side, aside):
    with pytest.raises(InputError, match=r"truth\.tif: is not aligned with the scene's pixels; warp it"):
        labels(truth, step, side, aside)


def test_another_coordinate_system_or_other_numbers_are_refused(truth):
    with pytest.raises(
        InputError, match=r"truth\.tif: is in EPSG:32633, and the map in EPSG:32632; warp it to the scene"
    ):
        read_labels(truth, [10, 30, 80], "EPSG:32632", GRID, (2, 2), 2)
    with pytest.raises(InputError, match=r"has the numbers 0, 10, 30, 80, and no class; .* classes.tif: \[1, 2\]"):
        read_labels(truth, [1, 2], UTM, GRID, (2, 2), 2)


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

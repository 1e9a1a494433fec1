import numpy as np
import pytest

from landcover.config import Training
from landcover.errors import InputError
from landcover.training.drawing import draw_patches

LABELS = np.array([0, 1, 0, 0, 1, 0, 0, 1, 0])  # six and three


def draw(default_params, patches, seed=1):
    return draw_patches(LABELS, Training(**default_params["train"] | {"patches": patches, "seed": seed}))


def test_each_class_is_drawn_in_proportion_and_a_larger_number_adds_patches(default_params):
    few, more = draw(default_params, 3), draw(default_params, 6)
    assert np.bincount(LABELS[few]).tolist() == [2, 1]
    assert np.bincount(LABELS[more]).tolist() == [4, 2]
    assert set(few) < set(more)
    assert few.tolist() == sorted(few)
    assert len({tuple(draw(default_params, 3, seed)) for seed in range(20)}) > 5


def test_without_a_number_all_are_taken_and_more_than_there_are_is_an_error(default_params):
    assert draw(default_params, None).tolist() == [*range(9)]
    with pytest.raises(InputError, match=r"train\.patches = 10: the train split has 9 patches; lower it, or set null"):
        draw(default_params, 10)

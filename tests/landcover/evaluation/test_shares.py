import numpy as np
import pytest

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation import shares

TRUE = np.array([[0.6, 0.4, 0], [0.2, 0.8, 0]])


def test_areas_are_summed_and_counted_by_hand():
    predicted = np.array([[[0.7, 0.3, 0], [0.4, 0.5, 0.1]]])
    tree, water, none = shares.areas(TRUE, predicted, ["tree", "water", "none"])
    assert (tree["share"], water["share"], none["share"]) == pytest.approx((0.4, 0.6, 0))
    assert tree["summed"]["bias"]["value"] == pytest.approx(0.15)
    assert tree["summed"]["area"]["value"] == pytest.approx(0.15 / 0.4)
    assert tree["counted"]["bias"]["value"] == pytest.approx(0.1)  # one of two patches
    assert water["counted"]["area"]["value"] == pytest.approx(-0.1 / 0.6)
    assert none["summed"]["area"] is None
    assert none["summed"]["bias"]["low"] < 0.05 < none["summed"]["bias"]["high"]
    rows = [tree, water, none]
    assert (shares.misplaced(rows, "summed"), shares.misplaced(rows, "counted")) == pytest.approx((0.2, 0.1))


def test_the_interval_of_an_area_is_that_of_a_ratio():
    """As by a bootstrap over places."""
    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(60), 5)
    true = rng.beta(2, 4, 60)[places] * rng.uniform(0.5, 1, 300)
    predicted = np.clip(1.2 * true + rng.normal(0, 0.1, 60)[places], 0, 1)
    estimate = shares.ratio((predicted - true)[None], true, places, None)
    draws = rng.integers(0, 60, (2000, 60))
    sums = [np.bincount(places, values)[draws].sum(1) for values in (predicted, true)]
    assert estimate.value == pytest.approx(predicted.sum() / true.sum() - 1)
    assert estimate.error == pytest.approx((sums[0] / sums[1]).std(), rel=0.1)


def test_figures_of_a_test_split_are_in_the_order_of_the_places():
    split = Split(np.zeros((2, 1, 1, 1)), TRUE.argmax(1), ["B02"], ["tree", "water", "none"], {})
    split = split._replace(shares=TRUE.astype(np.float32))
    index = Index(np.array(["b", "a"]), TRUE.max(1), np.array([10.0, 12]), np.array([50.0, 50]))
    predicted = np.array([[0.5, 0.25, 0.25], [0.2, 0.7, 0.1]])
    found = shares.of_test(split, index, np.log(predicted)[None])
    assert found["put_wrong"]["value"] == pytest.approx((0.25 + 0.1) / 2)
    assert found["rmse"]["value"] == pytest.approx(np.sqrt(((predicted - TRUE) ** 2).mean()))
    assert found["classes"][0]["summed"]["bias"]["value"] == pytest.approx(-0.05)


def test_bins_hold_the_means_of_their_patches():
    predicted = np.array([[0.01], [0.02], [0.03], [0.4], [0.6], [0.6], [0.66]])
    true = np.array([[0.1], [0.0], [0.2], [0.4], [0.5], [0.6], [0.7]])
    (only,) = shares.bins(true, predicted)
    assert only["count"].tolist() == [3, 1, 3]  # bins without a patch are left out
    assert only["predicted"] == pytest.approx([0.02, 0.4, 0.62])
    assert only["true"] == pytest.approx([0.1, 0.4, 0.6])

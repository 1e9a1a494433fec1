import numpy as np
import pytest

from stages import baseline


def test_band_statistics_by_hand():
    images = np.array([[[[0.0, 1.0], [2.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]]], np.float32)
    found = baseline.band_statistics(images, [0, 50, 100])
    assert found[0].tolist() == pytest.approx([1.5, np.sqrt(1.25), 0, 1.5, 3, 5, 0, 5, 5, 5])


def test_band_statistics_do_not_see_where_a_pixel_is():
    rng = np.random.default_rng(0)
    images = rng.random((2, 3, 8, 8), np.float32)
    shuffled = rng.permuted(images.reshape(2, 3, 64), axis=2).reshape(images.shape)
    assert not np.array_equal(images, np.sort(shuffled))
    places = rng.permutation(64)
    moved = images.reshape(2, 3, 64)[:, :, places].reshape(images.shape)
    assert baseline.band_statistics(moved, [5, 95]) == pytest.approx(baseline.band_statistics(images, [5, 95]))


def test_the_majority_is_the_train_splits_largest_class_with_its_frequencies():
    found = baseline.majority(np.array([1, 1, 0]), 2, 3)
    assert found.argmax(1).tolist() == [1, 1]
    assert np.exp(found[0]) == pytest.approx([2 / 6, 3 / 6, 1 / 6])


def test_the_regression_learns_and_leaves_unknown_classes_improbable():
    features = np.array([[0.0], [0.1], [1.0], [1.1]])
    found = baseline.logistic_regression(features, np.array([0, 0, 2, 2]), np.array([[0.0], [1.0]]), 4, 1.0)
    assert found.argmax(1).tolist() == [0, 2]
    assert np.isfinite(found).all()
    assert np.exp(found).sum(1) == pytest.approx([1, 1])
    assert np.exp(found[:, [1, 3]]) == pytest.approx(1 / (4 + 4))


def test_one_class_alone_is_always_predicted():
    found = baseline.logistic_regression(np.ones((3, 1)), np.array([2, 2, 2]), np.ones((2, 1)), 4, 1.0)
    assert found.argmax(1).tolist() == [2, 2]
    assert np.exp(found[0]) == pytest.approx([1 / 7, 1 / 7, 4 / 7, 1 / 7])

import numpy as np
import pytest
import scipy.stats

from landcover.judgement import confusion

#                      predicted: a  b  c
CONFUSION = np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]])  # class c has neither label nor prediction


def test_confusion_matrix_has_labels_in_rows_and_predictions_in_columns():
    found = confusion.confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_metrics_by_hand():
    assert confusion.accuracy(CONFUSION) == 6 / 8
    assert confusion.balanced_accuracy(CONFUSION) == 0.75
    assert confusion.macro_f1(CONFUSION) == 0.75


def test_an_absent_class_counts_only_by_what_is_wrongly_taken_for_it():
    found = np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]])
    assert confusion.balanced_accuracy(found) == (3 / 4 + 1) / 2
    assert confusion.macro_f1(found) == pytest.approx((6 / 7 + 1) / 2)


def test_metrics_of_many_confusion_matrices_are_those_of_each():
    stacked = np.random.default_rng(0).integers(0, 9, (5, 3, 3))
    for metric in (confusion.accuracy, confusion.balanced_accuracy, confusion.macro_f1):
        assert metric(stacked).tolist() == [metric(one) for one in stacked]


def test_the_bootstrap_of_cells_is_the_bootstrap_of_patches():
    """Resampled counts have the mean and variance that drawing patch by patch gives."""
    drawn = confusion.bootstrap(CONFUSION, 20_000, seed=0)
    assert drawn.shape == (20_000, 3, 3)
    assert (drawn.sum((1, 2)) == 8).all()
    share = CONFUSION / 8
    assert drawn.mean(0) == pytest.approx(CONFUSION, abs=0.05)
    assert drawn.var(0) == pytest.approx(8 * share * (1 - share), abs=0.05)


def test_the_interval_of_an_accuracy_is_that_of_the_binomial():
    """A bootstrapped accuracy is binomial, so that its quantiles are known."""
    found = np.array([[90, 0], [60, 0]])
    low, high = confusion.interval(confusion.accuracy(confusion.bootstrap(found, 50_000, seed=0)))
    expected = scipy.stats.binom.ppf([0.025, 0.975], 150, 0.6) / 150
    assert [low, high] == pytest.approx(expected, abs=1 / 150)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        right = rng.random(150) < 0.6
        found = np.array([[right.sum(), (~right).sum()], [0, 0]])
        low, high = confusion.interval(confusion.accuracy(confusion.bootstrap(found, 1000, seed=trial)))
        covered += low <= 0.6 <= high
    assert 0.92 <= covered / 400 <= 0.98

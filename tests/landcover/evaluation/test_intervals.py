import warnings

import numpy as np
import pytest
import scipy.stats

from landcover.evaluation import intervals


def test_a_mean_of_patches_is_students():
    values = np.array([[1.0, 2.0, 4.0, 5.0]])
    result = intervals.mean(values)
    expected = scipy.stats.t.interval(0.95, 3, 3.0, values.std(ddof=1) / 2)
    assert result.interval() == pytest.approx(expected)
    assert result.p() == pytest.approx(scipy.stats.ttest_1samp(values[0], 0).pvalue)


def test_no_difference_anywhere_is_certain():
    same = np.ones((1, 5))
    result = intervals.difference(same, same)
    assert (result.interval(), result.p()) == ((0, 0), 1)
    assert intervals.difference(same, same + 1).p() == 0


def test_one_patch_tells_next_to_nothing_but_is_no_error():
    low, high = intervals.mean(np.ones((3, 1))).interval()
    assert (low, high) == pytest.approx((1 - 0.5 * 12.706, 1 + 0.5 * 12.706), abs=0.001)


def test_seeds_by_hand():
    """Two seeds on three patches: between seeds 3 (1/3)^2 / 2 = 1/6, what remains 1/3 over two degrees, 1/6."""
    values = np.array([[1.0, 1, 0], [1, 0, 0]])
    assert intervals.mean(values).value == pytest.approx(1 / 2)
    # Patches: of the means 1, 1/2, 0 the variance is 1/4. The seeds add 1/6 - 1/6 = 0.
    assert intervals.mean(values).error ** 2 == pytest.approx(1 / 4 / 3)
    assert intervals.mean(values).components == [
        intervals.Component("patches", 3, pytest.approx(1)), intervals.Component("seeds", 2, pytest.approx(0)),
    ]  # fmt: skip


def test_seeds_that_shift_all_patches_add_their_own_variance():
    rng = np.random.default_rng(0)
    patches, shift = rng.normal(0, 1, 4000), np.array([-0.2, 0.0, 0.2])
    result = intervals.mean(patches + shift[:, None])
    assert result.error**2 == pytest.approx(patches.var(ddof=1) / 4000 + shift.var(ddof=1) / 3)
    assert 2 < result.freedom < 2.1  # nearly all is known from three seeds


def test_a_single_run_is_taken_to_vary_as_the_other_side_does():
    rng = np.random.default_rng(0)
    patches, shift = rng.normal(0, 1, 4000), np.array([-0.2, 0.0, 0.2])
    before, after = patches[None], patches + 0.5 + shift[:, None]
    component = shift.var(ddof=1)
    assert intervals.difference(before, after).error ** 2 == pytest.approx(component * (1 / 3 + 1))
    assert intervals.difference(after, before).error ** 2 == pytest.approx(component * (1 / 3 + 1))
    assert intervals.difference(before, after, seedless=True).error ** 2 == pytest.approx(component / 3)


def test_what_the_patches_leave_open_is_not_taken_away_by_chance():
    """Seeds that happen to agree on average, and on no patch, would leave less than nothing."""
    values = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1]])
    assert intervals.mean(values).error == 0  # of the patches' means, all one half
    mixed = np.array([[1.0, 0, 1, 0, 1, 0], [0, 1, 0, 1, 1, 0]])
    of_patches = mixed.mean(0).var(ddof=1) / 6
    assert intervals.mean(mixed).error ** 2 == pytest.approx(of_patches / 2)


def test_places_of_equal_size_are_the_test_of_their_means():
    rng = np.random.default_rng(0)
    values, places = rng.random(60), np.repeat(np.arange(12), 5)
    result = intervals.mean(values[None], places)
    means = values.reshape(12, 5).mean(1)
    assert result.error == pytest.approx(means.std(ddof=1) / np.sqrt(12))
    assert result.freedom == pytest.approx(11)


def test_networks_of_folds_by_hand():
    """Two seeds, two folds of four patches each; only the networks of the first fold differ, by one on each patch."""
    patches = np.array([0.0, 1, 0, 1, 0, 1, 0, 1])
    scores = np.stack([patches, patches + np.repeat([1.0, 0], 4)])
    result = intervals.mean(scores, folds=np.repeat([7, 9], 4))
    # Between the seeds of the first fold 1/2 is the variance, of their mean 1/4; it has half of the patches; x 1.25.
    of_networks = 1.25 * (1 / 4) * (1 / 2) ** 2
    of_patches = scores.mean(0).var(ddof=1) / 8
    assert result.error**2 == pytest.approx(of_patches + of_networks)
    assert result.components == [
        intervals.Component("patches", 8, pytest.approx(of_patches / result.error**2)),
        intervals.Component("networks", 4, pytest.approx(of_networks / result.error**2)),
    ]
    # With one seed on the other side, which is taken to vary as much: 1/S + 1 instead of 1/S.
    single = intervals.difference(patches[None], scores, folds=np.repeat([7, 9], 4))
    assert single.error**2 == pytest.approx((scores.mean(0) - patches).var(ddof=1) / 8 + 3 * of_networks)


def test_with_one_seed_the_larger_of_two_variances_counts():
    values, places, folds = np.array([[1.0, 1, 0, 0, 1, 1, 0, 0]]), np.repeat(np.arange(4), 2), np.repeat([1, 2], 4)
    over_places = intervals.mean(values, places, folds)  # the folds have the same mean
    assert over_places == intervals.mean(values, places)
    shifted = values + np.repeat([0.0, 9], 4)
    over_folds = intervals.mean(shifted, places, folds)
    assert (over_folds.error, over_folds.freedom) == (pytest.approx(4.5), 1)


@pytest.mark.parametrize("places", [None, np.zeros(6, int), np.arange(6)])
def test_places_that_tell_nothing_are_as_none(places):
    values = np.array([[1.0, 0, 0, 1, 1, 1]])
    assert intervals.mean(values, places) == intervals.mean(values)


def test_many_places_need_no_large_matrix():
    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(intervals.MANY + 1), 2)
    result = intervals.mean(rng.random((1, len(places))), places)
    assert result.freedom == intervals.MANY
    fewer = places[places < intervals.MANY]
    assert intervals.mean(rng.random((1, len(fewer))), fewer).freedom == pytest.approx(intervals.MANY - 1)


def test_wilson_by_hand():
    z = 1.959964
    assert intervals.wilson(1.0, 150) == pytest.approx((1 / (1 + z**2 / 150), 1))
    assert intervals.wilson(0.0, 10)[0] == 0
    # It contains the proportion to the last digit: else an error bar would have a negative length.
    assert all(intervals.wilson(1.0, count)[1] == 1 for count in range(1, 400))
    expected = scipy.stats.binomtest(60, 150).proportion_ci(method="wilson")
    assert intervals.wilson(0.4, 150) == pytest.approx((expected.low, expected.high))


def test_patches_of_one_place_tell_less_than_as_many_of_many():
    right = np.repeat([True, False, True, True, False, True, False, True, True, True], 15)
    places = np.repeat(np.arange(10), 15)  # in each place all is right, or nothing
    alone, together = intervals.share_interval(right), intervals.share_interval(right, places)
    assert alone == pytest.approx(intervals.wilson(0.7, 150))
    # Ten places count as ten patches less one, by Student's t.
    assert together == pytest.approx(intervals.wilson(0.7, 0.21 / (0.21 / 9), 9))


def test_places_that_are_all_alike_count_as_their_patches():
    right, places = np.tile([True, False], 75), np.repeat(np.arange(15), 10)
    with warnings.catch_warnings(action="error"):
        low, high = intervals.share_interval(right, places)
    assert (low, high) == pytest.approx(intervals.wilson(0.5, 150, 14))


def test_all_right_is_not_certain_in_places_either():
    low, high = intervals.share_interval(np.ones(150, bool), np.repeat(np.arange(10), 15))
    assert (low, high) == pytest.approx((0.975, 1), abs=0.001)


def test_the_difference_of_two_independent_means_is_welchs():
    rng = np.random.default_rng(0)
    one, other = rng.random((1, 30)), rng.random((1, 50)) * 2
    result = intervals.independent(intervals.mean(one), intervals.mean(other))
    expected = scipy.stats.ttest_ind(one[0], other[0], equal_var=False)
    assert result.p() == pytest.approx(expected.pvalue)
    assert result.freedom == pytest.approx(expected.df)

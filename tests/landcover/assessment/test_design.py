"""Points of a sample: how many, in which strata, and where."""

import numpy as np

from landcover.assessment.design import allocate, draw, sample_size

UNITS = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def test_the_plan_of_olofsson_has_641_points():
    assert sample_size(UNITS, np.array([0.70, 0.60, 0.90, 0.95]), error=0.01) == 641


def test_rare_strata_get_a_least_number_and_the_others_their_share():
    assert allocate(UNITS, 641, least=75).tolist() == [75, 75, 163, 328]
    assert allocate(UNITS, 641).tolist() == [50, 50, 179, 362]
    assert allocate(UNITS, 100).tolist() == [12, 12, 25, 51]


def test_a_stratum_has_no_more_points_than_units():
    assert allocate(np.array([3, 40, 57]), 60, least=10).tolist() == [3, 24, 33]
    assert allocate(np.array([3, 40, 57]), 100).tolist() == [3, 40, 57]


def test_units_are_drawn_within_their_stratum_in_random_order():
    labels = np.array([[0, 0, 1, -1], [1, 1, 1, 2]])
    drawn = draw(labels, np.array([0, 1, 2]), np.array([4, 8, 1]), 4, np.random.default_rng(1))
    assert np.bincount(drawn.strata).tolist() == [4, 8, 1]
    assert (labels[drawn.rows, drawn.columns] == drawn.strata).all()
    assert len(set(zip(*drawn[1:], strict=True))) == 13  # no unit twice
    assert (np.diff(drawn.strata) < 0).any()


def test_every_unit_is_as_likely_as_another():
    labels = np.array([[0, 0], [-1, 1]])
    rng = np.random.default_rng(0)
    times = np.zeros((2, 2, 4))
    for _ in range(500):
        drawn = draw(labels, np.array([0]), np.array([4]), 4, rng)
        np.add.at(times, tuple(drawn[1:]), 1)
    assert (times[labels != 0] == 0).all()
    assert abs(times[0] / 500 - 0.5).max() < 0.07

import numpy as np
import pytest
import scipy.stats

from landcover.evaluation import planning
from landcover.evaluation.comparison import Answer, Verdict
from landcover.evaluation.intervals import Component


def verdict(error: float, freedom: float | None, components: list[Component]) -> Verdict:
    return Verdict(0.6, 0.6, 0.0, -1, 1, 1, Answer.UNDECIDED, 0.03, "accuracy", "a test", error, freedom, components)


def test_a_difference_of_the_least_size_is_told_in_four_of_five_tests():
    rng, error, freedom = np.random.default_rng(0), 0.02, 30
    least = planning.least_told(verdict(error, freedom, []))
    # Of tests whose error is estimated with so many degrees of freedom.
    drawn = rng.normal(least, error, 20_000), error * np.sqrt(rng.chisquare(freedom, 20_000) / freedom)
    assert (drawn[0] > scipy.stats.t.ppf(0.975, freedom) * drawn[1]).mean() == pytest.approx(0.8, abs=0.015)
    assert planning.least_told(verdict(error, None, [])) == pytest.approx(0.02 * (1.959964 + 0.841621))


def test_equal_sides_are_equivalent_within_the_least_tolerance_in_four_of_five_tests():
    rng, error = np.random.default_rng(0), 0.02
    tolerance = planning.least_tolerance(verdict(error, None, []))
    drawn = rng.normal(0, error, 20_000)
    assert (abs(drawn) + 1.959964 * error < tolerance).mean() == pytest.approx(0.8, abs=0.01)


def test_places_are_planned_from_the_components_of_the_variance():
    """Of a variance of .0004, three quarters come from 40 places, and one quarter from networks of one seed."""
    known = verdict(0.02, 1e9, [Component("places", 40, 0.75), Component("networks after", 5, 0.25)])
    by = {(one.difference, one.seeds): one.places for one in planning.plan(known, (0.02, 0.1), seeds=1)}
    enough = (0.1 / 2.801585) ** 2
    assert by[0.1, 1] == (round(0.0003 * 40 / (enough - 0.0001)),) * 2
    assert by[0.1, 5] == (round(0.0003 * 40 / (enough - 0.0001 / 5)),) * 2
    assert by[0.02, 1] is None  # the networks alone vary too much
    # A variance that is known with few degrees of freedom gives a range.
    vague = verdict(0.02, 8, [Component("places", 9, 1.0)])
    ((low, high),) = [one.places for one in planning.plan(vague, (0.1,), seeds=1)]
    assert low == round(8 / 13.3616 * 0.0004 * 9 / enough) < round(8 / 3.4895 * 0.0004 * 9 / enough) == high
    assert planning.plan(verdict(0.0, 1, []), (0.1,), seeds=1) == []

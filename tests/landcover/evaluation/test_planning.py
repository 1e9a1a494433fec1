import math

import numpy as np
import pytest
import scipy.stats

from landcover.evaluation import planning
from landcover.evaluation.comparison import Answer, Verdict, against_baselines
from landcover.evaluation.intervals import Component
from landcover.evaluation.predictions import Predictions


def verdict(error: float, freedom: float | None, components: list[Component]) -> Verdict:
    return Verdict(0.6, 0.6, 0.0, -1, 1, 1, Answer.UNDECIDED, 0.03, "accuracy", "a test", error, freedom, components)


def test_a_difference_of_the_least_size_is_told_in_four_of_five_tests():
    rng, error, freedom = np.random.default_rng(0), 0.02, 30
    least = planning.least_detected(verdict(error, freedom, []))
    # Of tests whose error is estimated with so many degrees of freedom.
    drawn = rng.normal(least, error, 20_000), error * np.sqrt(rng.chisquare(freedom, 20_000) / freedom)
    assert (drawn[0] > scipy.stats.t.ppf(0.975, freedom) * drawn[1]).mean() == pytest.approx(0.8, abs=0.015)
    assert planning.least_detected(verdict(error, None, [])) == pytest.approx(0.02 * (1.959964 + 0.841621))


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
    assert by[0.1, 1] == (math.ceil(0.0003 * 40 / (enough - 0.0001)),) * 2
    assert by[0.1, 5] == (math.ceil(0.0003 * 40 / (enough - 0.0001 / 5)),) * 2
    assert by[0.02, 1] is None  # the networks alone vary too much


def test_few_places_take_a_larger_difference_and_an_unsure_variance_gives_a_range():
    vague = verdict(0.02, 8, [Component("places", 9, 1.0)])
    ((low, high),) = [one.places for one in planning.plan(vague, (0.1,), seeds=1)]
    # 10% of chi-squared variates with 8 degrees of freedom are above 13.3616, and 10% below 3.4895.
    for places, factor in ((low, 8 / 13.3616), (high, 8 / 3.4895)):
        detected = [
            (scipy.stats.t.ppf(0.975, n - 1) + scipy.stats.t.ppf(0.8, n - 1)) * 0.02 * np.sqrt(factor * 9 / n) <= 0.1
            for n in (places - 1, places)
        ]
        assert detected == [False, True]
    # What the test itself detects takes as many places as it has, at the variance that it found.
    sure = verdict(0.02, 1e9, [Component("places", 9, 1.0)])
    assert planning.plan(sure, (planning.least_detected(sure) + 1e-5,), seeds=1)[0].places == (9, 9)
    assert planning.plan(verdict(0.0, 1, []), (0.1,), seeds=1) == []


def of_scores(right: np.ndarray) -> Predictions:
    """Predictions that are right where `right`, bool (S, N), says so."""
    actual = np.full(right.shape[1], "a")
    return Predictions(np.arange(len(actual)), actual, np.where(right, "a", "b"), list(range(len(right))))


def test_a_plan_is_rehearsed_with_the_baseline_closest_in_accuracy():
    patches = np.arange(100)[None]
    run = of_scores(patches < 60)
    baselines = {"far": of_scores(patches < 20), "close": of_scores((patches >= 10) & (patches < 75))}
    name, verdict = planning.rehearse(run, baselines)
    # Ten patches are right by the run alone, fifteen by the baseline alone, and a single run shows no other variance.
    assert (name, verdict.components) == ("close", [Component("patches", 100, 1.0)])
    assert verdict.standard_error == pytest.approx(np.sqrt(25) / 100)


def test_both_sides_of_a_rehearsal_are_trained():
    rng = np.random.default_rng(0)
    run = of_scores(rng.random((3, 200)) < np.array([[0.5], [0.6], [0.7]]))
    baselines = {"only": of_scores(rng.random((1, 200)) < 0.6)}
    known, (_, verdict) = against_baselines(run, baselines)["only"], planning.rehearse(run, baselines)
    _, networks = known.components
    assert networks.source == "seeds after"
    assert verdict.standard_error**2 == pytest.approx(known.standard_error**2 * (1 + networks.share))
    assert verdict.components[1].share == pytest.approx(2 * networks.share / (1 + networks.share))


def test_a_test_on_more_ground_by_more_networks_varies_less():
    known = verdict(0.02, 8, [Component("places", 40, 0.75), Component("networks after", 5, 0.25)])
    more = planning.over_all(known, ground=4, folds=5, seeds=3)
    assert more.standard_error == pytest.approx(np.sqrt(0.0003 / 4 + 0.0001 / 5))
    assert [one.share for one in more.components] == pytest.approx([15 / 19, 4 / 19])
    assert (more.degrees_of_freedom, planning.over_all(known, 4, 5, seeds=1).degrees_of_freedom) == (8, 4)

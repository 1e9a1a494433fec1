import numpy as np
import pytest

from landcover.evaluation import selection
from landcover.evaluation.predictions import Predictions


def of_scores(right: np.ndarray) -> Predictions:
    """Predictions that are right where `right`, bool (S, N), says so."""
    seeds, count = right.shape
    actual = np.full(count, "a")
    return Predictions(np.arange(count).astype(str), actual, np.where(right, "a", "b"), list(range(seeds)))


def test_the_best_is_chosen_and_what_is_not_told_from_it_named():
    rng = np.random.default_rng(0)
    shares = {"bad": 0.3, "fair": 0.69, "best": 0.72}
    draw = {name: of_scores(rng.random((3, 200)) < share) for name, share in shares.items()}
    assert selection.choose(draw) == ("best", ["fair"])
    assert selection.choose({"bad": draw["bad"]}) == ("bad", [])


def test_the_best_of_equals_looks_too_good_and_a_clear_best_does_not():
    rng = np.random.default_rng(0)
    equals = {str(k): of_scores(rng.random((1, 150)) < 0.6) for k in range(8)}
    # Of eight independent accuracies the largest is on average 1.42 deviations, here 4 points, above their mean.
    too_good = selection.optimism(equals, resamples=2000, seed=0)
    assert 0.015 < too_good < 0.06
    clear = {"good": of_scores(rng.random((1, 150)) < 0.9), "bad": of_scores(rng.random((1, 150)) < 0.3)}
    assert selection.optimism(clear, resamples=2000, seed=0) == pytest.approx(0, abs=0.002)


def test_holm_by_hand():
    assert selection.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert selection.holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert selection.holm([]) == []

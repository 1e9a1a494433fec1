from dataclasses import replace

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
    best = max(equals, key=lambda name: (equals[name].predicted == "a").mean())
    # Of eight independent accuracies the largest is on average 1.42 deviations, here 5.7 points, above their mean.
    assert 0.02 < selection.optimism(equals, best) < 0.08
    clear = {"good": of_scores(rng.random((1, 150)) < 0.9), "bad": of_scores(rng.random((1, 150)) < 0.3)}
    assert selection.optimism(clear, "good") == pytest.approx(0, abs=0.002)
    assert selection.optimism({"good": clear["good"]}, "good") == 0
    assert selection.optimism({"one": clear["good"], "same": clear["good"]}, "one") == 0


def test_optimism_by_hand():
    """Three accuracies, 1/2, 1/4 and 0, of eight patches, whose variance is 1/16; half of the errors' counts."""
    patches = np.arange(8)
    right = [patches % 2 == 0, patches % 4 == 0, patches < 0]
    three = {name: of_scores(one[None]) for name, one in zip("abc", right, strict=True)}
    of_patches = np.array(right) - np.mean(right, 0)
    noise = np.mean(of_patches.var(1, ddof=1) / 8) * 3 / 2
    assert selection.optimism(three, "a") == pytest.approx(noise / 2 / (1 / 16) * (1 / 2 - 1 / 4))


def test_within_each_fold_the_choice_is_made_by_the_next_one():
    """Twelve patches in four folds. By all folds together, `b` would be chosen."""
    folds = np.repeat([1, 2, 3, 4], 3)
    val = {"a": [0, 3, 0, 0], "b": [1, 2, 1, 1]}  # right of the patches of each fold, predicted by the one before
    test = {"a": [3, 3, 0, 1], "b": [0, 1, 2, 2]}
    sides = [
        {
            name: replace(of_scores((np.arange(12) % 3 < np.repeat(right, 3))[None]), folds=folds)
            for name, right in side.items()
        }
        for side in (val, test)
    ]
    choice = selection.choose_within_folds(*sides)
    assert choice.names == {1: "a", 2: "b", 3: "b", 4: "b"}
    assert choice.estimate.value == pytest.approx((3 + 1 + 2 + 2) / 12)


def test_holm_by_hand():
    assert selection.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert selection.holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert selection.holm([]) == []

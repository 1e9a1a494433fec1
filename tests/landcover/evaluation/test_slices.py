from dataclasses import replace

import numpy as np
import pytest

from landcover.evaluation.predictions import Predictions
from landcover.evaluation.slices import SEASONS, slices

# Twelve patches in six places 100 km apart, two in each; the last place lies in a block of its own, to the west.
IDS = np.array([f"S2A_MSIL2A_2017{1 + i // 2:02d}13T101031_{i}_1" for i in range(12)])
ACTUAL = np.array(["a", "b"] * 6)
PLACES = np.repeat(np.arange(6), 2)
POSITIONS = np.stack([np.where(PLACES < 5, 10.0, -1.0), np.where(PLACES < 5, 46.1 + 0.4 * (PLACES % 5), 51.0)], axis=1)


def predictions(right: np.ndarray, **facts) -> Predictions:
    """Predictions that are right where `right`, bool (N,) or (S, N), says so."""
    right = np.atleast_2d(right)
    return Predictions(IDS, ACTUAL, np.where(right, ACTUAL, "c"), list(range(len(right))), **facts)


def table(found) -> dict[str, tuple[int, int | None, int, int]]:
    return {one.name: (one.patches, one.places, one.fixed, one.broken) for one in found}


def test_each_slice_counts_its_patches_places_and_changes():
    before, after = np.zeros(12, bool), np.arange(12) % 2 == 0
    before[1] = True  # fixed: the six of class a; broken: one of class b
    known = {"positions": POSITIONS, "stated_places": PLACES, "majority_fractions": np.repeat([0.4, 0.95], 6)}
    found = slices(predictions(before), predictions(after, **known))
    assert table(found) == {
        "a": (6, 6, 6, 0),
        "b": (6, 6, 0, 1),
        "below 50%": (6, 3, 3, 1),
        "90% to 100%": (6, 3, 3, 0),
        SEASONS[0]: (4, 2, 2, 1),
        SEASONS[1]: (6, 3, 3, 0),
        SEASONS[2]: (2, 1, 1, 0),
        "46 to 48 N, 9 to 12 E": (10, 5, 5, 1),
        "elsewhere": (2, 1, 1, 0),
    }
    judged = [one for one in found if one.verdict]
    assert [one.name for one in judged] == ["a", "b", "46 to 48 N, 9 to 12 E"]  # in five places or more
    assert judged[0].verdict.difference == 1
    assert judged[1].verdict.difference == pytest.approx(-1 / 6)


def test_of_many_slices_each_p_value_is_corrected():
    before, after = np.zeros(12, bool), ACTUAL == "a"
    one, other = slices(predictions(before, stated_places=PLACES), predictions(after, stated_places=PLACES))[:2]
    assert one.p == pytest.approx(2 * one.verdict.p)
    assert one.p < 0.05
    assert other.p == other.verdict.p == 1


def test_a_table_without_dates_positions_and_purity_has_slices_by_class_alone():
    ids = np.array([f"tile {i}" for i in range(12)])
    before, after = (replace(predictions(np.arange(12) < count), patch_ids=ids) for count in (6, 9))
    found = slices(before, after)
    assert table(found) == {"a": (6, None, 2, 0), "b": (6, None, 1, 0)}
    assert all(one.verdict for one in found)  # patches whose places are unknown count as places


def test_a_slice_in_one_fold_has_no_interval():
    known = {"stated_places": PLACES, "folds": 1 + (ACTUAL == "b")}
    found = slices(predictions(np.zeros(12, bool), **known), predictions(ACTUAL == "a", **known))
    assert not any(one.verdict or one.p for one in found)


def test_several_networks_vote_on_a_patch():
    by_seed = np.array([["a", "c", "c", "b"], ["a", "a", "b", "c"], ["b", "a", "a", "b"]])
    voted = Predictions(np.arange(4), np.array(["a", "a", "a", "c"]), by_seed, [1, 2, 3]).voted
    # Two of three; two of three; none, since one of three is not most of them; two of three for another class.
    assert voted.tolist() == ["a", "a", "b", "b"]
    two = Predictions(np.arange(1), np.array(["a"]), np.array([["a"], ["b"]]), [1, 2])
    assert two.voted.tolist() == ["b"]  # half is not more than half

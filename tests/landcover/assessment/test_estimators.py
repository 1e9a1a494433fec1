"""The estimates come out as published, and as one can work out by hand."""

import numpy as np
import pandas as pd
import pytest

from landcover.assessment.estimators import UNKNOWN, Sample, accuracy, difference, kappa, shares
from landcover.evaluation.comparison import Answer

# Olofsson et al. (2014), table 8: points by class on the map and on the ground, of deforestation, forest gain, stable
# forest and stable non-forest.
OLOFSSON = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
UNITS = np.array([200_000, 150_000, 3_200_000, 6_450_000])  # pixels of 30 m
HECTARES = UNITS.sum() * 0.09
# Stehman (2014), table 2: points by stratum, class on the map and class on the ground, of the classes A, B, C, D.
STEHMAN = {
    "A": {"AA": 5, "AC": 1, "AB": 1, "BA": 1, "BB": 1, "BC": 1},
    "B": {"AA": 1, "BB": 7, "BA": 2},
    "C": {"BC": 2, "CC": 3, "CD": 2, "CB": 1, "BB": 1, "BA": 1},
    "D": {"DD": 7, "DC": 2, "DB": 1},
}


def tabulated(table: np.ndarray) -> Sample:
    """A sample whose strata are the classes of the map."""
    mapped, reference = np.indices(table.shape).reshape(2, -1).repeat(table.ravel(), axis=1)
    return Sample(UNITS, mapped, mapped, reference)


@pytest.fixture
def stehman() -> Sample:
    points = [
        ("ABCD".index(stratum), *map("ABCD".index, pair))
        for stratum, pairs in STEHMAN.items()
        for pair, count in pairs.items()
        for _ in range(count)
    ]
    return Sample(np.array([40_000, 30_000, 20_000, 10_000]), *np.array(points).T)


def printed(shares, digits: int = 2) -> list[tuple[float, float]]:
    """Estimates with 1.96 standard errors, as published."""
    return [(round(one.value, digits), round(1.96 * one.error, digits)) for one in shares]


def test_table_8_of_olofsson_comes_out():
    found = accuracy(tabulated(OLOFSSON), 4)
    assert printed(found.users) == [(0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)]
    assert printed(found.producers) == [(0.75, 0.21), (0.85, 0.25), (0.93, 0.03), (0.96, 0.02)]
    assert printed([found.overall]) == [(0.95, 0.02)]
    areas = [(round(HECTARES * one.value), round(HECTARES * 1.96 * one.error)) for one in found.areas]
    assert areas == [(21_158, 6_158), (11_686, 3_756), (285_770, 15_510), (581_386, 16_282)]
    assert found.matrix.sum(1).tolist() == pytest.approx([0.02, 0.015, 0.32, 0.645])
    assert (found.counts == OLOFSSON).all()


def test_the_example_of_stehman_comes_out(stehman):
    found = accuracy(stehman, 4)

    def pair(one, digits):
        return round(one.value, digits), round(one.error, 3)

    assert pair(found.areas[0], 2) == (0.35, 0.082)
    assert pair(found.areas[2], 2) == (0.20, 0.064)
    assert pair(found.overall, 2) == (0.63, 0.085)
    assert pair(found.users[1], 3) == (0.574, 0.125)
    assert pair(found.producers[1], 3) == (0.794, 0.117)


def test_another_implementation_of_stehman_finds_the_same():
    """On strata of which more than 5% is sampled, since it corrects for a finite population everywhere."""
    theirs = pytest.importorskip(
        "lulc_validation.lulc_val",
        reason="lulc-validation is no requirement, as it asks for fiona and so for another GDAL; it runs without: "
        "pip install --no-deps lulc-validation",
    )
    rng = np.random.default_rng(0)
    sizes, points = [900, 700, 300, 500], [60, 50, 30, 40]
    strata = np.repeat(range(4), points)
    mapped = np.where(rng.random(len(strata)) < 0.8, strata, rng.integers(0, 4, len(strata)))
    reference = np.where(rng.random(len(strata)) < 0.7, mapped, rng.integers(0, 4, len(strata)))
    found = accuracy(Sample(np.array(sizes), strata, mapped, reference), 4)
    table = pd.DataFrame({"stratum": strata, "mapped": mapped, "reference": reference})
    other = theirs.StratVal([*range(4)], [*range(4)], sizes, table, "stratum", "reference", "mapped")
    assert [found.overall.value, found.overall.error] == pytest.approx(
        [other.accuracy(), other.accuracy_se()], abs=1e-9
    )
    for ours, values, errors in (
        (found.users, other.users_accuracy(), other.users_accuracy_se()),
        (found.producers, other.producers_accuracy(), other.producers_accuracy_se()),
    ):
        assert [one.value for one in ours] == pytest.approx([*values.values()], abs=1e-9)
        assert [one.error for one in ours] == pytest.approx([*errors.values()], abs=1e-9)


def test_a_sample_of_everything_has_no_error():
    sizes, strata, mapped = np.array([2, 3]), np.array([0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1])
    found = accuracy(Sample(sizes, strata, mapped, np.array([0, 1, 1, 1, 0])), 2)
    assert (found.overall.value, found.overall.error) == (pytest.approx(0.6), 0)


def test_intervals_stay_between_0_and_1_and_are_never_empty():
    found = accuracy(tabulated(np.diag([40, 20, 20, 20])), 4)
    assert found.overall[:2] == (1, 0)
    assert 0.95 < found.overall.low < 0.97  # Wilson's for 100 of 100
    assert found.overall.high == 1
    one = shares(tabulated(OLOFSSON), np.zeros((640, 1)), np.ones((640, 1)))[0]
    assert (one.value, one.low) == (0, 0)
    assert 0.005 < one.high < 0.007


def test_a_class_that_nothing_has_is_undefined():
    found = accuracy(tabulated(OLOFSSON), 5)
    assert np.isnan([*found.users[4], *found.producers[4]]).all()
    assert found.areas[4].value == 0


def test_what_the_map_does_not_cover_does_not_count():
    strata = np.repeat([0, 1], 4)
    mapped = np.array([0, 0, UNKNOWN, UNKNOWN, 1, 1, 1, 1])
    found = accuracy(Sample(np.array([100, 100]), strata, mapped, np.array([0, 1, 0, 0, 1, 1, 1, 1])), 2)
    # Half of the first stratum is covered, and half of that is right: a quarter, and all of the second.
    assert found.overall.value == pytest.approx((0.25 + 1) / (0.5 + 1))
    assert found.areas[0].value == pytest.approx(0.25 / 1.5)


def test_the_better_of_two_maps():
    strata, reference = np.repeat([0, 1], 50), np.zeros(100, int)
    before, after = np.zeros(100, int), np.zeros(100, int)
    before[:20] = 1  # wrong at 20 points of the first stratum, where the other is right
    after[50:55] = 1
    sample = Sample(np.array([3000, 1000]), strata, before, reference)
    verdict = difference(sample, after)
    assert verdict.difference == pytest.approx(0.75 * 0.4 - 0.25 * 0.1)
    assert (verdict.before, verdict.after) == (pytest.approx(0.75 * 0.6 + 0.25), pytest.approx(0.75 + 0.25 * 0.9))
    variance = 0.75**2 * 0.24 / 49 + 0.25**2 * 0.09 / 49
    assert verdict.standard_error == pytest.approx(np.sqrt(variance))
    assert verdict.verdict == Answer.BETTER
    same = difference(sample, before)
    assert (same.difference, same.standard_error) == (0, 0)
    assert same.low == pytest.approx(-same.high)


def test_two_people_agree():
    first, second = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert kappa(first, second) == (0.75, pytest.approx((0.75 - 0.5) / 0.5))
    assert np.isnan(kappa(np.zeros(3), np.zeros(3))[1])

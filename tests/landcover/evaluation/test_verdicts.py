"""The verdicts of comparisons, on simulated models of which it is known by how much they differ.

`make simulate` draws thousands of pairs in each case. Here are hundreds, at fixed seeds, so that a share is known to
three standard errors of a binomial count. Methods that forget places or seeds have false verdicts in 10% and more of
these pairs, which is beyond that.
"""

from functools import partial

import numpy as np
import pytest

from benchmarks import verdicts
from benchmarks.verdicts import CASES, DIFFERENCE, Ground, Model, simulate

EQUAL, DIFFERING = 400, 200  # pairs


def reach(share: float, count: int) -> float:
    """Three standard errors of a share that was counted in so many draws."""
    return 3 * np.sqrt(share * (1 - share) / count)


def nominal(rates: verdicts.Rates, pairs: int = EQUAL) -> bool:
    """Whether the false verdicts may be 5%, and the intervals those of 95%."""
    return max(abs(rates.significant - 0.05), abs(rates.covered - 0.95)) < reach(0.05, pairs)


# The least power: what the best simple method with nominal verdicts has, less two points; with 2 and 2 seeds, or with
# places, what this method has.
@pytest.mark.parametrize(
    ("name", "power"),
    [
        ("1 run, 1 run; seeds do not matter", 0.58),
        ("2 seeds, 2 seeds", 0.34),
        ("3 seeds, 3 seeds", 0.52),
        ("5 seeds, 5 seeds", 0.68),
        ("1 run, 5 seeds", 0.40),
        ("baseline, 3 seeds", 0.55),
    ],
)
def test_verdicts_on_equal_models_are_rarely_false_and_differences_are_seen(name, power):
    case = CASES[name]
    by = {"ours": verdicts.ours_of_baseline if case.baseline else verdicts.ours}
    assert nominal(simulate(case, 0, by, EQUAL, seed=1)["ours"])
    differing = simulate(case, DIFFERENCE, by, DIFFERING, seed=2)["ours"]
    assert differing.significant > power - reach(power, DIFFERING)
    assert differing.covered > 0.95 - reach(0.05, DIFFERING)


@pytest.mark.parametrize(
    ("design", "correlation", "power"),
    [
        ("test split, 1 run", 0.15, 0.30),
        ("test split, 3 seeds", 0.3, 0.18),
        ("5 folds, 1 seed", 0.05, 0.60),
        ("5 folds, 3 seeds", 0.05, 0.75),
    ],
)
def test_designs_have_few_false_verdicts_and_the_power_that_the_page_says(design, correlation, power):
    """With folds, the method is conservative where the simulation's folds do not overlap: 2 to 7% may be false."""
    case, pairs = verdicts.designed(design, correlation), 100
    false, covered = simulate(case, 0, {"": verdicts.ours}, pairs, seed=1)[""]
    assert 0.02 - reach(0.02, pairs) < false < 0.05 + reach(0.05, pairs)
    assert covered > 0.95 - reach(0.05, pairs)
    assert simulate(case, DIFFERENCE, {"": verdicts.ours}, 60, seed=2)[""].significant > power - reach(power, 60)


def test_the_command_says_what_its_functions_say():
    """A table by each design is printed as it was judged; else `design_rows` raises."""
    for design in ("test split, 1 run", "5 folds, 3 seeds"):
        verdicts.design_rows(design, 0.15, 2, seed=1)


def test_networks_that_are_really_fitted_in_folds_are_rarely_called_different():
    by = {"ours": verdicts.ours}
    assert verdicts.refitted(1, verdicts.Features(0.5), by, 60, seed=1)["ours"] < 0.05 + reach(0.05, 60)


def test_a_wrong_method_would_be_found():
    """So that the bounds are known to bind: those who forget places, or seeds, or take two runs for configurations."""
    placed = verdicts.Case(1, 1, Ground(150, 20, 0.15), deviation=0)
    assert not nominal(simulate(placed, 0, {"": verdicts.paired_t}, EQUAL, seed=1)[""])
    forgetful = {"seeds": verdicts.paired_t, "patches": verdicts.welch}
    result = simulate(CASES["5 seeds, 5 seeds"], 0, forgetful, EQUAL, seed=1)
    assert not nominal(result["seeds"])
    assert not nominal(result["patches"])
    folds = verdicts.designed("5 folds, 1 seed", 0)
    result = simulate(folds, 0, {"places": verdicts.over_places, "ours": verdicts.ours}, 100, seed=1)
    assert result["places"].significant > 0.1 > result["ours"].significant
    assert not nominal(simulate(CASES["1 run, 1 run; seeds matter"], 0, {"": verdicts.ours}, EQUAL, seed=1)[""])


def test_other_metrics_of_equal_models():
    by = {metric: partial(verdicts.ours, metric=metric) for metric in ("macro_f1", "nll", "brier")}
    for metric, rates in simulate(CASES["3 seeds, 3 seeds"], 0, by, 300, seed=1).items():
        assert nominal(rates, 300), metric


def test_a_table_of_equal_experiments_has_a_false_verdict_as_rarely_as_one_comparison():
    """Without Holm's method in every fifth table, or every second."""
    for result, alone, tables in ((verdicts.against_one, 0.2, 80), (verdicts.whole_table, 0.5, 50)):
        with_holm, without = result(tables, seed=1)
        assert with_holm < 0.05 + reach(0.05, tables)
        assert without > alone - reach(alone, tables)


@pytest.mark.parametrize("ground", [Ground(), Ground(150, 20, 0.15)])
@pytest.mark.parametrize("model", [Model(0.65, deviation=0), Model(0.98, deviation=0), Model(0.65, seeds=3)])
def test_the_interval_of_an_accuracy_holds_it(model, ground):
    """With few wrong patches, whose number jumps, in 93 to 98%, as is known of Wilson's interval."""
    covered = verdicts.accuracy_covered(model, ground, 600, seed=1)
    assert 0.93 - reach(0.07, 600) < covered < 0.98 + reach(0.02, 600)


def test_the_best_of_eight_looks_better_than_it_is_by_about_what_is_said():
    result = verdicts.too_good(200, seed=1)
    assert result.looks > 0.03
    assert result.estimated == pytest.approx(result.looks, rel=0.4)

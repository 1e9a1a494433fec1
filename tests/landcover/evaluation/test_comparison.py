from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from landcover.errors import InputError
from landcover.evaluation import comparison
from landcover.evaluation.intervals import Component
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import Predictions, of_baselines


def predictions(right: np.ndarray, **more) -> Predictions:
    """Predictions of patches of class a that are right where `right`, bool (S, N), says so."""
    right = np.atleast_2d(right)
    seeds, count = right.shape
    ids = np.array([f"{number:04d}" for number in range(count)])
    return Predictions(ids, np.full(count, "a"), np.where(right, "a", "b"), list(range(seeds)), **more)


def test_the_score_test_by_hand():
    # Nine patches fixed and two broken: (9 - 2) / sqrt(9 + 2) standard errors.
    assert comparison.score_test(9, 2) == pytest.approx(2 * scipy.stats.norm.sf(7 / np.sqrt(11)))
    assert comparison.score_test(3, 3) == comparison.score_test(0, 0) == 1


def test_the_score_test_and_tangos_interval_agree():
    for fixed in range(40):
        for broken in range(40):
            low, high = comparison.tango(fixed, broken, 150)
            assert (comparison.score_test(fixed, broken) < 0.05) == (not low <= 0 <= high), (fixed, broken)


@pytest.mark.parametrize(
    ("fixed", "broken", "count"), [(10, 3, 150), (5, 1, 10), (30, 30, 150), (7, 0, 20), (1, 60, 90)]
)
def test_tangos_limits_are_where_the_score_test_turns(fixed, broken, count):
    """At each limit, the score statistic with the likeliest shares under that difference is the normal quantile."""

    def statistic(delta: float) -> float:
        # Maximum likelihood of the broken share, with fixed share = broken share + delta, by brute force.
        shares = np.linspace(max(0, -delta), (1 - delta) / 2, 200_001)[1:-1]
        all_shares = np.maximum([shares + delta, shares, 1 - 2 * shares - delta], 1e-300)
        share = shares[([fixed, broken, count - fixed - broken] @ np.log(all_shares)).argmax()]
        return (fixed - broken - count * delta) / np.sqrt(count * (2 * share + delta - delta**2))

    low, high = comparison.tango(fixed, broken, count)
    assert statistic(low) == pytest.approx(scipy.stats.norm.ppf(0.975), abs=0.01)
    assert statistic(high) == pytest.approx(-scipy.stats.norm.ppf(0.975), abs=0.01)


def test_tango_at_its_edges():
    assert comparison.tango(0, 0, 150) == pytest.approx((-0.02497, 0.02497), abs=1e-5)
    assert comparison.tango(150, 0, 150) == pytest.approx((0.95006, 1), abs=1e-5)
    assert comparison.tango(0, 150, 150) == pytest.approx((-1, -0.95006), abs=1e-5)
    assert comparison.tango(3, 10, 150) == pytest.approx([-x for x in comparison.tango(10, 3, 150)[::-1]])


def test_two_runs_are_compared_by_the_score_test():
    before, after = np.zeros(150, bool), np.zeros(150, bool)
    after[:9], before[9:11] = True, True
    result = comparison.compare(predictions(before), predictions(after))
    assert (result.verdict, result.scope, result.patches, result.places) == ("better", "two runs", 150, None)
    accuracy = result.metrics["accuracy"]
    assert (accuracy.low, accuracy.high) == comparison.tango(9, 2, 150)
    assert accuracy.p == comparison.score_test(9, 2)
    assert accuracy.difference == pytest.approx(7 / 150)
    assert accuracy.standard_error == pytest.approx(np.sqrt(11) / 150)
    assert accuracy.method == "Tango's score test for paired proportions (McNemar's test)"
    assert accuracy.degrees_of_freedom is None
    assert accuracy.components == [Component("patches", 150, 1.0)]
    assert comparison.compare(predictions(after), predictions(before)).verdict == "worse"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.001, 0.02, "better"),
        (0.001, 0.2, "better"),
        (-0.2, -0.001, "worse"),
        (-0.03, -0.001, "worse"),
        (-0.029, -0.001, "worse by less than the tolerance"),
        (-0.029, 0.029, "equivalent"),
        (0.0, 0.029, "equivalent"),
        (-0.029, 0.03, "undecided, not worse by the tolerance"),
        (-0.03, 0.0, "undecided"),
        (-0.2, 0.2, "undecided"),
    ],
)
def test_the_interval_and_the_tolerance_give_the_answer(low, high, words):
    assert comparison.answer(low, high, 0.03) == words
    assert comparison.answer(-high, -low, 0.03, higher_is_better=False) == words


def test_the_tolerance_of_a_metric_can_be_set():
    before, after = np.arange(900) % 10 > 0, np.arange(900) % 10 > 0
    after[:2] = False
    result = comparison.compare(predictions(before), predictions(after))
    assert (result.verdict, result.decisive.tolerance) == ("equivalent", 0.03)
    result = comparison.compare(predictions(before), predictions(after), tolerances={"accuracy": 0.001})
    assert (result.verdict, result.decisive.tolerance) == ("undecided", 0.001)


def test_no_change_anywhere_is_not_certainty():
    """Of ten places none has changed: as of ten patches."""
    positions = np.stack([np.repeat(np.arange(10) * 2.0, 10), np.full(100, 50.0)], axis=1)
    one = predictions(np.ones(100, bool), positions=positions, p_actual=np.full((1, 100), 0.9))
    other = replace(one, p_actual=np.full((1, 100), 0.8))
    accuracy = comparison.compare(one, other).metrics["accuracy"]
    assert (accuracy.low, accuracy.high, accuracy.p) == (*comparison.tango(0, 0, 10), 1)
    assert accuracy.verdict == "undecided"


def test_folds_judge_configurations_also_with_one_seed():
    positions = np.stack([np.repeat(np.arange(10) * 2.0, 10), np.full(100, 50.0)], axis=1)
    folds = np.repeat(np.arange(1, 6), 20)
    before = np.tile([True, False], 50)
    after = before.copy()
    after[[1, 3, 5, 21, 23, 25]], after[[60, 62]] = True, False
    sides = (predictions(right, positions=positions, folds=folds) for right in (before, after))
    result = comparison.compare(*sides)
    assert (result.scope, result.folds, result.seeds) == ("configurations", 5, {"before": 1, "after": 1})
    # The folds' means are .15, .15, 0, -.1, 0: their t-test, since over ten places the error is smaller.
    means = np.array([0.15, 0.15, 0, -0.1, 0])
    assert result.decisive.standard_error == pytest.approx(scipy.stats.sem(means))
    assert result.decisive.degrees_of_freedom == 4
    assert result.decisive.p == pytest.approx(scipy.stats.ttest_1samp(means, 0).pvalue)
    assert result.decisive.method.endswith("; the larger of this variance and that over folds")
    assert [(one.source, one.count) for one in result.decisive.components] == [("places", 10), ("folds", 5)]
    # The folds may stand in one table only.
    without = predictions(after, positions=positions)
    assert comparison.compare(predictions(before, positions=positions, folds=folds), without) == result
    of_places = scipy.stats.sem([0.3, 0, 0.3, 0, 0, 0, -0.2, 0, 0, 0]) ** 2
    assert result.decisive.components[0].share == pytest.approx(of_places / scipy.stats.sem(means) ** 2)


def test_the_same_predictions_are_no_difference():
    one = predictions(np.array([True, False, True]))
    assert comparison.compare(one, one).verdict == "no difference"
    more = replace(one, p_actual=np.array([[0.9, 0.2, 0.9]]))
    less = replace(one, p_actual=np.array([[0.8, 0.2, 0.9]]))
    assert comparison.compare(more, less).verdict == "undecided"
    assert comparison.compare(more, one).verdict == "no difference"


def test_patches_in_few_places_are_weaker_evidence():
    """A hundred patches that are alike in each of ten places are ten observations, not a hundred."""
    after = np.repeat([True] * 5 + [False] * 5, 10)
    positions = np.stack([np.repeat(np.arange(10) * 2.0, 10), np.full(100, 50.0)], axis=1)
    before = np.repeat([False] * 8 + [True] * 2, 10)
    loose = comparison.compare(predictions(before), predictions(after))
    placed = comparison.compare(predictions(before, positions=positions), predictions(after, positions=positions))
    assert loose.verdict == "better"
    assert (placed.verdict, placed.places) == ("undecided", 10)
    # Of ten places, five gain 1 and two lose 1: the paired t-test of their means.
    gains = np.array([1] * 5 + [0] * 3 + [-1] * 2)
    assert placed.decisive.p == pytest.approx(scipy.stats.ttest_1samp(gains, 0).pvalue)
    assert placed.decisive.standard_error == pytest.approx(scipy.stats.sem(gains))
    assert placed.decisive.degrees_of_freedom == pytest.approx(9)
    assert placed.decisive.method == "paired t-test with the cluster-robust variance CR2 over places"
    assert placed.decisive.components == [Component("places", 10, 1.0)]


def test_evidence_has_the_shares_of_patches_and_seeds_in_the_variance():
    rng = np.random.default_rng(0)
    before, after = (rng.random((3, 90)) < np.array([[low], [0.6], [0.9]]) for low in (0.2, 0.4))
    accuracy = comparison.compare(predictions(before), predictions(after)).decisive
    assert [(one.source, one.count) for one in accuracy.components] == [
        ("patches", 90), ("seeds before", 3), ("seeds after", 3)
    ]  # fmt: skip
    assert sum(one.share for one in accuracy.components) == pytest.approx(1)
    assert accuracy.components[1].share > accuracy.components[2].share > accuracy.components[0].share
    assert accuracy.method == "paired t-test over patches, with the variance between seeds"


def test_where_all_patches_change_alike_each_place_is_one_patch():
    positions = np.stack([np.repeat(np.arange(10) * 2.0, 10), np.full(100, 50.0)], axis=1)
    before, after = (predictions(np.full(100, right), positions=positions) for right in (False, True))
    accuracy = comparison.compare(before, after).decisive
    assert (accuracy.low, accuracy.high) == comparison.tango(10, 0, 10)
    assert (accuracy.p, accuracy.components) == (comparison.score_test(10, 0), [Component("places", 10, 1.0)])


def test_a_loss_in_nll_is_listed_whatever_metric_decides():
    right = np.arange(60) % 2 == 0
    rng = np.random.default_rng(0)
    likely, unlikely = (
        predictions(right, p_actual=p) for p in (rng.uniform(0.4, 0.6, (1, 60)), rng.uniform(0, 0.2, (1, 60)))
    )
    result = comparison.compare(likely, unlikely)
    assert (result.verdict, result.losses) == ("undecided", ["nll"])
    assert comparison.compare(likely, unlikely, METRICS["nll"]).verdict == "worse"
    assert comparison.compare(unlikely, likely, METRICS["nll"]).verdict == "better"
    with pytest.raises(InputError, match="needs a column p_actual"):
        comparison.compare(predictions(right), unlikely, METRICS["nll"])
    # A network of shares gives no probability of labels.
    result = comparison.compare(likely, unlikely, same_target=False)
    assert (result.losses, "nll" in result.metrics, "accuracy" in result.metrics) == ([], False, True)
    with pytest.raises(
        InputError, match=r"one side was trained on shares \(train.target\); choose accuracy or cross_en"
    ):
        comparison.compare(likely, unlikely, METRICS["nll"], same_target=False)


def test_baselines_have_no_seed():
    rng = np.random.default_rng(0)
    network = predictions(rng.random((3, 90)) < np.array([[0.6], [0.7], [0.8]]))
    table = pd.DataFrame({"patch_id": network.patch_ids, "actual": "a", "majority": "b", "band_statistics": "a"})
    result = comparison.against_baselines(network, of_baselines(table, network))
    assert list(result) == ["majority", "band_statistics"]  # an older revision has no more
    assert result["majority"].verdict == "better"
    assert result["band_statistics"].verdict == "worse"
    assert result["band_statistics"].before == 1
    assert [one.source for one in result["majority"].components] == ["patches", "seeds after"]

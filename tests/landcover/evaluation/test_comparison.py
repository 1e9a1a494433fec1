import numpy as np
import pandas as pd
import pytest
import scipy.stats

from landcover.errors import InputError
from landcover.evaluation import comparison
from landcover.evaluation.predictions import Predictions
from landcover.evaluation.verdict import holm, judge


def predictions(right: np.ndarray, **more) -> Predictions:
    """Predictions of patches of class a that are right where `right`, bool (S, N), says so."""
    right = np.atleast_2d(right)
    seeds, count = right.shape
    ids = np.array([f"{number:04d}" for number in range(count)])
    return Predictions(ids, np.full(count, "a"), np.where(right, "a", "b"), list(range(seeds)), **more)


def test_mcnemar_by_hand():
    # Six discordant patches, split 5 to 1: P(X = 0) and half of P(X = 1), of a fair coin tossed six times, twice.
    assert comparison.mcnemar(1, 5) == comparison.mcnemar(5, 1) == pytest.approx(2 * (1 + 6 / 2) / 2**6)
    assert comparison.mcnemar(3, 3) == pytest.approx(1)
    assert comparison.mcnemar(0, 0) == 1


@pytest.mark.parametrize(
    ("fixed", "broken", "count"), [(10, 3, 150), (5, 1, 10), (30, 30, 150), (7, 0, 20), (1, 60, 90)]
)
def test_tangos_limits_are_where_the_score_test_turns(fixed, broken, count):
    """At each limit, the score statistic with the likeliest shares under that difference is the normal quantile."""

    def statistic(delta: float) -> float:
        # Maximum likelihood of the broken share, with fixed share = broken share + delta, by brute force.
        shares = np.linspace(max(0, -delta), (1 - delta) / 2, 200_001)[1:-1]
        kept = np.maximum(1 - 2 * shares - delta, 1e-300)
        loglik = (
            fixed * np.log(np.maximum(shares + delta, 1e-300))
            + broken * np.log(shares)
            + (count - fixed - broken) * np.log(kept)
        )
        share = shares[loglik.argmax()]
        return (fixed - broken - count * delta) / np.sqrt(count * (2 * share + delta - delta**2))

    low, high = comparison.tango(fixed, broken, count)
    assert statistic(low) == pytest.approx(scipy.stats.norm.ppf(0.975), abs=0.01)
    assert statistic(high) == pytest.approx(-scipy.stats.norm.ppf(0.975), abs=0.01)


def test_tango_at_its_edges():
    assert comparison.tango(0, 0, 150) == pytest.approx((-0.02497, 0.02497), abs=1e-5)
    assert comparison.tango(150, 0, 150) == pytest.approx((0.95006, 1), abs=1e-5)
    assert comparison.tango(0, 150, 150) == pytest.approx((-1, -0.95006), abs=1e-5)
    assert comparison.tango(3, 10, 150) == pytest.approx([-x for x in comparison.tango(10, 3, 150)[::-1]])


def test_two_runs_are_judged_by_the_score_methods():
    before, after = np.zeros(150, bool), np.zeros(150, bool)
    after[:9], before[9:11] = True, True
    found = comparison.compare(predictions(before), predictions(after))
    assert (found["verdict"], found["scope"], found["patches"], found["places"]) == ("better", "two runs", 150, None)
    accuracy = found["metrics"]["accuracy"]
    assert (accuracy["low"], accuracy["high"]) == comparison.tango(9, 2, 150)
    assert accuracy["p"] == comparison.mcnemar(9, 2)
    assert accuracy["difference"] == pytest.approx(7 / 150)
    assert comparison.compare(predictions(after), predictions(before))["verdict"] == "worse"


def test_the_same_predictions_are_no_difference():
    one = predictions(np.array([True, False, True]))
    assert comparison.compare(one, one)["verdict"] == "no difference"
    surer = one._replace(p_actual=np.array([[0.9, 0.2, 0.9]]))
    less = one._replace(p_actual=np.array([[0.8, 0.2, 0.9]]))
    assert comparison.compare(surer, less)["verdict"] == "within noise"
    assert comparison.compare(surer, one)["verdict"] == "no difference"


def test_patches_in_few_places_tell_less():
    """A hundred patches that are alike in each of ten places are ten observations, not a hundred."""
    after = np.repeat([True] * 5 + [False] * 5, 10)
    positions = np.stack([np.repeat(np.arange(10) * 2.0, 10), np.full(100, 50.0)], axis=1)
    before = np.repeat([False] * 8 + [True] * 2, 10)
    loose = comparison.compare(predictions(before), predictions(after))
    placed = comparison.compare(predictions(before, positions=positions), predictions(after, positions=positions))
    assert loose["verdict"] == "better"
    assert (placed["verdict"], placed["places"]) == ("within noise", 10)


def test_a_loss_in_nll_is_told_whatever_the_verdict_is_by():
    right = np.arange(60) % 2 == 0
    rng = np.random.default_rng(0)
    sure, rash = (
        predictions(right, p_actual=p) for p in (rng.uniform(0.4, 0.6, (1, 60)), rng.uniform(0, 0.2, (1, 60)))
    )
    found = comparison.compare(sure, rash)
    assert (found["verdict"], found["losses"]) == ("within noise", ["nll"])
    assert comparison.compare(sure, rash, "nll")["verdict"] == "worse"
    assert comparison.compare(rash, sure, "nll")["verdict"] == "better"
    with pytest.raises(InputError, match="needs a column p_actual"):
        comparison.compare(predictions(right), rash, "nll")


def test_baselines_have_no_seed():
    rng = np.random.default_rng(0)
    network = predictions(rng.random((3, 90)) < np.array([[0.6], [0.7], [0.8]]))
    table = pd.DataFrame({"patch_id": network.patch_ids, "actual": "a", "majority": "b", "band_statistics": "a"})
    found = comparison.against_baselines(network, table)
    assert list(found) == ["majority", "band_statistics"]  # an older revision has no more
    assert found["majority"]["verdict"] == "better"
    assert found["band_statistics"]["verdict"] == "worse"
    assert found["band_statistics"]["before"] == 1


@pytest.mark.parametrize(
    ("low", "high", "p", "metric", "verdict"),
    [
        (0.01, 0.2, 0.03, "accuracy", "better"),
        (-0.2, -0.01, 0.03, "accuracy", "worse"),
        (-0.2, -0.01, 0.03, "nll", "better"),
        (0.01, 0.2, 0.03, "brier", "worse"),
        (-0.01, 0.2, 0.03, "accuracy", "within noise"),
        (0.01, 0.2, 0.06, "accuracy", "within noise"),
    ],
)
def test_a_verdict_needs_both_the_interval_and_the_test(low, high, p, metric, verdict):
    assert judge({"difference": (low + high) / 2, "low": low, "high": high, "p": p}, metric) == verdict


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([]) == []

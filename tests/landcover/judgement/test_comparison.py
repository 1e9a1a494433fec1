import numpy as np
import pandas as pd
import pytest
import scipy.stats

from landcover.judgement import comparison
from landcover.judgement.verdict import judge


def test_mcnemar_by_hand():
    a = np.array([True] * 5 + [False] * 1 + [True] * 4)
    b = np.array([False] * 5 + [True] * 1 + [True] * 4)
    # Six discordant patches, split 5 to 1: P(X <= 1 or X >= 5) of a fair coin tossed six times.
    assert comparison.mcnemar(a, b) == pytest.approx(2 * (1 + 6) / 2**6)
    assert comparison.mcnemar(b, a) == comparison.mcnemar(a, b)
    assert comparison.mcnemar(a, a) == 1


def test_equal_predictions_differ_by_nothing():
    labels, predictions = np.random.default_rng(0).integers(0, 4, (2, 150))
    found = comparison.compare(labels, predictions, predictions, 4, resamples=200, seed=0)
    assert found == {
        "accuracy": {"difference": 0, "low": 0, "high": 0, "p": 1},
        "macro_f1": {"difference": 0, "low": 0, "high": 0},
    }
    assert judge(found["accuracy"]) == "within noise"


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 150)
    base = np.where(rng.random(150) < 0.6, labels, (labels + 1) % 3)
    head = base.copy()
    wrong = np.flatnonzero(base != labels)[:10]
    head[wrong] = labels[wrong]  # ten patches fixed, none broken
    found = comparison.compare(labels, base, head, 3, resamples=5000, seed=0)["accuracy"]
    assert found["difference"] == pytest.approx(10 / 150)
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * np.sqrt(10 / 150 * 140 / 150 / 150), abs=0.01)
    assert found["p"] == pytest.approx(2 / 2**10)
    assert judge(found) == "better"
    backwards = comparison.compare(labels, head, base, 3, resamples=5000, seed=0)["accuracy"]
    assert judge(backwards) == "worse"


def test_the_noise_of_seeds_widens_the_interval():
    """Two sides of equal mean whose seeds differ a lot: patches alone would call one the better."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 150)

    def seeds(*accuracies: float) -> np.ndarray:
        return np.stack([np.where(rng.random(150) < share, labels, (labels + 1) % 3) for share in accuracies])

    base, head = seeds(0.5, 0.7, 0.6), seeds(0.55, 0.75, 0.65)
    both = comparison.compare(labels, base, head, 3, resamples=3000, seed=0)["accuracy"]
    per_seed = np.mean([(head == labels).mean(1) - (base == labels).mean(1)])
    assert both["difference"] == pytest.approx(per_seed)
    assert "p" not in both
    spread = np.sqrt(((head == labels).mean(1).var(ddof=1) + (base == labels).mean(1).var(ddof=1)) / 3)
    patches = np.sqrt(((head == labels).mean(0) - (base == labels).mean(0)).var() / 150)
    expected = 2 * 1.96 * np.sqrt(spread**2 + patches**2)
    student = comparison._student_factor(spread**2 + patches**2, [(spread**2 / 2, 2)] * 2, 150)
    assert both["high"] - both["low"] == pytest.approx(expected * student, rel=0.15)
    lucky = comparison.compare(labels, base[0], head[1], 3, resamples=3000, seed=0)["accuracy"]
    assert judge(lucky) == "better"
    assert judge(both) == "within noise"


@pytest.fixture(scope="module")
def simulated_verdicts():
    """Verdicts on pairs of models right on given shares of 150 patches, their errors correlated as real models' are."""

    def verdicts(pairs: int, base: float, head: float) -> list[str]:
        rng = np.random.default_rng(2)
        found = []
        for _ in range(pairs):
            difficulty = np.sqrt(0.4) * rng.normal(size=150)  # shared by the two models
            ease = difficulty + np.sqrt(0.6) * rng.normal(size=(2, 150))
            labels = rng.integers(0, 5, 150)
            wrong = (labels + rng.integers(1, 5, (2, 150))) % 5
            right = ease < scipy.stats.norm.ppf([[base], [head]])
            first, second = np.where(right, labels, wrong)
            compared = comparison.compare(labels, first, second, 5, resamples=1000, seed=0)
            found.append(judge(compared["accuracy"]))
        return found

    return verdicts


@pytest.mark.parametrize("accuracy", [0.52, 0.8])
def test_equal_models_are_within_noise(simulated_verdicts, accuracy):
    assert simulated_verdicts(200, accuracy, accuracy).count("within noise") >= 0.93 * 200


@pytest.mark.parametrize("accuracy", [0.52, 0.65])
def test_fifteen_points_are_told_from_noise(simulated_verdicts, accuracy):
    assert simulated_verdicts(200, accuracy, accuracy + 0.15).count("better") >= 0.8 * 200


@pytest.mark.parametrize(("seeds", "patches"), [(2, 1000), (3, 1000), (5, 150)])
def test_equal_models_are_within_noise_whatever_their_seeds(seeds, patches):
    """The accuracy of each seed wanders by three points; with many patches, that is most of the noise."""
    rng = np.random.default_rng(3)
    verdicts = []
    for _ in range(200):
        labels = rng.integers(0, 3, patches)
        difficulty = rng.normal(size=patches)
        sides = []
        for _ in range(2):
            ease = np.sqrt(0.4) * difficulty + np.sqrt(0.6) * rng.normal(size=(seeds, patches))
            ability = scipy.stats.norm.ppf(0.65 + 0.03 * rng.normal(size=(seeds, 1)))
            sides.append(np.where(ease < ability, labels, (labels + 1) % 3))
        compared = comparison.compare(labels, *sides, 3, resamples=400, seed=0)
        verdicts.append(judge(compared["accuracy"]))
    assert verdicts.count("within noise") >= 0.93 * 200


def test_the_network_is_compared_with_each_baseline_by_patch_id():
    actual = ["tree_cover", "cropland"] * 50
    predictions = pd.DataFrame({"patch_id": [f"p{i}" for i in range(100)], "actual": actual, "predicted": actual})
    baselines = predictions[["patch_id"]].assign(majority="tree_cover", band_statistics=actual)[::-1]
    found = comparison.against_baselines(predictions, baselines, resamples=500, seed=0)
    assert found["majority"]["difference"] == 0.5
    assert found["majority"]["low"] > 0.35
    assert found["majority"]["p"] < 1e-10
    assert found["band_statistics"] == {"difference": 0, "low": 0, "high": 0, "p": 1}


def test_the_error_of_a_mean_over_seeds_by_hand():
    """Two seeds on four patches: right on 3 and on 2 of them."""
    right = np.array([[True, True, True, False], [True, True, False, False]])
    mean, variance = comparison.mean_accuracy(right)
    assert mean == 5 / 8
    patches = np.var([1, 1, 0.5, 0]) / 4
    seeds = np.var([0.75, 0.5], ddof=1) / 2
    assert variance == pytest.approx(patches + seeds)
    assert comparison.mean_accuracy(right[:1]) == (0.75, pytest.approx(0.75 * 0.25 / 4))

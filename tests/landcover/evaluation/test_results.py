import numpy as np
import pandas as pd
import pytest

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation import results
from landcover.evaluation.calibration import ece_by_chance
from landcover.evaluation.intervals import wilson
from landcover.evaluation.predictions import tabulate


def table_of(labels: np.ndarray, log_probabilities: np.ndarray, lon=np.nan, lat=np.nan) -> pd.DataFrame:
    count, classes = log_probabilities.shape
    split = Split(np.empty((count, 0)), labels, [], [f"class {i}" for i in range(classes)], {})
    degrees = (np.broadcast_to(np.asarray(one, float), count) for one in (lon, lat))
    index = Index(np.array([f"p{i:05}" for i in range(count)]), np.ones(count), *degrees)
    return tabulate(split, index, log_probabilities)


def confident(predictions: np.ndarray, classes: int) -> np.ndarray:
    """Log-probabilities of 0.8 for what is predicted, and the rest for the other classes alike."""
    return np.log(np.where(np.eye(classes)[predictions] == 1, 0.8, 0.2 / (classes - 1)))


def test_the_headline_measures_the_margin_from_the_best_baseline():
    against = {"majority": {"difference": 0.25}, "texture": {"difference": -0.12345}}
    test = {"accuracy": 0.5, "macro_f1": 1 / 3, "nll": 1.23456, "brier": 0.5, "against": against}
    run = {"test": test, "val": {"accuracy": 2 / 3}}
    expected = {"accuracy": 0.5, "macro_f1": 0.333, "nll": 1.235, "margin": -0.123, "val_accuracy": 0.667}
    assert results.headline(run, {"seeds": 0}) == expected
    seeds = {"seeds": 2, "accuracy": {"mean": 0.51}, "against": {"majority": {"difference": 0.2}}}
    assert results.headline(run, seeds) == expected | {"mean_accuracy": 0.51, "mean_margin": 0.2}


def test_the_interval_of_a_share_over_few_folds_ends_at_one():
    """All right but in one of two folds: a mean of 3/4 with one degree of freedom."""
    ids, right = [f"p{number}" for number in range(8)], [True] * 4 + [True, False] * 2
    table = pd.DataFrame({"patch_id": ids, "actual": "a", "predicted": np.where(right, "a", "b"), "seed": 1})
    table = table.assign(fold=[1] * 4 + [2] * 4)
    baselines = pd.DataFrame({"patch_id": ids, "actual": "a", "majority": "b"})
    accuracy = results.of_seeds({"test": table, "val": table}, baselines)["accuracy"]
    assert (accuracy["mean"], accuracy["low"], accuracy["high"]) == (0.75, 0, 1)


def test_seeds_that_are_all_right_have_an_interval():
    ids = [f"p{number}" for number in range(41)]
    table = pd.DataFrame({"patch_id": ids * 2, "actual": "a", "predicted": "a", "seed": [1] * 41 + [2] * 41})
    baselines = pd.DataFrame({"patch_id": ids, "actual": "a", "majority": "a"})
    figures = results.of_seeds({"test": table, "val": table}, baselines)
    for name in ("accuracy", "macro_f1"):
        assert (figures[name]["mean"], figures[name]["high"]) == (1, 1)
        assert figures[name]["low"] == pytest.approx(wilson(1, 41).low)
    gain = figures["against"]["majority"]
    assert (gain["difference"], gain["p"]) == (0, 1)
    assert gain["low"] < -0.05 < 0.05 < gain["high"]


def test_the_figures_of_a_run_by_hand():
    """Eight patches of two classes, one of them wrongly taken for a third; predictions have probability 0.8."""
    labels, predictions = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 2, 1, 1, 1, 1])
    table = table_of(labels, confident(predictions, 3))
    result = results.of_run(table, resamples=100, seed=0)
    assert result["accuracy"] == 7 / 8
    assert (result["accuracy_ci_low"], result["accuracy_ci_high"]) == pytest.approx(wilson(7 / 8, 8))
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 1) / 2)
    assert result["macro_f1"] == pytest.approx((6 / 7 + 1) / 2)
    assert 0 <= result["macro_f1_ci_low"] < result["macro_f1"] < result["macro_f1_ci_high"] <= 1
    assert result["top2_accuracy"] == 1  # of the classes that are equally probable, the first ranks higher
    assert (result["top2_accuracy_ci_low"], result["top2_accuracy_ci_high"]) == pytest.approx(wilson(1, 8))
    assert result["nll"] == pytest.approx(-(7 * np.log(0.8) + np.log(0.1)) / 8)
    assert 0 == result["nll_ci_low"] < result["nll"] < result["nll_ci_high"]
    assert result["brier"] == pytest.approx((7 * (0.04 + 2 * 0.01) + 0.64 + 0.81 + 0.01) / 8)
    assert result["ece"] == pytest.approx(7 / 8 - 0.8)
    mean, high = ece_by_chance(np.full(8, 0.8), resamples=100, seed=0)
    assert result["ece_by_chance"] == {"mean": pytest.approx(mean), "high": pytest.approx(high)}
    assert result["n"] == 8
    assert results.of_run(table.sample(frac=1, random_state=0), resamples=100, seed=0) == result


def test_where_all_is_right_the_interval_is_wilsons():
    result = results.of_run(table_of(np.repeat([0, 1], 10), confident(np.repeat([0, 1], 10), 3)), resamples=100, seed=0)
    for name in ("accuracy", "macro_f1", "balanced_accuracy"):
        assert result[name] == 1
        assert (result[f"{name}_ci_low"], result[f"{name}_ci_high"]) == pytest.approx(wilson(1, 20))


def test_accuracy_by_purity_by_hand():
    fractions = np.array([0.4, 0.5, 0.69, 0.9, 1.0])
    rows = results.accuracy_by_purity(np.array([True, True, False, True, True]), fractions)
    assert [(row["purity"], row["n"], row["accuracy"]) for row in rows] == [
        ("below 50%", 1, 1.0),
        ("50% to 70%", 2, 0.5),
        ("90% to 100%", 2, 1.0),
    ]
    assert (rows[2]["low"], rows[2]["high"]) == pytest.approx(wilson(1, 2))


def test_what_an_ensemble_gains_by_hand():
    """Two seeds, two patches, two classes: together they are right about the first, of which one of them was wrong."""
    probabilities = np.array([[[0.9, 0.1], [0.7, 0.3]], [[0.4, 0.6], [0.7, 0.3]]])
    repeated = dict.fromkeys(results.REPEATED, np.log(probabilities))
    splits = dict.fromkeys(results.REPEATED, Split(np.empty((2, 0)), np.array([0, 1]), [], ["a", "b"], {}))
    unknown = np.full(2, np.nan)
    indices = dict.fromkeys(results.REPEATED, Index(np.array(["p0", "p1"]), np.ones(2), unknown, unknown))
    tables = results.tabulate_seeds([1, 2], repeated, splits, indices)
    result = results.of_ensemble(repeated, splits, indices, tables)
    val = result.pop("val")
    assert result == val
    # Patch by patch, accuracy is better by 0.5 and by 0: the mean is 0.25, its error too, and t of one degree 12.706.
    accuracy, nll = result["accuracy"], result["nll"]
    reach = 0.25 * 12.7062
    assert accuracy == pytest.approx({"value": 0.5, "difference": 0.25, "low": 0.25 - reach, "high": 0.25 + reach})
    members = -(np.log(0.9) / 2 + np.log(0.4) / 2 + np.log(0.3)) / 2
    assert nll["value"] == pytest.approx(-(np.log(0.65) + np.log(0.3)) / 2)
    assert nll["difference"] == pytest.approx(nll["value"] - members)

import numpy as np
import pandas as pd
import pytest
import scipy.special
import torch
import torchmetrics.functional.classification as torchmetrics

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation import metrics
from landcover.evaluation.calibration import ece_by_chance
from landcover.evaluation.predictions import tabulate

Z = 1.959964


def simulated(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and log-probabilities (N, K) that know something of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes - 1, count)  # the last class never occurs
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    return labels, scipy.special.log_softmax(logits, axis=1)


def table_of(labels: np.ndarray, log_probabilities: np.ndarray, lon=np.nan, lat=np.nan) -> pd.DataFrame:
    count, classes = log_probabilities.shape
    split = Split(np.empty((count, 0)), labels, [], [f"class {i}" for i in range(classes)], {})
    places = (np.broadcast_to(np.asarray(degrees, float), count) for degrees in (lon, lat))
    index = Index(np.array([f"p{i:05}" for i in range(count)]), np.ones(count), *places)
    return tabulate(split, index, log_probabilities)


def sure(predictions: np.ndarray, classes: int) -> np.ndarray:
    """Log-probabilities of 0.8 for what is predicted, and the rest for the other classes alike."""
    return np.log(np.where(np.eye(classes)[predictions] == 1, 0.8, 0.2 / (classes - 1)))


def wilson(share: float, count: int) -> tuple[float, float]:
    middle, reach = share + Z**2 / (2 * count), Z * np.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return (middle - reach) / (1 + Z**2 / count), (middle + reach) / (1 + Z**2 / count)


def test_per_class_by_hand():
    labels, predictions = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 2, 1, 1, 1, 1])
    found = metrics.per_class(labels, predictions, 4)
    assert found["support"].tolist() == [4, 4, 0, 0]
    assert found["precision"][:3].tolist() == [1, 1, 0]
    assert np.isnan(found["precision"][3])  # never predicted
    assert found["recall"][:2].tolist() == [0.75, 1]
    intervals = found[["recall_low", "recall_high"]].to_numpy()
    assert intervals[:2] == pytest.approx(np.array([wilson(0.75, 4), wilson(1, 4)]))
    assert found["f1"][:2].tolist() == pytest.approx([6 / 7, 1])
    assert found[["recall", "recall_low", "recall_high", "f1"]][2:].isna().all(axis=None)  # no label


def test_the_headline_measures_the_margin_from_the_best_baseline():
    against = {"majority": {"difference": 0.25}, "texture": {"difference": -0.12345}}
    test = {"accuracy": 0.5, "macro_f1": 1 / 3, "nll": 1.23456, "brier": 0.5, "against": against}
    found = {"test": test, "val": {"accuracy": 2 / 3}}
    of_run = {"accuracy": 0.5, "macro_f1": 0.333, "nll": 1.235, "margin": -0.123, "val_accuracy": 0.667}
    assert metrics.headline(found, {"seeds": 0}) == of_run
    seeds = {"seeds": 2, "accuracy": {"mean": 0.51}}
    assert metrics.headline(found, seeds) == of_run | {"mean_accuracy": 0.51}


def test_a_summary_by_hand():
    """Eight patches of two classes, one of them wrongly taken for a third: sure ones have probability 0.8."""
    labels, predictions = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 2, 1, 1, 1, 1])
    table = table_of(labels, sure(predictions, 3))
    found = metrics.summary(table, resamples=100, seed=0)
    assert found["accuracy"] == 7 / 8
    assert (found["accuracy_ci_low"], found["accuracy_ci_high"]) == pytest.approx(wilson(7 / 8, 8))
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((6 / 7 + 1) / 2)
    assert 0 <= found["macro_f1_ci_low"] < found["macro_f1"] < found["macro_f1_ci_high"] <= 1
    assert found["nll"] == pytest.approx(-(7 * np.log(0.8) + np.log(0.1)) / 8)
    assert found["brier"] == pytest.approx((7 * (0.04 + 2 * 0.01) + 0.64 + 0.81 + 0.01) / 8)
    assert found["ece"] == pytest.approx(7 / 8 - 0.8)
    mean, high = ece_by_chance(np.full(8, 0.8), resamples=100, seed=0)
    assert found["ece_by_chance"] == {"mean": pytest.approx(mean), "high": pytest.approx(high)}
    assert found["n"] == 8
    assert metrics.accuracy_and_nll(table) == {"accuracy": 7 / 8, "nll": found["nll"]}
    assert metrics.summary(table.sample(frac=1, random_state=0), resamples=100, seed=0) == found


def test_where_all_is_right_the_interval_is_wilsons():
    found = metrics.summary(table_of(np.repeat([0, 1], 10), sure(np.repeat([0, 1], 10), 3)), resamples=100, seed=0)
    for name in ("accuracy", "macro_f1"):
        assert found[name] == 1
        assert (found[f"{name}_ci_low"], found[f"{name}_ci_high"]) == pytest.approx((1 / (1 + Z**2 / 20), 1))


def test_metrics_agree_with_torchmetrics():
    labels, log_probabilities = simulated(500, 6, seed=1)
    found = metrics.summary(table_of(labels, log_probabilities), resamples=100, seed=0)
    given = torch.from_numpy(np.exp(log_probabilities)), torch.from_numpy(labels)
    assert found["accuracy"] == pytest.approx(float(torchmetrics.multiclass_accuracy(*given, 6, average="micro")))
    # Of the five classes that occur; the sixth is predicted, but has no label.
    for name, by_class in (("balanced_accuracy", torchmetrics.multiclass_accuracy),
                           ("macro_f1", torchmetrics.multiclass_f1_score)):  # fmt: skip
        assert found[name] == pytest.approx(float(by_class(*given, 6, average=None)[:5].mean()))
    assert found["nll"] == pytest.approx(float(torch.nn.functional.nll_loss(given[0].log(), given[1])))
    assert found["nll"] == pytest.approx(metrics.nll(labels, log_probabilities))


def test_the_intervals_cover_the_truth_as_often_as_they_say():
    """Two classes that are alike, each right with probability 0.6: accuracy and macro F1 are 0.6, were all known."""
    rng = np.random.default_rng(0)
    covered = {"accuracy": 0, "macro_f1": 0}
    for _ in range(400):
        labels = rng.integers(0, 2, 150)
        predictions = np.where(rng.random(150) < 0.6, labels, 1 - labels)
        found = metrics.summary(table_of(labels, sure(predictions, 2)), resamples=100, seed=0)
        for name in covered:
            covered[name] += found[f"{name}_ci_low"] <= 0.6 <= found[f"{name}_ci_high"]
    assert all(0.92 <= count / 400 <= 0.98 for count in covered.values()), covered


def test_patches_that_lie_together_tell_less_than_as_many_apart():
    """Thirty places of five patches, of which all are right or none, as neighbours tend to be."""
    right = np.repeat(np.random.default_rng(0).random(30) < 0.6, 5)
    labels, lat = np.zeros(150, int), np.repeat(np.arange(30), 5)
    scores = sure(np.where(right, 0, 1), 2)
    apart, together = (
        metrics.summary(table_of(labels, scores, 10, lat), resamples=100, seed=0) for lat in (np.nan, lat)
    )
    assert (apart["accuracy_ci_low"], apart["accuracy_ci_high"]) == pytest.approx(wilson(right.mean(), 150))
    for name in ("accuracy", "macro_f1"):
        reach = [found[f"{name}_ci_high"] - found[f"{name}_ci_low"] for found in (apart, together)]
        # As if there were thirty patches; by Student's t a little more.
        assert reach[1] / reach[0] == pytest.approx(np.sqrt(5), rel=0.1), name


def test_accuracy_by_purity_by_hand():
    fractions = np.array([0.4, 0.5, 0.69, 0.9, 1.0])
    rows = metrics.accuracy_by_purity(np.array([True, True, False, True, True]), fractions)
    assert [(row["purity"], row["n"], row["accuracy"]) for row in rows] == [
        ("below 50%", 1, 1.0),
        ("50% to 70%", 2, 0.5),
        ("90% to 100%", 2, 1.0),
    ]
    z = 1.959964  # Wilson, 2 of 2: from 1 / (1 + z^2 / n)
    assert (rows[2]["low"], rows[2]["high"]) == pytest.approx((1 / (1 + z**2 / 2), 1))

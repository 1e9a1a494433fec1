import numpy as np
import pytest
import scipy.special
import torch
import torchmetrics.functional.classification as torchmetrics

from landcover.judgement import calibration, metrics


def simulated(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and log-probabilities (N, K) that know something of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes - 1, count)  # the last class never occurs
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    return labels, scipy.special.log_softmax(logits, axis=1)


def test_per_class_by_hand():
    labels, predictions = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 2, 1, 1, 1, 1])
    found = metrics.per_class(labels, predictions, 4)
    assert found["support"].tolist() == [4, 4, 0, 0]
    assert found["precision"][:3].tolist() == [1, 1, 0]
    assert np.isnan(found["precision"][3])  # never predicted
    assert found["recall"][:2].tolist() == [0.75, 1]
    assert found["f1"][:2].tolist() == pytest.approx([6 / 7, 1])
    assert found[["recall", "f1"]][2:].isna().all(axis=None)  # no label


def test_a_summary_by_hand():
    """Eight patches of two classes, one of them wrongly taken for a third: sure ones have probability 0.8."""
    labels, predictions = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 2, 1, 1, 1, 1])
    log_probabilities = np.log(np.where(np.eye(3)[predictions] == 1, 0.8, 0.1))
    found = metrics.summary(labels, log_probabilities, resamples=100, seed=0)
    assert found["accuracy"] == 7 / 8
    assert found["balanced_accuracy"] == (3 / 4 + 1) / 2
    assert found["macro_f1"] == pytest.approx((6 / 7 + 1) / 2)
    assert found["nll"] == pytest.approx(-(7 * np.log(0.8) + np.log(0.1)) / 8)
    assert found["ece"] == pytest.approx(7 / 8 - 0.8)
    assert found["n"] == 8


def test_metrics_agree_with_torchmetrics():
    labels, log_probabilities = simulated(500, 6, seed=1)
    found = metrics.summary(labels, log_probabilities, resamples=100, seed=0)
    given = torch.from_numpy(np.exp(log_probabilities)), torch.from_numpy(labels)
    ece = torchmetrics.multiclass_calibration_error(*given, 6, n_bins=calibration.CALIBRATION_BINS, norm="l1")
    assert found["ece"] == pytest.approx(float(ece), abs=1e-6)
    assert found["accuracy"] == pytest.approx(float(torchmetrics.multiclass_accuracy(*given, 6, average="micro")))


def test_ece_by_hand():
    # Two patches at confidence 0.9 of which one is right, two at 0.6 of which both are.
    confidence, correct = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, False, True, True])
    assert calibration.ece(correct, confidence) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert calibration.reliability(correct, confidence)["count"].sum() == 4


def test_a_temperature_undoes_overconfidence():
    labels, log_probabilities = simulated(4000, 5, seed=2)
    fitted = metrics.fit_temperature(labels, log_probabilities)
    overconfident = metrics.soften(log_probabilities, 1 / 3)
    assert metrics.fit_temperature(labels, overconfident) == pytest.approx(3 * fitted, rel=1e-3)
    assert np.exp(overconfident).sum(1) == pytest.approx(1)
    assert (overconfident.argmax(1) == log_probabilities.argmax(1)).all()


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


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_a_temperature_stays_in_its_range(factor):
    labels, log_probabilities = simulated(50, 3, seed=0)
    best = metrics.soften(log_probabilities, 1 / factor)
    limit = metrics.TEMPERATURES[1 if factor > 1 else 0]
    assert metrics.fit_temperature(labels, best) == limit

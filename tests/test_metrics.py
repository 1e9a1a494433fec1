import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch
import torchmetrics.functional.classification as torchmetrics

from stages import metrics

#                      predicted: a  b  c
CONFUSION = np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]])  # class c has neither label nor prediction


def simulated(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and log-probabilities (N, K) that know something of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes - 1, count)  # the last class never occurs
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    return labels, scipy.special.log_softmax(logits, axis=1)


def test_confusion_matrix_has_labels_in_rows_and_predictions_in_columns():
    found = metrics.confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_metrics_by_hand():
    assert metrics.accuracy(CONFUSION) == 6 / 8
    assert metrics.balanced_accuracy(CONFUSION) == 0.75
    assert metrics.macro_f1(CONFUSION) == 0.75


def test_an_absent_class_counts_only_by_what_is_wrongly_taken_for_it():
    confusion = np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]])
    assert metrics.balanced_accuracy(confusion) == (3 / 4 + 1) / 2
    assert metrics.macro_f1(confusion) == pytest.approx((6 / 7 + 1) / 2)
    by_class = metrics.per_class(confusion)
    assert by_class["support"].tolist() == [4, 4, 0]
    assert by_class["precision"].tolist() == [1, 1, 0]
    assert by_class["recall"][:2].tolist() == [0.75, 1]
    assert np.isnan(by_class["recall"][2])
    assert np.isnan(by_class["f1"][2])
    assert np.isnan(metrics.per_class(CONFUSION)["precision"][2])


def test_metrics_of_many_confusion_matrices_are_those_of_each():
    stacked = np.random.default_rng(0).integers(0, 9, (5, 3, 3))
    for metric in (metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1):
        assert metric(stacked).tolist() == [metric(one) for one in stacked]


def test_metrics_agree_with_scikit_learn_and_torchmetrics():
    labels, log_probabilities = simulated(500, 6, seed=1)
    predictions = log_probabilities.argmax(1)
    occurring = np.unique(labels)
    found = metrics.summary(labels, log_probabilities, resamples=100, seed=0)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions))
    assert found["balanced_accuracy"] == pytest.approx(
        sklearn.metrics.recall_score(labels, predictions, labels=occurring, average="macro")
    )
    f1 = sklearn.metrics.f1_score(labels, predictions, labels=occurring, average="macro")
    assert found["macro_f1"] == pytest.approx(f1)
    assert found["nll"] == pytest.approx(sklearn.metrics.log_loss(labels, np.exp(log_probabilities), labels=range(6)))
    assert found["n"] == 500

    given = torch.from_numpy(np.exp(log_probabilities)), torch.from_numpy(labels)
    ece = torchmetrics.multiclass_calibration_error(*given, 6, n_bins=metrics.CALIBRATION_BINS, norm="l1")
    assert found["ece"] == pytest.approx(float(ece), abs=1e-6)
    assert found["accuracy"] == pytest.approx(float(torchmetrics.multiclass_accuracy(*given, 6, average="micro")))
    confusion = metrics.confusion_matrix(labels, predictions, 6)
    assert confusion.tolist() == torchmetrics.multiclass_confusion_matrix(*given, 6).tolist()


def test_ece_by_hand():
    # Two patches at confidence 0.9 of which one is right, two at 0.6 of which both are.
    confidence, correct = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, False, True, True])
    assert metrics.ece(correct, confidence) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert metrics.reliability(correct, confidence)["count"].sum() == 4


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


def test_the_bootstrap_of_cells_is_the_bootstrap_of_patches():
    """Resampled counts have the mean and variance that drawing patch by patch gives."""
    drawn = metrics.bootstrap(CONFUSION, 20_000, seed=0)
    assert drawn.shape == (20_000, 3, 3)
    assert (drawn.sum((1, 2)) == 8).all()
    share = CONFUSION / 8
    assert drawn.mean(0) == pytest.approx(CONFUSION, abs=0.05)
    assert drawn.var(0) == pytest.approx(8 * share * (1 - share), abs=0.05)


def test_the_interval_of_an_accuracy_is_that_of_the_binomial():
    """A bootstrapped accuracy is binomial, so that its quantiles are known."""
    confusion = np.array([[90, 0], [60, 0]])
    low, high = metrics.interval(metrics.accuracy(metrics.bootstrap(confusion, 50_000, seed=0)))
    expected = scipy.stats.binom.ppf([0.025, 0.975], 150, 0.6) / 150
    assert [low, high] == pytest.approx(expected, abs=1 / 150)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        right = rng.random(150) < 0.6
        confusion = np.array([[right.sum(), (~right).sum()], [0, 0]])
        low, high = metrics.interval(metrics.accuracy(metrics.bootstrap(confusion, 1000, seed=trial)))
        covered += low <= 0.6 <= high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (0, 7), (3, 7), (7, 7), (90, 150)])
def test_the_interval_of_a_share_is_wilsons(hits, count):
    expected = scipy.stats.binomtest(hits, count).proportion_ci(0.95, "wilson")
    assert metrics.wilson(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_mcnemar_by_hand():
    a = np.array([True] * 5 + [False] * 1 + [True] * 4)
    b = np.array([False] * 5 + [True] * 1 + [True] * 4)
    # Six discordant patches, split 5 to 1: P(X <= 1 or X >= 5) of a fair coin tossed six times.
    assert metrics.mcnemar(a, b) == pytest.approx(2 * (1 + 6) / 2**6)
    assert metrics.mcnemar(b, a) == metrics.mcnemar(a, b)
    assert metrics.mcnemar(a, a) == 1


def test_equal_predictions_differ_by_nothing():
    labels, log_probabilities = simulated(150, 4, seed=0)
    predictions = log_probabilities.argmax(1)
    found = metrics.compare(labels, predictions, predictions, 4, resamples=200, seed=0)
    assert found == {
        "accuracy": {"difference": 0, "low": 0, "high": 0, "p": 1},
        "macro_f1": {"difference": 0, "low": 0, "high": 0},
    }
    assert metrics.judge(found["accuracy"]) == "within noise"


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 150)
    base = np.where(rng.random(150) < 0.6, labels, (labels + 1) % 3)
    head = base.copy()
    wrong = np.flatnonzero(base != labels)[:10]
    head[wrong] = labels[wrong]  # ten patches fixed, none broken
    found = metrics.compare(labels, base, head, 3, resamples=5000, seed=0)["accuracy"]
    assert found["difference"] == pytest.approx(10 / 150)
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * np.sqrt(10 / 150 * 140 / 150 / 150), abs=0.01)
    assert found["p"] == pytest.approx(2 / 2**10)
    assert metrics.judge(found) == "better"
    backwards = metrics.compare(labels, head, base, 3, resamples=5000, seed=0)["accuracy"]
    assert metrics.judge(backwards) == "worse"


def test_the_noise_of_seeds_widens_the_interval():
    """Two sides of equal mean whose seeds differ a lot: patches alone would call one the better."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 150)

    def seeds(*accuracies: float) -> np.ndarray:
        return np.stack([np.where(rng.random(150) < share, labels, (labels + 1) % 3) for share in accuracies])

    base, head = seeds(0.5, 0.7, 0.6), seeds(0.55, 0.75, 0.65)
    both = metrics.compare(labels, base, head, 3, resamples=3000, seed=0)["accuracy"]
    per_seed = np.mean([(head == labels).mean(1) - (base == labels).mean(1)])
    assert both["difference"] == pytest.approx(per_seed)
    assert "p" not in both
    spread = np.sqrt(((head == labels).mean(1).var(ddof=1) + (base == labels).mean(1).var(ddof=1)) / 3)
    patches = np.sqrt(((head == labels).mean(0) - (base == labels).mean(0)).var() / 150)
    expected = 2 * 1.96 * np.sqrt(spread**2 + patches**2)
    student = metrics._student_factor(spread**2 + patches**2, [(spread**2 / 2, 2)] * 2, 150)
    assert both["high"] - both["low"] == pytest.approx(expected * student, rel=0.15)
    lucky = metrics.compare(labels, base[0], head[1], 3, resamples=3000, seed=0)["accuracy"]
    assert metrics.judge(lucky) == "better"
    assert metrics.judge(both) == "within noise"


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
            compared = metrics.compare(labels, first, second, 5, resamples=1000, seed=0)
            found.append(metrics.judge(compared["accuracy"]))
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
        compared = metrics.compare(labels, *sides, 3, resamples=400, seed=0)
        verdicts.append(metrics.judge(compared["accuracy"]))
    assert verdicts.count("within noise") >= 0.93 * 200

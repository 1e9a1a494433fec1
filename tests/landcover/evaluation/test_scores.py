import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from landcover.evaluation import scores
from landcover.evaluation.predictions import Predictions


def drawn(count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes of unequal size, of which the last is predicted and never occurs."""
    rng = np.random.default_rng(seed)
    actual = rng.choice(list("abcd"), count, p=[0.5, 0.3, 0.15, 0.05])
    return actual, np.where(rng.random(count) < 0.6, actual, rng.choice(list("abcde"), count))


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_the_means_of_scores_are_scikit_learns_metrics():
    actual, predicted = drawn()
    f1 = f1_score(actual, predicted, labels=np.unique(actual), average="macro")
    assert scores.linear_f1(actual, predicted).mean() == pytest.approx(f1)
    assert scores.linear_recall(actual, predicted).mean() == pytest.approx(balanced_accuracy_score(actual, predicted))


@pytest.mark.parametrize("metric", [scores.linear_f1, scores.linear_recall])
def test_a_score_says_what_the_metric_gains_by_one_patch_more(metric):
    """A patch a hundred times beside a hundred copies of all: the metric moves by what its score says."""
    actual, predicted = drawn(60)
    values = metric(actual, predicted)
    for row in range(0, 60, 7):
        more = [np.append(np.tile(one, 100), one[row]) for one in (actual, predicted)]
        moved = metric(*more).mean() - values.mean()
        assert moved * 6001 == pytest.approx(values[row] - values.mean(), rel=0.02, abs=1e-9)


def test_balanced_accuracy_by_hand():
    actual, predicted = np.array(list("aaab")), np.array(list("aabb"))
    # Recalls of 2/3 and 1; each patch of a weighs 4 / (2 classes x 3 patches).
    assert scores.linear_recall(actual, predicted) == pytest.approx(5 / 6 + np.array([2 / 9, 2 / 9, -4 / 9, 0]))


def test_scores_of_probabilities():
    two = np.array(list("ab"))
    given = Predictions(two, two, two[None], [0], np.array([[0.5, 0.0]]), np.array([[0.5, 2.0]]))
    assert scores.scores(given, "nll").tolist() == [[-np.log(0.5), -np.log(scores.LEAST_PROBABILITY)]]
    assert scores.scores(given, "brier").tolist() == [[0.5, 2.0]]
    assert scores.scores(given, "accuracy").tolist() == [[1, 1]]
    unknown = given._replace(p_actual=None, brier=None)
    assert scores.scores(unknown, "nll") is scores.scores(unknown, "brier") is None

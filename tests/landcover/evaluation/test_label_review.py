import numpy as np
import pytest

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation import label_review

CLASSES = ["crop", "pasture", "water", "never"]


def split_of(labels: list[int], shares: np.ndarray | None = None) -> tuple[Split, Index]:
    split = Split(np.empty((len(labels), 0)), np.array(labels), [], CLASSES, {}, shares=shares)
    purity = np.ones(len(labels)) if shares is None else shares.max(1)
    return split, Index(np.array([f"p{i}" for i in range(len(labels))]), purity, *np.zeros((2, len(labels))))


def test_the_least_probable_labels_come_first_and_near_ties_not_at_all():
    shares = np.array([[0.9, 0.1, 0, 0], [0.45, 0.4, 0.15, 0], [0.6, 0.3, 0.1, 0], [0, 0, 1, 0]])
    probabilities = np.array([[0.2, 0.7, 0.1, 0], [0.1, 0.8, 0.1, 0], [0.1, 0.2, 0.7, 0], [0, 0.1, 0.9, 0]])
    given = split_of([0, 0, 0, 2], shares)
    with np.errstate(divide="ignore"):
        found = label_review.review(*given, np.array(["train", "val", "test", "test"]), np.log(probabilities)[None])
    assert found.rows.tolist() == [2, 0]  # of the fourth, the label is the most probable class
    assert found.table.columns.tolist() == [*label_review.COLUMNS]
    first = found.table.iloc[0]
    assert first[["patch_id", "split", "actual", "suggested", "runner_up"]].tolist() == [
        "p2", "test", "crop", "water", "pasture"
    ]  # fmt: skip
    numbers = first[["self_confidence", "confidence", "purity", "runner_up_share"]].tolist()
    assert numbers == pytest.approx([0.1, 0.7, 0.6, 0.3])
    assert (found.figures["patches"], found.figures["near_ties"], found.figures["listed"]) == (4, 1, 2)


def test_without_shares_there_is_no_near_tie_and_no_runner_up():
    probabilities = np.tile([0.1, 0.7, 0.1, 0.1], (50, 1))
    found = label_review.review(*split_of([0] * 50), np.full(50, "train"), np.log(probabilities)[None])
    assert (len(found.rows), found.figures["near_ties"]) == (label_review.LISTED, 0)
    assert (found.table["runner_up"] == "").all()


def test_as_many_are_expected_to_be_wrong_as_were_exchanged():
    """Of networks that are right and as sure of each patch; the class that never occurs does not count."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 600)
    probabilities = 0.85 * np.eye(4)[true] + 0.05
    labels = true.copy()
    labels[:30] = (labels[:30] + 1) % 3
    assert label_review.expected_wrong(labels, probabilities) == pytest.approx(30)
    assert label_review.expected_wrong(true, probabilities) == 0

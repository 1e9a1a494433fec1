import numpy as np
import pytest

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation.importance import importance
from landcover.modalities import PERMUTATIONS
from landcover.report import plots

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def log_probabilities(predictions) -> np.ndarray:
    return np.log(np.where(np.eye(2)[np.asarray(predictions)] == 1, 0.9, 0.1))


@pytest.fixture
def test_split() -> tuple[Split, Index]:
    split = Split(np.empty((8, 0)), LABELS, ["B02", "VV", "VH"], ["a", "b"], {})
    index = Index(np.array([f"p{i}" for i in range(8)]), np.ones(8), *np.full((2, 8), np.nan))
    return split, index


def test_the_cost_is_the_accuracy_lost_and_the_costliest_input_comes_first(test_split):
    result = importance(
        *test_split,
        {
            "test": log_probabilities(LABELS),
            "without/sentinel-2": log_probabilities([LABELS, [0, 0, 0, 1, 1, 1, 1, 1]]),
            "without/sentinel-1": log_probabilities([1 - LABELS, LABELS]),
        },
    )
    assert [row["input"] for row in result] == ["sentinel-1", "sentinel-2"]
    assert [row["accuracy"] for row in result] == [0.5, 1 - 0.5 / 8]
    assert [row["cost"] for row in result] == [0.5, 0.5 / 8]
    # Of the second, one patch loses a half and seven nothing: the standard error is 1/16, and t of 7 is 2.365.
    assert (result[1]["low"], result[1]["high"]) == pytest.approx(
        (1 / 16 - 2.3646 / 16, 1 / 16 + 2.3646 / 16), abs=1e-4
    )


def test_without_its_only_input_a_network_predicts_as_for_other_patches(test_split):
    split, index = test_split
    (row,) = importance(split._replace(bands=["B02"]), index, {"test": log_probabilities(LABELS)})
    assert row["input"] == "sentinel-2"
    assert 0.3 < row["accuracy"] < 0.7  # by chance, a half
    assert (row["accuracy"] * 8 * PERMUTATIONS) == pytest.approx(round(row["accuracy"] * 8 * PERMUTATIONS))


def test_the_picture_has_a_bar_for_each_input():
    rows = [
        {"input": name, "cost": cost, "low": cost - 0.1, "high": cost + 0.1}
        for name, cost in (("season", 0.3), ("weather", -0.01))
    ]
    (axes,) = plots.importance(rows, 0.8).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([30, -1])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["season", "weather"]
    assert "of 80.0% with all inputs" in axes.get_xlabel()

import numpy as np
import pytest

from landcover.evaluation import confusion
from landcover.evaluation.intervals import wilson


def test_confusion_matrix_has_labels_in_rows_and_predictions_in_columns():
    result = confusion.confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert result.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_a_table_has_every_pair_of_classes_in_their_order():
    result = confusion.tabulate(np.array([[3, 1], [0, 0]]), ["b", "a"])
    assert result.columns.tolist() == ["actual", "predicted", "patches", "share"]
    assert result[["actual", "predicted"]].agg("".join, axis=1).tolist() == ["bb", "ba", "ab", "aa"]
    assert result["patches"].tolist() == [3, 1, 0, 0]
    assert result["share"].tolist() == pytest.approx([0.75, 0.25, np.nan, np.nan], nan_ok=True)


def test_figures_per_class_by_hand():
    # Of four patches of a, three are right and one is taken for c; all four of b are right; d does not occur.
    matrix = np.array([[3, 0, 1, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    result = confusion.per_class(matrix, list("abcd"))
    assert result["class"].tolist() == list("abcd")
    assert result["support"].tolist() == [4, 4, 0, 0]
    assert result["precision"].tolist() == pytest.approx([1, 1, 0, np.nan], nan_ok=True)  # d is never predicted
    assert result["recall"][:2].tolist() == [0.75, 1]
    assert result[["recall_low", "recall_high"]][:2].to_numpy() == pytest.approx(
        np.array([wilson(0.75, 4), wilson(1, 4)])
    )
    assert result["f1"][:2].tolist() == pytest.approx([6 / 7, 1])
    assert result[["recall", "recall_low", "recall_high", "f1"]][2:].isna().all(axis=None)  # no label

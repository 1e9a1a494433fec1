import numpy as np
import pytest

from landcover.evaluation import confusion


def test_confusion_matrix_has_labels_in_rows_and_predictions_in_columns():
    found = confusion.confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_a_table_has_every_pair_of_classes_in_their_order():
    found = confusion.tabulate(np.array([[3, 1], [0, 0]]), ["b", "a"])
    assert found.columns.tolist() == ["actual", "predicted", "patches", "share"]
    assert found[["actual", "predicted"]].agg("".join, axis=1).tolist() == ["bb", "ba", "ab", "aa"]
    assert found["patches"].tolist() == [3, 1, 0, 0]
    assert found["share"].tolist() == pytest.approx([0.75, 0.25, np.nan, np.nan], nan_ok=True)


def test_the_f1_of_a_class_without_label_and_prediction_is_0():
    found = confusion.class_f1(np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]]))
    assert found.tolist() == [0.75, 0.75, 0]


def test_an_absent_class_counts_only_by_what_is_wrongly_taken_for_it():
    found = confusion.class_f1(np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]]))
    assert found == pytest.approx([6 / 7, 1, 0])

import numpy as np
import pytest

from landcover.judgement import confusion


def test_confusion_matrix_has_labels_in_rows_and_predictions_in_columns():
    found = confusion.confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_the_f1_of_a_class_without_label_and_prediction_is_0():
    found = confusion.class_f1(np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]]))
    assert found.tolist() == [0.75, 0.75, 0]


def test_an_absent_class_counts_only_by_what_is_wrongly_taken_for_it():
    found = confusion.class_f1(np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]]))
    assert found == pytest.approx([6 / 7, 1, 0])

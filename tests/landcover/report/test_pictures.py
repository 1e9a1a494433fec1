import numpy as np

from landcover.report import pictures


def test_examples_show_each_class_before_any_twice():
    labels = np.array([0, 0, 0, 3, 0, 5, 3])
    assert pictures.one_of_each(labels, 3).tolist() == [0, 3, 5]
    assert pictures.one_of_each(labels, 5).tolist() == [0, 1, 3, 5, 6]
    assert pictures.one_of_each(labels, 99).tolist() == list(range(7))

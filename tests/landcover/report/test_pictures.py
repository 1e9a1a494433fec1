import numpy as np
import pandas as pd

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.report import pictures, plots


class Drawn(pictures.Pictures):
    """What would be drawn: the plot of each picture and its first argument."""

    def __init__(self):
        self.colours, self.of = None, {}

    def draw(self, name, plot, *content, **options):
        self.of[name] = (plot, content[0])


def test_a_picture_that_has_nothing_to_show_is_one_sentence():
    drawn = Drawn()
    drawn.draw_places(pd.DataFrame({"split": ["train"], "lon": [np.nan], "lat": [np.nan]}), 1200)
    drawn.draw_importance([{"input": "sentinel-2"}], 0.5)
    images = np.full((2, 1, 20, 20), 0.5, np.float32)
    index = Index(np.array(["a", "b"]), np.ones(2), np.full(2, np.nan), np.full(2, np.nan))
    split = Split(images, np.array([0, 1]), ["B04"], ["oak", "fir"], {})
    drawn.draw_predictions(split, index, np.array([0, 0]), np.array([0.9, 0.8]))
    assert {name: text for name, (plot, text) in drawn.of.items() if plot == plots.note} == {
        "places": "The dataset does not say where its patches lie.",
        "inputs": "The network has a single input, so there is no other to compare it with.",
        "purity": "Each label is of the whole patch, so there is no purity to compare.",
    }
    assert plots.note("some words").get_figheight() < 1


def test_examples_show_each_class_before_any_twice():
    labels = np.array([0, 0, 0, 3, 0, 5, 3])
    assert pictures.one_of_each(labels, 3).tolist() == [0, 3, 5]
    assert pictures.one_of_each(labels, 5).tolist() == [0, 1, 3, 5, 6]
    assert pictures.one_of_each(labels, 99).tolist() == list(range(7))

import numpy as np
import pandas as pd
import pytest

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.errors import InputError
from landcover.evaluation import predictions

TABLE = pd.DataFrame(
    {"patch_id": ["b", "a", "c"], "actual": ["water", "tree", "tree"], "predicted": ["water", "water", "tree"]}
)


def test_shares_are_scored_by_hand_after_temperature():
    split = Split(np.zeros((2, 1, 1, 1)), np.array([0, 1]), ["B02"], ["tree", "water"], {})
    split = split._replace(shares=np.array([[0.75, 0.25], [0.5, 0.5]], np.float32))
    index = Index(np.array(["a", "b"]), split.shares.max(1), *np.zeros((2, 2)))
    plain = np.log([[0.9, 0.1], [0.5, 0.5]])
    table = predictions.tabulate(split, index, plain, np.log([[0.5, 0.5], [0.25, 0.75]]))
    assert table["cross_entropy"].tolist() == pytest.approx([np.log(2), -(np.log(0.25) + np.log(0.75)) / 2])
    assert table["squared_error"].tolist() == pytest.approx([0.25**2, 0.25**2])
    assert table["p_actual"].tolist() == pytest.approx([0.9, 0.5])  # which the temperature does not change
    table = predictions.tabulate(split, index, plain)
    assert table["squared_error"].tolist() == pytest.approx([0.15**2, 0])
    assert predictions.parse(table).squared_error == pytest.approx(np.array([[0.15**2, 0]]))


def test_a_table_of_one_run_is_put_in_the_order_of_the_patches():
    result = predictions.parse(TABLE.assign(p_actual=[0.5, 0.25, 1], lon=[2, 1, 3], lat=[50, 51, 52]))
    assert result.patch_ids.tolist() == ["a", "b", "c"]
    assert result.actual.tolist() == ["tree", "water", "tree"]
    assert result.predicted.tolist() == [["water", "water", "tree"]]
    assert result.p_actual.tolist() == [[0.25, 0.5, 1]]
    assert result.positions.tolist() == [[1, 51], [2, 50], [3, 52]]
    assert result.brier is None
    assert len(result.seeds) == 1


def test_seeds_are_rows_whatever_the_order_of_the_table():
    again = TABLE.assign(predicted="tree", seed=1)
    shuffled = pd.concat([TABLE.assign(seed=2), again]).sample(frac=1, random_state=0)
    result = predictions.parse(shuffled)
    assert result.seeds == [1, 2]
    assert result.predicted.tolist() == [["tree"] * 3, ["water", "water", "tree"]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.drop(columns="actual"), "has no column actual"),
        (TABLE.head(0), "has no rows"),
        (TABLE.assign(predicted=["tree", None, "tree"]), "has an empty cell"),
        (pd.concat([TABLE, TABLE.head(1)]), "lists patch b twice"),
        (TABLE.assign(seed=[1, 1, 2]), "the seeds do not all have the same patches"),
        (
            pd.concat([TABLE.assign(seed=1), TABLE.assign(seed=2, patch_id=list("abd"))]),
            "not all have the same patches",
        ),
        (pd.concat([TABLE.assign(seed=1), TABLE.assign(seed=2, actual="tree")]), "different actual classes"),
        (TABLE.assign(p_actual=[0.1, 1.5, 0.3]), "p_actual is not a number from 0 to 1 in every row"),
        (TABLE.assign(p_actual=["x", 0.5, 0.3]), "p_actual is not a number"),
        (TABLE.assign(lon=[1, 2, np.nan], lat=1), "lon is not a number"),
        (TABLE.assign(fold=[1, 2, None]), "fold is not one value for each patch, the same for every seed"),
        (
            pd.concat([TABLE.assign(seed=1, place=list("xyz")), TABLE.assign(seed=2, place=list("xyy"))]),
            "place is not one value for each patch, the same for every seed",
        ),
        (TABLE.assign(fold=1), "has a single fold; leave the column fold out"),
        (TABLE.assign(fold=[1, 2, 2.5]), "fold is not a whole number in every row"),
        (TABLE.assign(lon=1, lat=91), "lat is not a number from -90 to 90"),
    ],
)
def test_a_table_that_is_amiss_is_refused(table, message):
    with pytest.raises(InputError, match=message):
        predictions.parse(table)


def test_places_that_are_known_of_no_patch_are_not_known():
    assert predictions.parse(TABLE.assign(lon=np.nan, lat=np.nan)).positions is None


def test_places_are_those_that_a_table_states_else_gathered_from_positions():
    located = TABLE.assign(lon=[2.0, 1.0, 1.1], lat=50.0)  # c is near a
    assert predictions.parse(located).places.tolist() in ([0, 1, 0], [1, 0, 1])
    stated = predictions.parse(located.assign(fold=[2, 1, 1], place=["north", "south", "north"]))
    assert stated.folds.tolist() == [1, 2, 1]
    assert stated.places.tolist() == [0, 1, 1]
    assert predictions.parse(located.assign(fold=np.nan, place=np.nan)).folds is None


def test_what_a_network_predicts_as_a_table_by_hand():
    split = Split(np.zeros((2, 1, 1, 1)), np.array([0, 2]), ["B02"], ["tree", "shrub", "water"], {})
    index = Index(np.array(["x", "y"]), np.array([0.5, 1]), np.array([1.0, 2]), np.array([50.0, 51]))
    table = predictions.tabulate(split, index, np.log([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]]))
    assert table["actual"].tolist() == ["tree", "water"]
    assert table["predicted"].tolist() == ["tree", "tree"]
    assert table["confidence"].tolist() == pytest.approx([0.7, 0.5])
    assert table["p_actual"].tolist() == pytest.approx([0.7, 0.4])
    assert table["brier"].tolist() == pytest.approx([0.09 + 0.04 + 0.01, 0.25 + 0.01 + 0.36])
    assert table["rank_actual"].tolist() == [1, 2]
    assert predictions.parse(table).rank_actual.tolist() == [[1, 2]]
    assert predictions.parse(table).positions.tolist() == [[1, 50], [2, 51]]


def test_equally_probable_classes_rank_in_their_order():
    split = Split(np.zeros((3, 1, 1, 1)), np.arange(3), ["B02"], ["a", "b", "c"], {})
    index = Index(np.array(list("xyz")), *np.ones((3, 3)))
    table = predictions.tabulate(split, index, np.log(np.full((3, 3), 1 / 3)))
    assert table["rank_actual"].tolist() == [1, 2, 3]
    assert table["predicted"].tolist() == ["a"] * 3


def test_a_baseline_is_of_the_same_patches():
    table = TABLE.assign(texture="tree")
    result = predictions.of_baselines(table, predictions.parse(TABLE))
    assert {name: one.predicted.tolist() for name, one in result.items()} == {"texture": [["tree"] * 3]}
    with pytest.raises(InputError, match="does not cover the same patches"):
        predictions.of_baselines(table.head(2), predictions.parse(TABLE))

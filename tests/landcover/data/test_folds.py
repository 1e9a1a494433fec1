import numpy as np
import pandas as pd
import pytest

from landcover.data import folds
from landcover.data.index import load_folds
from landcover.errors import InputError
from stages.folds import folds as write_folds


def at(*places: float, each: int = 2, lat: float = 50.0) -> pd.DataFrame:
    """Patches of two classes at each of these longitudes, 1.1 km apart or less."""
    rows = [(lon, lat + i / 100, i % 2) for lon in places for i in range(each)]
    return pd.DataFrame(rows, columns=["lon", "lat", "label"])


def test_folds_consist_of_whole_places():
    patches = at(*range(0, 40, 4), each=4)  # ten places, 286 km apart
    assigned = folds.assign(patches, 5)
    assert assigned.groupby("place")["fold"].nunique().tolist() == [1] * 10
    assert assigned["place"].nunique() == 10
    # As even as whole places allow: two in each fold, and so both classes.
    assert assigned.groupby("fold").size().to_dict() == dict.fromkeys(range(1, 6), 8)
    assert patches.join(assigned).groupby(["fold", "label"]).size().tolist() == [4] * 10


def test_each_patch_is_tested_once_and_chosen_by_once():
    patches = at(*range(0, 32, 4))
    numbers = np.repeat([1, 2, 3, 4], 4)
    roles = folds.roles(patches, numbers, buffer_km=3)
    assert list(roles) == ["role_1", "role_2", "role_3", "role_4"]
    assert roles["role_1"].tolist() == ["test"] * 4 + ["val"] * 4 + ["train"] * 8
    assert roles["role_4"].tolist() == ["val"] * 4 + ["train"] * 8 + ["test"] * 4  # the first is next to the last
    assert ((roles == "test").sum(axis=1) == 1).all()
    assert ((roles == "val").sum(axis=1) == 1).all()


def test_neighbours_of_test_and_val_patches_are_not_trained_on():
    """On a meridian, 2.2 km from one to the next: only neighbours are within 3 km."""
    patches = pd.DataFrame({"lon": 10.0, "lat": 50 + np.arange(8) * 0.02, "label": 0})
    roles = folds.roles(patches, np.array([1, 2, 3, 3, 3, 3, 4, 4]), buffer_km=3)
    assert roles["role_1"].tolist() == ["test", "val", "left_out", "train", "train", "train", "train", "train"]
    assert roles["role_3"].tolist() == ["train", "left_out", "test", "test", "test", "test", "val", "val"]
    with pytest.raises(InputError, match="fold 1 has no train patch 50 km away"):
        folds.roles(patches, np.array([1, 2, 3, 3, 3, 3, 4, 4]), buffer_km=50)


def test_where_positions_are_unknown_classes_are_divided():
    patches = at(0, 4, each=8).assign(lon=np.nan)
    assigned = folds.assign(patches, 4)
    assert assigned["place"].isna().all()
    assert patches.join(assigned).groupby(["fold", "label"]).size().tolist() == [2] * 8
    roles = folds.roles(patches, assigned["fold"].to_numpy(), buffer_km=3)
    assert not (roles == "left_out").any(axis=None)


@pytest.mark.parametrize(
    ("patches", "what"),
    [(at(0, 4, 8, each=4), "3 places of about 50 km"), (at(0, each=6).assign(lat=np.nan), "6 patches")],
)
def test_more_folds_than_places_or_patches_end_in_one_line(patches, what):
    with pytest.raises(InputError, match=f"repeat.folds = 4: {what} do not fill so many folds; set it to 0"):
        folds.assign(patches, 4)


@pytest.fixture
def write(tmp_path, default_params):
    """Write data/folds.csv of eight places, of which the last two are the test split."""
    from landcover import config

    patches = at(*range(0, 32, 4)).assign(split=["train"] * 8 + ["val"] * 4 + ["test"] * 4)
    patches = patches.assign(patch_id=[f"p{i:02}" for i in range(16)], row=patches.groupby("split").cumcount())
    patches.to_csv(tmp_path / "index.csv", index=False)

    def run(train=None, **repeat):
        params = default_params | {"repeat": default_params["repeat"] | repeat, "dataset": "ben-ge-sample-by-place"}
        params["datasets"]["ben-ge-sample-by-place"]["split"]["train"] = train
        sections = dict(config.check(params))
        chosen = {name: sections[name] for name in ("dataset", "datasets", "repeat")}
        write_folds(tmp_path, tmp_path / "folds.csv", **chosen)
        return load_folds(tmp_path / "folds.csv")

    return run


def test_all_patches_are_in_the_folds_or_all_but_those_of_the_locked_test_split(write, tmp_path):
    every = write(folds=4)
    assert every.patch_ids.tolist() == [f"p{i:02}" for i in range(16)]  # as in the index
    assert (every.count, every.splits, len(set(every.places))) == (4, ("train", "val", "test"), 8)
    assert [len(every.rows(1, role)) for role in ("test", "val", "train", "left_out")] == [4, 4, 8, 0]
    assert every.numbers[every.rows(3, "test")].tolist() == [3] * 4
    assert (tmp_path / "folds.csv").read_text().splitlines()[0] == (
        "patch_id,split,row,place,fold,role_1,role_2,role_3,role_4"
    )
    # The assignment has a hash, whatever the seeds.
    assert write(folds=4, seeds=[1, 2]).sha256 == every.sha256
    locked = write(folds=4, test="locked")
    assert (locked.splits, locked.patch_ids.tolist()) == (("train", "val"), [f"p{i:02}" for i in range(12)])
    assert locked.sha256 != every.sha256


def test_without_folds_there_is_a_header(write, tmp_path):
    assert write() is None
    assert (tmp_path / "folds.csv").read_text() == "patch_id,split,row,place,fold\n"


def test_folds_train_on_as_many_patches_as_the_split_with_classes_in_proportion(write, tmp_path):
    chosen = write(4, folds=4)
    assert [len(chosen.rows(1, role)) for role in ("test", "val", "train", "left_out")] == [4, 4, 4, 4]
    labels = pd.read_csv(tmp_path / "index.csv")["label"].to_numpy()
    for fold in range(1, 5):
        assert labels[chosen.rows(fold, "train")].tolist().count(0) == 2
    with pytest.raises(InputError, match="train = 9, but fold 1 has 8 train patches; lower it"):
        write(9, folds=4)

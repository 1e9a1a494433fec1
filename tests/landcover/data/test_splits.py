import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover import config
from landcover.data import places, splits
from landcover.errors import InputError


def parse(split: dict) -> config.Split:
    return config.validate("split", config.Split, split)


def assign(split: dict, dataset) -> list[str]:
    table = dataset.patches(split=split).table
    return list(splits.assign(parse(split), table, "tiny").splits)


def test_by_order_the_first_rows_train_and_the_rest_is_not_used(dataset):
    found = assign({"method": "order", "train": 4, "val": 1, "test": 2}, dataset)
    assert found == ["train"] * 4 + ["val"] + ["test"] * 2 + [""]


def test_by_order_more_patches_than_there_are_is_refused(dataset):
    with pytest.raises(InputError, match=r"500 \+ 150 \+ 150 = 800 patches requested, but tiny has 8"):
        assign({"method": "order", "train": 500, "val": 150, "test": 150}, dataset)


def test_by_files_the_split_is_the_datasets_own(dataset):
    for split, members in {"train": dataset.ids[5:], "val": dataset.ids[:1], "test": dataset.ids[1:4]}.items():
        (dataset.root / f"tiny_{split}.csv").write_text("\n".join(members))
    assert assign({"method": "files"}, dataset) == ["val"] + ["test"] * 3 + [""] + ["train"] * 3


PLACE = {"method": "place", "val": 0.25, "test": 0.25, "seed": 0, "block_km": 50, "buffer_km": 3}


def table(lon, lat, labels=0, tile="", date="20170601") -> pd.DataFrame:
    columns = {"lon": lon, "lat": lat, "label": labels, "problem": "", "tile": tile, "date": date}
    return pd.DataFrame(columns).assign(patch_id=lambda rows: [f"p{i}" for i in range(len(rows))])


def by_place(patches: pd.DataFrame, **changes) -> splits.Assignment:
    return splits.assign(parse(PLACE | changes), patches, "tiny")


def test_whole_blocks_are_drawn_whatever_the_date():
    """Eight places, 111 km apart, two dates each."""
    patches = table(np.tile(np.arange(8), 2) + 10.0, 50.0, date=np.repeat(["20170601", "20180101"], 8))
    found = by_place(patches)
    assert found.splits[:8].tolist() == found.splits[8:].tolist()
    assert sorted(found.splits[:8]) == ["test"] * 2 + ["train"] * 4 + ["val"] * 2
    assert found.facts == {
        "groups": {"train": 4, "val": 2, "test": 2}, "left_out_by_buffer": {"val": 0, "train": 0}, "lost_classes": {}
    }  # fmt: skip
    assert by_place(patches).splits.tolist() == found.splits.tolist()
    assert len({tuple(by_place(patches, seed=seed).splits) for seed in range(9)}) > 1


def test_each_class_has_its_shares_as_far_as_whole_groups_allow():
    counts = np.repeat([[4, 0], [0, 4]], 8, axis=0)
    for seed in range(5):
        drawn = splits.draw_groups(counts, {"train": 0.5, "val": 0.25, "test": 0.25}, seed, every_class=False)
        for half in (drawn[:8], drawn[8:]):
            assert sorted(half) == ["test"] * 2 + ["train"] * 4 + ["val"] * 2


def test_each_split_has_a_group_however_few_there_are():
    drawn = splits.draw_groups(
        np.array([[9], [1], [1]]), {"train": 0.9, "val": 0.05, "test": 0.05}, 0, every_class=False
    )
    assert sorted(drawn) == ["test", "train", "val"]
    with pytest.raises(InputError, match="tiny has 2 blocks, but 3 are needed; lower block_km"):
        by_place(table([10.0, 10.01, 12.0], 50.0))


def test_a_rare_class_is_in_each_split_or_it_is_an_error():
    """The class 3 has three of twenty places."""
    labels = np.where(np.arange(20) % 7 == 0, 3, 0)
    patches = table(np.arange(20) + 5.0, 50.0, labels)
    for seed in range(5):
        found = by_place(patches, every_class=True, seed=seed).splits
        assert {name for name, label in zip(found, labels, strict=True) if label == 3} == {"train", "val", "test"}
    two = labels.copy()
    two[0] = 0
    assert list(by_place(patches.assign(label=two)).facts["lost_classes"].values()) == [["cropland"]]
    with pytest.raises(InputError, match=r"split by place: .* has no cropland; lower block_km or buffer_km"):
        by_place(patches.assign(label=two), every_class=True)


def test_patches_within_the_buffer_are_left_out_and_counted():
    """At the equator of a sphere of tiny blocks: patches 1.1 km apart in a row, each in a block of its own."""
    patches = table(10 + np.arange(40) / 100, 50.0)
    found = by_place(patches, block_km=0.5, buffer_km=0.9, seed=3)
    left = found.facts["left_out_by_buffer"]
    assert (found.splits == "").sum() == left["train"] + left["val"] > 0
    assert (found.splits == "test").sum() == 10  # of the test patches none is left out


@given(seed=st.integers(0, 99), buffer_km=st.floats(0, 30), block_km=st.floats(5, 60), count=st.integers(40, 150))
@settings(derandomize=True, deadline=None, max_examples=40, database=None)
def test_no_two_patches_of_different_splits_are_nearer_than_the_buffer(seed, buffer_km, block_km, count):
    rng = np.random.default_rng(seed)
    patches = table(rng.uniform(10, 12, count), rng.uniform(50, 51.5, count), rng.integers(0, 3, count))
    found = by_place(patches, seed=seed, buffer_km=buffer_km, block_km=block_km).splits
    assert set(found) <= {"train", "val", "test", ""}
    for name, other in itertools.combinations(("train", "val", "test"), 2):
        near = places.nearest_km(patches[found == name], patches[found == other], 100)
        assert (near >= buffer_km).all()


def test_by_tile_whole_tiles_are_held_out():
    patches = table(np.linspace(10, 11, 12), 50.0, tile=np.repeat(["32UNA", "32UPA", "33UUR", "33UVR"], 3))
    found = by_place(patches, groups="tile", buffer_km=0).splits.reshape(4, 3)
    assert all(len(set(tile)) == 1 for tile in found)
    assert sorted(found[:, 0]) == ["test", "train", "train", "val"]
    with pytest.raises(InputError, match="tiny does not name the tiles of its patches; set groups: block"):
        by_place(patches.assign(tile=""), groups="tile")


def test_without_positions_there_is_no_split_by_place_and_leakage_is_unknown():
    patches = table(np.nan, np.full(4, np.nan))
    for groups in ("block", "tile"):
        with pytest.raises(InputError, match="tiny has no lon and lat of its patches; split by order or files"):
            by_place(patches, groups=groups)
    assert splits.leakage(patches.assign(split=["train", "train", "val", "test"])) is None


def test_leakage_by_hand():
    """Along the equator, where a hundredth of a degree is 1.112 km; two train patches at 0."""
    patches = pd.DataFrame(
        [
            ("train", 0.0, "A"), ("train", 0.0, "B"),
            ("test", 0.0, "A"), ("test", 0.01, "A"), ("test", 0.02, "A"), ("test", 0.05, "A"), ("test", 1.0, "A"),
            ("val", 0.005, "C"), ("val", 2.0, "C"),
        ],
        columns=["split", "lon", "date"],
    ).assign(lat=0.0)  # fmt: skip
    found = splits.leakage(patches)
    assert {what: facts["patches"] for what, facts in found["test"].items()} == {
        "same_ground_other_date": 1, "same_ground": 1, "touching": 2, "within_3_km": 3, "within_6_km": 4
    }  # fmt: skip
    assert found["test"]["touching"]["share"] == 2 / 5
    assert {what: facts["share"] for what, facts in found["val"].items()} == dict.fromkeys(found["val"], 0.5)


def test_lists_of_patches_to_exclude(tmp_path):
    patches = table(10.0 + np.arange(4), 50.0)
    (tmp_path / "clouds.csv").write_text("p1\np9\n")
    (tmp_path / "snow.csv").write_text("p3\r\np1\r\n")
    assert splits.excluded([], tmp_path, patches).tolist() == [False] * 4
    assert splits.excluded(["clouds.csv", "snow.csv"], tmp_path, patches).tolist() == [False, True, False, True]
    with pytest.raises(InputError, match=r"haze.csv: no such list of patches to exclude"):
        splits.excluded(["haze.csv"], tmp_path, patches)

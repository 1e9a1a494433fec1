import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover import config
from landcover.constants import CLASSES
from landcover.data import places, splits
from landcover.errors import InputError
from landcover.evaluation import label_review


def parse(split: dict) -> config.Split:
    return config.validate("split", config.Split, split)


def assign(split: dict, patches: pd.DataFrame) -> splits.Assignment:
    return splits.assign(parse(split), patches, "tiny")


def table(lon=np.nan, lat=np.nan, labels=0, tile="", date="20170601") -> pd.DataFrame:
    columns = {"lon": lon, "lat": lat, "label": labels, "problem": "", "tile": tile, "date": date, "tied": False}
    return pd.DataFrame(columns).assign(patch_id=lambda rows: [f"p{i}" for i in range(len(rows))])


def by_class(*sizes: int) -> pd.DataFrame:
    """So many patches of each class, sorted by class."""
    return table(labels=np.repeat(np.arange(len(sizes)), sizes))


def counts(patches: pd.DataFrame, made: splits.Assignment) -> dict[str, list[int]]:
    """By split, the patches of each class."""
    found = pd.crosstab(made.splits, patches["label"])
    return {str(name): found.loc[name].tolist() for name in ("train", "val", "test")}


# -- by order


def test_by_order_the_first_rows_train_and_the_rest_is_not_used():
    made = assign({"method": "order", "train": 4, "val": 1, "test": 2}, by_class(8))
    assert made.splits.tolist() == ["train"] * 4 + ["val"] + ["test"] * 2 + [""]
    assert made.facts == splits.Facts(unused=1)


def test_by_order_more_patches_than_there_are_is_refused():
    with pytest.raises(InputError, match=r"500 \+ 150 \+ 150 = 800 patches requested, but tiny has 8"):
        assign({"method": "order", "train": 500, "val": 150, "test": 150}, by_class(8))


@pytest.mark.parametrize(
    ("shares", "rows", "expected"),
    [
        ((0.7, 0.15, 0.15), 20, (14, 3, 3)),
        ((0.7, 0.15, 0.15), 10, (7, 1, 2)),  # 1.5 and 1.5: test before val
        ((0.8, 0.1, 0.1), 27, (21, 3, 3)),  # 21.6, 2.7 and 2.7
    ],
    ids=str,
)
def test_by_order_shares_of_the_rows_are_rounded_to_the_largest_remainders(shares, rows, expected):
    made = assign({"method": "order"} | dict(zip(("train", "val", "test"), shares, strict=True)), by_class(rows))
    assert made.splits.tolist() == np.repeat(["train", "val", "test"], expected).tolist()


def test_a_share_that_rounds_to_no_patch_is_refused():
    split = {"method": "order", "train": 0.8, "val": 0.1, "test": 0.1}
    with pytest.raises(InputError) as refused:
        assign(split, by_class(2))
    assert str(refused.value) == (
        "split by order: no val and no test patch among tiny's 2 (2 train); raise its share, or add patches"
    )


# -- by random


RANDOM = {"method": "random", "val": 0.2, "test": 0.2, "seed": 0}


def test_shares_of_each_class_are_drawn_at_random():
    patches = by_class(20, 10, 4, 1)
    made = assign(RANDOM, patches)
    # Of four, 2.4, 0.8 and 0.8; of one, 0.6, 0.2 and 0.2.
    assert counts(patches, made) == {"train": [12, 6, 2, 1], "val": [4, 2, 1, 0], "test": [4, 2, 1, 0]}
    assert made.facts == splits.Facts(unused=0)
    assert assign(RANDOM, patches).splits.tolist() == made.splits.tolist()
    assert len({tuple(assign(RANDOM | {"seed": seed}, patches).splits) for seed in range(5)}) == 5
    assert any(made.splits[:12] != "train")
    assert assign(RANDOM | {"train": 0.6}, patches).splits.tolist() == made.splits.tolist()


def test_numbers_of_patches_are_met_exactly_and_divided_in_proportion_to_the_classes():
    patches = by_class(20, 10, 5)
    made = assign(RANDOM | {"val": 5, "test": 10}, patches)
    # 10 x 20/35, 10/35, 5/35 = 5.71, 2.86, 1.43; then 5 of the other 14, 7 and 4: 2.8, 1.4, 0.8.
    assert counts(patches, made) == {"train": [11, 6, 3], "val": [3, 1, 1], "test": [6, 3, 1]}
    with pytest.raises(InputError, match="30 val and 5 test patches leave none of tiny's 35 for training; lower val"):
        assign(RANDOM | {"val": 30, "test": 5}, patches)


def test_fewer_train_patches_leave_val_and_test_as_they_are():
    patches = by_class(20, 10, 5)
    all_patches, eight = (assign(RANDOM | {"val": 5, "test": 10, "train": train}, patches) for train in (None, 8))
    # Of 20: 8 x 11/20, 6/20, 3/20 = 4.4, 2.4, 1.2.
    assert counts(patches, eight)["train"] == [5, 2, 1]
    assert eight.facts.unused == 12
    for name in ("val", "test"):
        assert (eight.splits == name).tolist() == (all_patches.splits == name).tolist()
    assert set(np.flatnonzero(eight.splits == "train")) < set(np.flatnonzero(all_patches.splits == "train"))
    with pytest.raises(InputError, match="21 train patches requested, but 20 are left besides val and test; lower"):
        assign(RANDOM | {"val": 5, "test": 10, "train": 21}, patches)


def test_patches_with_a_problem_take_no_part_in_the_draw():
    patches = by_class(10, 10)
    patches.loc[[0, 1, 2, 3, 4], ["label", "problem"]] = -1, "has no row in the label table"
    made = assign(RANDOM, patches)
    assert made.splits[:5].tolist() == ["train"] * 5
    assert counts(patches[5:], splits.Assignment(made.splits[5:])) == {"train": [3, 6], "val": [1, 2], "test": [1, 2]}


# -- the order of patches


def test_patches_that_are_sorted_by_class_are_mixed():
    patches = by_class(200, 200, 200).assign(split=["train"] * 500 + ["test"] * 100)
    mixed = splits.mix_classes(patches)
    assert sorted(mixed["patch_id"][:500]) == sorted(patches["patch_id"][:500])
    # In a random order, 1 - (0.4**2 + 0.4**2 + 0.2**2) = 0.64 of 500 have another class than the one before.
    assert 280 <= np.count_nonzero(np.diff(mixed["label"][:500])) <= 360
    assert mixed[500:].equals(patches[500:])
    assert splits.mix_classes(patches).equals(mixed)
    # Also those of test, which other folds train on.
    halves = splits.mix_classes(patches.assign(split=["test"] * 300 + ["train"] * 300))
    assert sorted(halves["patch_id"][:300]) == sorted(patches["patch_id"][:300])
    assert np.count_nonzero(np.diff(halves["label"][:300])) > 100 < np.count_nonzero(np.diff(halves["label"][300:]))


@pytest.mark.parametrize("labels", [[0, 1, 2] * 20, [0] * 6 + [1] * 6, [0] * 60], ids=["mixed", "few", "one class"])
def test_other_train_patches_keep_their_order(labels):
    patches = table(labels=np.array(labels)).assign(split="train")
    assert splits.mix_classes(patches)["patch_id"].tolist() == patches["patch_id"].tolist()


# -- by files


def test_by_files_the_split_is_the_datasets_own(dataset):
    for split, members in {"train": dataset.ids[5:], "val": dataset.ids[:1], "test": dataset.ids[1:4]}.items():
        (dataset.root / f"tiny_{split}.csv").write_text("\n".join(members))
    made = assign({"method": "files"}, dataset.patches(split={"method": "files"}).table)
    assert made.splits.tolist() == ["val"] + ["test"] * 3 + [""] + ["train"] * 3
    assert made.facts.unused == 1


def test_names_of_splits_in_a_table_are_understood_or_told():
    patches = by_class(4).assign(split=["Training", "validation", " test", ""])
    assert assign({"method": "files"}, patches).splits.tolist() == ["train", "val", "test", ""]
    with pytest.raises(InputError) as refused:
        assign({"method": "files"}, patches.assign(split=["train", "dev", "dev", "test"]))
    assert str(refused.value) == (
        "split by files: tiny has splits named 'dev' (2 patches); name them train, val, test, or leave them empty"
    )


def test_patches_that_are_all_bad_are_told_rather_than_an_empty_split():
    with pytest.raises(InputError) as refused:
        assign({"method": "random", "val": 0.2, "test": 0.2, "seed": 0}, by_class(9).assign(problem="x is missing"))
    assert str(refused.value).startswith("9 of tiny's 9 patches are bad: ")
    assert str(refused.value).endswith(" and 6 more: x is missing; correct them")


def test_a_dataset_that_has_no_val_list_is_refused():
    with pytest.raises(InputError) as refused:
        assign({"method": "files"}, by_class(4).assign(split=["train", "train", "train", "test"]))
    assert str(refused.value) == (
        "split by files: no val patch among tiny's 4 (3 train, 1 test); assign some patches to it in the dataset's "
        "files, or split with method: random"
    )


# -- what is told first


def test_a_class_that_only_test_has_is_told_first_or_stops_the_splits_that_are_drawn():
    patches = by_class(5, 5, 3, 2).assign(split=np.repeat(["train", "val", "test"], [9, 1, 5]))
    why = "5 of 5 test patches have classes without a train patch, so no network can get them right: "
    classes = "grassland (3), cropland (2); "
    for split, remedy in (
        (
            {"method": "order", "train": 9, "val": 1, "test": 5},
            "if rows are sorted by class, split with method: random",
        ),
        ({"method": "files"}, "correct the dataset's files, or split with method: random"),
    ):
        assert splits.warnings(parse(split), patches, CLASSES) == [why + classes + remedy]
    for split, remedy in ((RANDOM, "raise train, lower test"), (PLACE, "lower block_km or buffer_km")):
        with pytest.raises(InputError) as refused:
            splits.warnings(parse(split), patches, CLASSES)
        assert str(refused.value).startswith(f"split by {split['method']}: {why}{classes}{remedy}")


def test_ties_in_most_labels_are_told():
    patches = by_class(6).assign(split=["train", "train", "train", "val", "test", "test"])
    order = parse({"method": "order", "train": 3, "val": 1, "test": 2})
    half, most = (patches.assign(tied=np.arange(6) < ties) for ties in (3, 4))
    assert splits.warnings(order, half, CLASSES) == []
    (told,) = splits.warnings(order, most, CLASSES)
    assert told.startswith(
        "4 of 6 labels are ties: two or more classes have the same share of the patch, and the first"
    )


def test_classes_with_too_few_patches_for_a_random_split_are_told():
    patches = by_class(10, 2, 1)
    patches["split"] = assign(RANDOM, patches).splits
    assert splits.warnings(parse(RANDOM), patches, CLASSES) == [
        "2 of 3 classes have too few patches to be in each split: shrubland (2), grassland (1); add patches, or leave "
        "the classes out"
    ]


# -- by place


PLACE = {"method": "place", "val": 0.25, "test": 0.25, "seed": 0, "block_km": 50, "buffer_km": 3}


def by_place(patches: pd.DataFrame, **changes) -> splits.Assignment:
    return assign(PLACE | changes, patches)


def test_whole_blocks_are_drawn_whatever_the_date():
    """Eight places, 111 km apart, two dates each."""
    patches = table(np.tile(np.arange(8), 2) + 10.0, 50.0, date=np.repeat(["20170601", "20180101"], 8))
    found = by_place(patches)
    assert found.splits[:8].tolist() == found.splits[8:].tolist()
    assert sorted(found.splits[:8]) == ["test"] * 2 + ["train"] * 4 + ["val"] * 2
    assert found.facts == splits.Facts(0, {"train": 4, "val": 2, "test": 2}, {"val": 0, "train": 0})
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
    with pytest.raises(InputError, match="tiny has 1 tile, but 3 are needed; set groups: block"):
        by_place(table([10.0, 10.01, 12.0], 50.0).assign(tile="33UUP"), groups="tile")


def test_a_rare_class_is_in_each_split_or_it_is_an_error():
    """The class 3 has three of twenty places."""
    labels = np.where(np.arange(20) % 7 == 0, 3, 0)
    patches = table(np.arange(20) + 5.0, 50.0, labels)
    for seed in range(5):
        found = by_place(patches, every_class=True, seed=seed).splits
        assert {name for name, label in zip(found, labels, strict=True) if label == 3} == {"train", "val", "test"}
    two = labels.copy()
    two[0] = 0
    assert len(set(by_place(patches.assign(label=two)).splits[two == 3])) == 2
    with pytest.raises(InputError, match=r"split by place: .* has no cropland; lower block_km or buffer_km"):
        by_place(patches.assign(label=two), every_class=True)


def test_patches_within_the_buffer_are_left_out_and_counted():
    """At the equator of a sphere of tiny blocks: patches 1.1 km apart in a row, each in a block of its own."""
    patches = table(10 + np.arange(40) / 100, 50.0)
    found = by_place(patches, block_km=0.5, buffer_km=0.9, seed=3)
    left = found.facts.left_out_by_buffer
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


def test_by_place_fewer_train_patches_leave_val_and_test_as_they_are():
    patches = table(np.tile(np.arange(8), 6) + 10.0, 50.0, np.repeat([0, 1], [36, 12]))
    everything, eight = by_place(patches), by_place(patches, train=8)
    assert [(found.splits == "train").sum() for found in (everything, eight)] == [24, 8]
    assert (eight.facts.unused, eight.facts.left_out_by_buffer) == (16, {"val": 0, "train": 0})
    assert counts(patches, eight)["train"] == [6, 2]  # of 18 and 6
    for name in ("val", "test"):
        assert (eight.splits == name).tolist() == (everything.splits == name).tolist()


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
        with pytest.raises(InputError, match="tiny has no lon and lat of its patches; name a table of positions"):
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
    undated = splits.leakage(patches.assign(date=""))["test"]
    assert undated == {what: facts for what, facts in found["test"].items() if what != "same_ground_other_date"}


def test_lists_of_patches_to_exclude(tmp_path):
    patches = table(10.0 + np.arange(4), 50.0).assign(split=["train", "train", "val", "test"])
    (tmp_path / "clouds.csv").write_text("p1\np9\n")
    (tmp_path / "snow.csv").write_text("p3\r\np1\r\n")
    assert splits.excluded([], tmp_path, patches).tolist() == [False] * 4
    assert splits.excluded(["clouds.csv", "snow.csv"], tmp_path, patches).tolist() == [False, True, False, True]
    with pytest.raises(InputError, match=r"haze.csv: no such list of patches to exclude"):
        splits.excluded(["haze.csv"], tmp_path, patches)
    # A network's suspicion of a test patch leaves it where it is; a list of ids is a person's own word.
    suspects = pd.DataFrame(columns=[*label_review.COLUMNS]).assign(patch_id=["p3", "p2", "p0"])
    suspects.to_csv(tmp_path / "label_review.csv", index=False)
    assert splits.excluded(["label_review.csv"], tmp_path, patches).tolist() == [True, False, True, False]
    assert splits.excluded(["label_review.csv", "snow.csv"], tmp_path, patches).tolist() == [True] * 4

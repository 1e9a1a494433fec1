import numpy as np
import pandas as pd
import pytest

from landcover.dataset import splits
from landcover.dataset.tables import read_tables
from landcover.ground import params
from landcover.ground.errors import InputError


def parse(split: dict) -> params.Order | params.Files | params.Tile:
    return params.METHODS[split["method"]].model_validate(split)


def assign(split: dict, dataset) -> list[str]:
    return list(splits.assign(parse(split), read_tables(dataset.root), dataset.root))


def ids(*places: tuple[str, int, int]) -> pd.Series:
    return pd.Series([f"S2A_MSIL2A_{acquisition}_{column}_{row}" for acquisition, column, row in places])


def test_by_order_the_first_rows_train_and_the_rest_is_not_used(dataset):
    found = assign({"method": "order", "train": 4, "val": 1, "test": 2}, dataset)
    assert found == ["train"] * 4 + ["val"] + ["test"] * 2 + [""]


def test_by_order_more_patches_than_there_are_is_refused(dataset):
    with pytest.raises(InputError, match=r"500 \+ 150 \+ 150 = 800 patches asked for, 8 in tiny"):
        assign({"method": "order", "train": 500, "val": 150, "test": 150}, dataset)


@pytest.mark.parametrize("folder", ["splits", "."])
def test_by_the_datasets_own_files(dataset, folder):
    (dataset.root / folder).mkdir(exist_ok=True)
    for split, members in {"train": dataset.ids[5:], "val": dataset.ids[:1], "test": dataset.ids[1:4]}.items():
        (dataset.root / folder / f"tiny_{split}.csv").write_text("\r\n".join(members) + "\r\n")
    assert assign({"method": "files"}, dataset) == ["val"] + ["test"] * 3 + [""] + ["train"] * 3


@pytest.mark.parametrize(
    ("test_ids", "message"),
    [
        (["S2A_MSIL2A_X_1_1"], "not in the meta table: 'S2A_MSIL2A_X_1_1'"),
        (["S2A_MSIL2A_20170610T101031_0_7"], "in more than one place: S2A_MSIL2A_20170610T101031_0_7"),
        (["S2A_MSIL2A_20170611T101031_0_7"] * 2, "in more than one place"),
        (None, "tiny has no tiny_test.csv"),
    ],
)
def test_bad_split_files_are_refused(dataset, test_ids, message):
    (dataset.root / "tiny_train.csv").write_text(dataset.ids[0])
    (dataset.root / "tiny_val.csv").write_text(dataset.ids[2])
    if test_ids is not None:
        (dataset.root / "tiny_test.csv").write_text("\n".join(test_ids))
    with pytest.raises(InputError, match=message):
        assign({"method": "files"}, dataset)


def test_by_tile_no_acquisition_is_in_two_splits(dataset):
    found = assign({"method": "tile", "val": 0.25, "test": 0.25, "seed": 0}, dataset)
    assert sorted(found) == ["test"] * 2 + ["train"] * 4 + ["val"] * 2
    assert found[:4] == found[4:]  # patches i and i + 4 are of one acquisition
    other_seeds = {tuple(assign({"method": "tile", "val": 0.25, "test": 0.25, "seed": s}, dataset)) for s in range(9)}
    assert len(other_seeds) > 1


def test_by_tile_needs_three_acquisitions(dataset):
    table = read_tables(dataset.root).iloc[[0, 4, 1]]
    with pytest.raises(InputError, match="has 2 acquisitions"):
        splits.assign(parse({"method": "tile", "val": 0.25, "test": 0.25, "seed": 0}), table, dataset.root)


def test_positions_are_read_from_ids_of_all_kinds():
    found = splits.positions(
        pd.Series(
            [
                "S2A_MSIL2A_20170617T113321_36_85",
                "S2B_MSIL2A_20170924T93020_7_0",
                "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57",
            ]
        )
    )
    assert found["acquisition"].tolist() == [
        "S2A_MSIL2A_20170617T113321",
        "S2B_MSIL2A_20170924T93020",
        "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP",
    ]
    assert found[["column", "row"]].to_numpy().tolist() == [[36, 85], [7, 0], [26, 57]]


def test_neighbours_are_counted_by_the_longer_offset_within_an_acquisition():
    train = ids(("A", 10, 10), ("B", 0, 0))
    test = ids(("A", 11, 9), ("A", 12, 10), ("A", 10, 15), ("A", 4, 10), ("B", 10, 10), ("C", 0, 0))
    assert splits.neighbours(test, train, 1).tolist() == [True] + [False] * 5
    assert splits.neighbours(test, train, 2).tolist() == [True, True] + [False] * 4
    assert splits.neighbours(test, train, 5).tolist() == [True, True, True] + [False] * 3


def test_neighbours_agree_with_all_pairs():
    rng = np.random.default_rng(0)
    here, there = (ids(*((rng.choice(list("AB")), *rng.integers(0, 90, 2)) for _ in range(300))) for _ in range(2))
    a, b = splits.positions(here), splits.positions(there)
    for distance in (1, 2, 5):
        offset = np.abs(a[["column", "row"]].to_numpy()[:, None] - b[["column", "row"]].to_numpy()[None]).max(-1)
        same = a["acquisition"].to_numpy()[:, None] == b["acquisition"].to_numpy()[None]
        expected = ((offset <= distance) & same).any(1)
        assert splits.neighbours(here, there, distance).tolist() == expected.tolist()


def test_leakage_is_the_share_of_the_test_split():
    patches = pd.DataFrame(
        {
            "patch_id": ids(("A", 0, 0), ("A", 1, 1), ("A", 3, 0), ("A", 30, 0), ("A", 0, 1)),
            "split": ["train", "test", "test", "test", "val"],
        }
    )
    assert splits.leakage(patches) == {
        "within_1": {"test_patches": 1, "share": 1 / 3},
        "within_2": {"test_patches": 1, "share": 1 / 3},
        "within_5": {"test_patches": 2, "share": 2 / 3},
    }

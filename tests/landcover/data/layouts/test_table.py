from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
from tiny import entry, write_picture, write_tile

from landcover.data.layouts import table
from landcover.errors import InputError

BANDS = {"B02": 3}
NAMES = ["a/one.png", "a/two.png", "b/three.png", "four.png"]


@pytest.fixture
def rows(tmp_path) -> pd.DataFrame:
    """Four pictures, and what their table lists; `write` writes it."""
    for name in NAMES:
        write_picture(tmp_path / "set" / name, (1, 2, 3))
    return pd.DataFrame({"path": NAMES, "class": ["crop", "lake", "crop", "lake"]})


def read(tmp_path: Path, rows: pd.DataFrame, name: str = "labels.csv", **facts):
    path = tmp_path / "set" / name
    rows.to_parquet(path) if path.suffix == ".parquet" else rows.to_csv(path, index=False)
    try:
        return table.read_patches(tmp_path, ["B02"], [], entry(**{"bands": BANDS} | facts))
    finally:
        path.unlink()


def refused(tmp_path: Path, rows: pd.DataFrame, **facts) -> str:
    with pytest.raises(InputError) as error:
        read(tmp_path, rows, **facts)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_a_table_of_paths_and_classes(tmp_path, rows, name):
    rows["lon"], rows["lat"], rows["date"] = [1.5, 2, 3, 4], 50, ["2020-06-04", "20200605", "", ""]
    patches = read(tmp_path, rows.assign(other="x"), name)
    assert (patches.classes, patches.patch_size, patches.warnings) == (["crop", "lake"], 32, [])
    found = patches.table
    assert found["patch_id"].tolist() == ["a/one", "a/two", "b/three", "four"]
    assert found["B02"].tolist() == NAMES
    assert found["label"].tolist() == [0, 1, 0, 1]
    assert found["lon"].tolist() == [1.5, 2, 3, 4]
    assert found["date"].tolist() == ["20200604", "20200605", "", ""]
    assert set(found["problem"]) == {""}


def test_ids_and_splits_may_be_stated(tmp_path, rows):
    rows["patch_id"], rows["split"] = ["7", "p1", "Straße", "9 b"], ["train", "Validation", "test", ""]
    found = read(tmp_path, rows, split={"method": "files"}).table
    assert found["patch_id"].tolist() == ["7", "p1", "Straße", "9 b"]
    assert found["split"].tolist() == ["train", "Validation", "test", ""]
    assert "has no column split; add it" in refused(tmp_path, rows.drop(columns="split"), split={"method": "files"})


def test_names_that_a_csv_reader_would_change_are_no_ids(tmp_path, rows):
    write_picture(tmp_path / "set" / "0001.png", 0)
    rows.loc[3, "path"] = "0001.png"
    assert read(tmp_path, rows).table["patch_id"].tolist() == [*NAMES[:3], "0001.png"]
    rows["patch_id"] = ["007", "1e5", "a", "b"]
    assert "2 patch ids read as numbers or as empty: '007'; add a letter" in refused(tmp_path, rows)


def test_labels_without_files_and_files_without_labels_are_told(tmp_path, rows):
    rows.loc[[1, 3], "path"] = ["a/2.png", "4.png"]
    patches = read(tmp_path, rows)
    problem = "its file, listed in labels.csv, is missing"
    assert patches.table["problem"].tolist() == ["", problem, "", problem]
    assert patches.warnings == ["2 images, for example a/two.png, are not in labels.csv"]
    rows["path"] = "x" + rows["path"]
    assert "none of its 4 files is there, for example xa/one.png, but a/one.png is; correct path" in refused(
        tmp_path, rows
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ["../x.png", "/y.png", "a\\b.png", ""]}, "4 paths are empty, absolute, or leave the folder of the"),
        ({"path": ["a/one.png"] * 4}, "1 of path occur more than once, for example a/one.png; keep one"),
        ({"class": ["crop"] * 4}, "crop; at least two classes are needed"),
        ({"class": ["1", "2", "1", "2"]}, "2 names of classes among the classes in"),
        ({"date": ["4.6.2020"] * 4}, "4 dates are not like 2020-06-04, for example '4.6.2020'"),
        ({"class": ["crop", "Crop ", "lake", "lake"]}, "'Crop', 'crop' differ only in capitals or spaces"),
        ({"lon": [1] * 4}, "has no column lat among 'path', 'class', 'lon'; add what is missing"),
        ({"lon": "1,5", "lat": 2}, "lon or lat is no number in 4 rows, for example '1,5, 2'; write degrees as 9.25"),
        ({"Class": ["crop"] * 4, "class": None}, "has no column class among 'path', 'Class'; write 'Class' in small"),
        ({"label": ["crop"] * 4, "class": None}, "with its share; if label is the class, call it class"),
        (
            {"crop": [60] * 4, "lake": [900] * 4, "class": None},
            "shares of 4 of 4 patches, for example a/one.png (960)",
        ),
        (
            {"Unnamed: 0": [0] * 4, "lake": [1] * 4, "class": None},
            "that cannot be classes: 'Unnamed: 0'; every column",
        ),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, rows, change, message):
    changed = rows.assign(**change)
    assert message in refused(tmp_path, changed.drop(columns=[name for name, cells in change.items() if cells is None]))


def test_a_row_without_a_class_is_a_problem_and_other_classes_may_be_left_out(tmp_path, rows):
    rows["class"] = ["crop", "", "lake", "sea"]
    patches = read(tmp_path, rows, classes=["lake", "crop"])
    assert patches.table["problem"].tolist() == ["", "its class in labels.csv is empty", ""]
    assert patches.table["label"].tolist() == [1, -1, 0]
    assert patches.warnings[0] == "1 rows of labels.csv have none of the entry's classes: sea"


# -- shares


def test_shares_give_the_label_and_the_purity(tmp_path, rows):
    rows = rows[["path"]].assign(crop=[1, 0.25, 0.5, 0.6], lake=[0, 0.75, 0.5, 0.6], sea=[0, 0, 0, 0])
    patches = read(tmp_path, rows)
    found = patches.table
    assert patches.classes == ["crop", "lake", "sea"]
    assert found["label"].tolist() == [0, 1, 0, -1]
    assert found["majority_fraction"].tolist()[:3] == [1, 0.75, 0.5]
    assert found["tied"].tolist() == [False, False, True, False]
    assert found["problem"].tolist()[3] == "a class fraction is negative, or their sum exceeds 1"


def test_shares_that_do_not_add_up_are_told_once(tmp_path, rows):
    rows = rows[["path"]].assign(crop=[100, 25, 50, 0], lake=[0, 75, 50, 100])
    assert "the shares of 4 of 4 patches, for example a/one.png, add up to 100, like percent" in refused(tmp_path, rows)
    rows[["crop", "lake"]] /= 200
    assert read(tmp_path, rows).warnings == [
        "in 4 of 4 patches, for example a/one (0.5), the shares add up to less than 1"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sep": ";"}, "labels.csv: separates columns with ';'; save it with commas"),
        ({"sep": "\t"}, "labels.csv: separates columns with '\\t'; save it with commas"),
        ({"encoding": "latin-1"}, "labels.csv: is not in UTF-8 (byte 21); save it as CSV in UTF-8"),
    ],
    ids=str,
)
def test_a_csv_in_another_form_is_told_from_no_table(tmp_path, rows, options, message):
    rows["class"] = ["Äcker", "lake"] * 2
    rows.to_csv(tmp_path / "set" / "labels.csv", index=False, **options)
    assert table.matches(tmp_path)
    with pytest.raises(InputError) as error:
        table.read_patches(tmp_path, ["B02"], [], entry(bands=BANDS))
    assert message in str(error.value)


def test_spaces_around_a_class_do_not_make_another(tmp_path, rows):
    rows["class"] = ["crop", "lake ", " crop", "lake"]
    assert read(tmp_path, rows).classes == ["crop", "lake"]


def test_columns_of_text_are_no_shares(tmp_path, rows):
    rows = rows[["path"]].assign(crop=[1, 0, 0, 1], lake=[0, 1, 1, 0], place="Ulm")
    assert "columns without a number: place; every column besides path, lon, lat" in refused(tmp_path, rows)
    assert read(tmp_path, rows, classes=["lake", "crop"]).table["label"].tolist() == [1, 0, 0, 1]
    assert "has no column class, nor a column for each class" in refused(tmp_path, rows[["path"]])


# -- folders of bands, and BigEarthNet


def test_a_path_may_be_a_folder_of_bands_of_several_resolutions(tmp_path):
    for i, name in enumerate(("p_0", "p_1", "p_2")):
        for band, side in (("B02", 40), ("B05", 20)):
            write_tile(tmp_path / f"tiles/{name}/{name}_{band}.tif", np.full((side, side), 100 + i, np.uint16))
    rows = pd.DataFrame({"path": ["tiles/p_0", "tiles/p_1/"], "crop": [0.2, 1], "lake": [0.8, 0]})
    rows.to_csv(tmp_path / "shares.csv", index=False)
    patches = table.read_patches(tmp_path, ["B02", "B05"], [], entry())
    assert patches.patch_size == 40
    assert [channel.metres for channel in patches.channels] == [10, 20]
    assert patches.table["B05"].tolist() == ["tiles/p_0/p_0_B05.tif", "tiles/p_1/p_1_B05.tif"]
    assert patches.table["patch_id"].tolist() == ["tiles/p_0", "tiles/p_1"]
    assert patches.warnings[0] == "1 images, for example tiles/p_2, are not in shares.csv"
    for name in ("p_0_B02.tif", "p_0_B05.tif"):
        (tmp_path / "tiles/p_0" / name).rename(tmp_path / "tiles/p_0" / name.replace("tif", "TIF"))
    (tmp_path / "tiles/p_1/p_1_B02.tif").unlink()
    patches = table.read_patches(tmp_path, ["B02", "B05"], [], entry())
    assert patches.table["B05"].tolist() == ["tiles/p_0/p_0_B05.TIF", "tiles/p_1/p_1_B05.tif"]
    assert patches.table["problem"].tolist() == ["", "B02 is missing"]


@pytest.mark.parametrize("key", ["patch_id", "path"])
def test_the_table_of_bigearthnet_is_answered_with_advice(tmp_path, key):
    rows = pd.DataFrame({key: ["p"], "labels": [["Pastures", "Arable land"]], "split": ["train"]})
    rows.to_parquet(tmp_path / "metadata.parquet")
    assert table.matches(tmp_path)
    with pytest.raises(
        InputError, match=r"lists several labels per patch, as BigEarthNet v2 does, .* write a table with"
    ):
        table.read_patches(tmp_path, ["B02"], [], entry())


def test_two_tables_are_refused_and_other_tables_are_none(tmp_path, rows):
    (tmp_path / "set" / "notes.csv").write_text("a,b\n1,2\n")
    assert not table.matches(tmp_path)
    assert read(tmp_path, rows).patch_size == 32
    rows.to_csv(tmp_path / "set" / "more.csv")
    assert "needs one table with a column path, has set/labels.csv, set/more.csv" in refused(tmp_path, rows)
    assert table.needed(PurePosixPath("x/labels.parquet"), [])
    assert not table.needed(PurePosixPath("__MACOSX/labels.csv"), [])

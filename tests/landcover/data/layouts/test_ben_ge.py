from pathlib import PurePosixPath

import numpy as np
import pytest
from tiny import Dataset, write_table, write_tile

from landcover import modalities
from landcover.constants import CLASSES
from landcover.data.conversion import scaled_features
from landcover.data.layouts import ben_ge
from landcover.errors import InputError

BANDS = ["B02", "B03", "B04", "B08"]
FEATURES = modalities.context_features(modalities.MODALITIES)


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("ben-ge-800/ben-ge-800_meta.csv", True),
        ("./ben-ge-800/ben-ge-800_meta.csv", True),
        ("ben-ge-8k/splits/ben-ge-8k_train.csv", True),
        ("ben-ge-800/sentinel-2/P_1_2/P_1_2_B02.tif", True),
        ("ben-ge-800/sentinel-2/P_1_2/P_1_2_B11.tif", False),
        ("ben-ge-800/sentinel-2/P_1_2/other_B02.tif", False),
        ("ben-ge-800/sentinel-2/P_1_2/P_1_2_labels_metadata.json", False),
        ("ben-ge-800/sentinel-1/P_1_2/P_1_2_VV.tif", False),
        ("ben-ge-800/dem/P_1_2_dem.tif", False),
        ("ben-ge-800/deep/er/x.csv", False),
    ],
)
def test_only_what_the_pipeline_reads_is_needed(name, needed):
    assert ben_ge.needed(PurePosixPath(name), BANDS) is needed
    assert ben_ge.needed(PurePosixPath("x/dem/P_1_2_dem.tif"), ["elevation"])


# -- the folder and its tables


def test_the_root_is_the_folder_with_its_own_meta_table(dataset):
    (dataset.root.parent / "README.d").mkdir()
    for folder in (dataset.root, dataset.root.parent):
        assert ben_ge.find_root(folder) == dataset.root


def test_no_root_and_two_roots_are_refused(dataset, tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        ben_ge.find_root(tmp_path / "elsewhere")
    other = dataset.root.parent / "other"
    other.mkdir()
    (other / "other_meta.csv").touch()
    with pytest.raises(InputError, match="found other, tiny; check the source"):
        ben_ge.find_root(dataset.root.parent)


def test_labels_are_joined_by_patch_id_not_by_row(dataset):
    dataset.cover.reverse()
    dataset.write_tables()
    table = dataset.patches().table
    assert table["patch_id"].tolist() == dataset.ids
    assert table["label"].tolist() == dataset.labels
    assert table["majority_fraction"].tolist() == [0.75] * 8
    assert table["date"].tolist()[:2] == ["20170610", "20170611"]


def test_of_tied_classes_the_first_is_the_label(dataset):
    dataset.cover[1] |= {"grassland": 0.25, "cropland": 0.25}
    dataset.write_tables()
    table = dataset.patches().table
    assert table["label"][1] == CLASSES.index("grassland")
    assert table["tied"].tolist() == [False, True] + [False] * 6


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"cropland": 0.0}, "all WorldCover fractions are zero"),
        ({"tree_cover": -0.1}, "a WorldCover fraction is negative, or their sum exceeds 1"),
        ({"tree_cover": 0.75}, "a WorldCover fraction is negative, or their sum exceeds 1"),
        ({"tree_cover": "nan"}, "a WorldCover fraction is not a number"),
        ({"tree_cover": "0,5"}, "a WorldCover fraction is not a number"),
        ({"patch_id": "S2A_MSIL2A_20170613T101031_99_99"}, "has no row in the WorldCover table"),
    ],
)
def test_a_patch_without_a_usable_label_is_a_problem(dataset, change, problem):
    dataset.cover[1] |= change
    dataset.write_tables()
    table = dataset.patches().table
    assert table["problem"].tolist() == ["", problem] + [""] * 6
    assert table["label"][1] == -1


@pytest.mark.parametrize(("column", "cell"), [("lon", "x"), ("lon", "180.1"), ("lat", ""), ("lat", "1e2")])
def test_a_position_that_is_not_on_earth_is_a_problem(dataset, column, cell):
    dataset.meta[1][column] = cell
    dataset.write_tables()
    problem = "its lon and lat in the meta table are not a position on Earth"
    assert dataset.patches().table["problem"].tolist() == ["", problem] + [""] * 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a CSV table: No columns to parse from file"),
        ("patch_id,lon,lat\n", "has no rows"),
        ("patch_id;lon;lat\nS2A_MSIL2A_X_1_2;1;2\n", "separate columns with commas"),
        ("patch_ids,lon\n", "has no column patch_id, lat among 'patch_ids', 'lon'"),
        ("patch_id,lon,lat\n../../etc/passwd,1,2\n", "invalid patch ids: '../../etc/passwd'; they name files"),
        ("patch_id,lon,lat\nS2A_MSIL2A_X_1_2,1,2\nS2A_MSIL2A_X_1_2,1,2\n", "duplicate patch ids: S2A_MSIL2A_X_1_2"),
        ("patch_id,lon,lat\nS2A_MSIL2A_X_1_2,1,5,2\n", "is not a CSV table: its rows have more cells than its header"),
        ('patch_id,lon,lat\n"S2A_MSIL2A_X_1_2,1,2\n', "is not a CSV table: .* EOF inside string"),
    ],
)
def test_a_broken_table_is_refused(dataset, text, message):
    (dataset.root / "tiny_meta.csv").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        dataset.patches()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("patch_id", ["", "a ", "../x", "a/b", ".a", "a" * 201])
def test_an_id_that_is_no_name_of_a_file_is_refused(dataset, patch_id):
    dataset.meta[1]["patch_id"] = patch_id
    dataset.write_tables()
    with pytest.raises(InputError, match=r": invalid patch ids: .*; they name files"):
        dataset.patches()


def test_bands_must_divide_the_patch(dataset):
    with pytest.raises(InputError, match=r"patches of 640 m \(patch_size = 64\) do not hold .* pixels of B01; leave"):
        dataset.patches(["B02", "B01"], patch_size=64)


def test_any_name_of_a_file_is_an_id(dataset):
    for i, row in enumerate(dataset.meta):
        dataset.cover[i]["patch_id"] = row["patch_id"] = f"Straße-{i}"
    dataset.write_tables()
    table = dataset.patches().table
    assert table["patch_id"].tolist()[:2] == ["Straße-0", "Straße-1"]
    assert set(table["problem"]) == set(table["date"]) == {""}


def test_a_byte_order_mark_and_windows_line_ends_are_read(dataset):
    path = dataset.root / "tiny_meta.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").replace(b"\r\r", b"\r"))
    assert dataset.patches().table["patch_id"].tolist() == dataset.ids


@pytest.mark.parametrize(("old", "new"), [("lat", " lat"), ("lat", "Lat"), ("lat", "latitude"), ("lon", "x")])
def test_half_a_position_or_a_misspelt_column_is_refused(dataset, old, new):
    path = dataset.root / "tiny_meta.csv"
    header, rest = path.read_text().split("\n", 1)
    path.write_text(f"{header.replace(old, new)}\n{rest}")
    with pytest.raises(InputError, match=f"has no column {old} among "):
        dataset.patches()


def test_the_offset_is_that_of_the_processing_baseline(dataset):
    dataset.meta = [row | {"processing_baseline": "05.09" if i == 2 else ""} for i, row in enumerate(dataset.meta)]
    dataset.write_tables()
    assert dataset.patches().table["offset"].tolist() == [-1, -1, 1000] + [-1] * 5


# -- radar, elevation and context


def test_everything_is_joined_by_patch_id_whatever_the_order_of_the_rows(dataset):
    dataset.add_modalities()
    dataset.weather[3]["temperature_s2"] = 300
    write_table(dataset.root / "tiny_era-5.csv", dataset.weather[::-1])
    table = dataset.patches(["B02", "VV", "elevation"], FEATURES).table
    assert (table[["problem", "warning"]] == "").all(axis=None)
    for i in range(8):
        assert dataset.root / table["B02"][i] == dataset.tile(dataset.ids[i], "B02")
        assert dataset.root / table["VV"][i] == dataset.radar_tile(i, "VV")
        assert dataset.root / table["elevation"][i] == dataset.elevation_tile(i)
    assert table["days_apart"].tolist() == [2] * 8
    assert table["tile"].tolist() == ["33UUP"] * 8
    assert table["temperature"].tolist() == [260, 260, 260, 300, 260, 260, 260, 260]
    assert table["wind_v"].tolist() == [-12] * 8


def test_features_are_scaled_and_zone_0_is_no_zone(dataset):
    dataset.add_modalities()
    features = scaled_features(dataset.patches(["B02"], FEATURES).table, FEATURES)
    assert (features.shape, features.dtype) == ((8, 36), np.float32)
    # Patch i has the zone i.
    assert (features[:, :30] == np.eye(31)[:8, 1:]).all()
    assert features[0, 30:] == pytest.approx([0.25, 0.5, 0.5, 0.5, 108 / 240, 700 / 800])


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("patch_id_s1", "../../etc", "its patch_id_s1 in the meta table is not a patch id"),
        ("patch_id_s1", "", "its patch_id_s1 in the meta table is not a patch id"),
        ("climatezone", 31, "its climatezone in the meta table is not one of 0 to 30"),
        ("climatezone", "", "its climatezone in the meta table is not one of 0 to 30"),
        ("season_s2", 1.5, "its season_s2 in the meta table is not from 0 to 1"),
        ("season_s2", "nan", "its season_s2 in the meta table is not from 0 to 1"),
    ],
)
def test_a_bad_cell_of_the_meta_table_is_a_problem_of_its_patch(dataset, column, value, problem):
    dataset.add_modalities()
    dataset.meta[5][column] = value
    dataset.write_tables()
    assert dataset.patches(["VV"], FEATURES).table["problem"].tolist() == [""] * 5 + [problem] + [""] * 2


def test_a_bad_cell_or_a_missing_row_of_the_weather_table_is_a_problem_of_its_patch(dataset):
    dataset.add_modalities()
    dataset.weather[2]["temperature_s2"] = 15  # degrees Celsius
    write_table(dataset.root / "tiny_era-5.csv", dataset.weather[:-1])
    why = "its temperature_s2 in the weather table is not 180 to 340 K"
    assert dataset.patches([], FEATURES).table["problem"].tolist() == ["", "", why, "", "", "", "", why]


def test_a_table_that_is_missing_or_lacks_a_column_is_refused(dataset):
    dataset.add_modalities()
    (dataset.root / "tiny_era-5.csv").unlink()
    with pytest.raises(InputError, match=r"tiny_era-5\.csv: not found; put the table there"):
        dataset.patches([], FEATURES)
    assert dataset.patches([], ["season"]).table["season"].tolist() == [0.25] * 8
    for row in dataset.meta:
        del row["season_s2"]
    dataset.write_tables()
    with pytest.raises(InputError, match="has no column season_s2"):
        dataset.patches([], FEATURES)


def test_for_prediction_labels_are_not_needed_and_what_is_missing_is_left_out(dataset):
    (dataset.root / "tiny_esaworldcover.csv").unlink()
    dataset.meta = [row | {"season_s2": 0.5} for row in dataset.meta]
    dataset.write_tables()
    (dataset.root / "tiny_esaworldcover.csv").unlink()
    patches = ben_ge.read_patches(dataset.root, ["B02", "VV", "elevation"], FEATURES)
    assert ([channel.name for channel in patches.channels], patches.features) == (["B02"], ["season"])


# -- the dataset's own split


def write_lists(dataset, **lists: list[str]) -> None:
    (dataset.root / "splits").mkdir(exist_ok=True)
    for split, members in lists.items():
        (dataset.root / "splits" / f"tiny_{split}.csv").write_text("\r\n".join(members) + "\r\n")


def own_split(dataset) -> list[str]:
    return dataset.patches(split={"method": "files"}).table["split"].tolist()


@pytest.mark.parametrize("val", ["val", "validation"])  # the archives' README and the dataset's repository differ
def test_the_split_is_that_of_the_datasets_own_lists(dataset, val):
    write_lists(dataset, train=dataset.ids[5:], test=dataset.ids[1:4], **{val: dataset.ids[:1]})
    assert own_split(dataset) == ["val"] + ["test"] * 3 + [""] + ["train"] * 3


def test_lists_of_both_names_must_agree(dataset):
    write_lists(dataset, train=dataset.ids[3:], val=dataset.ids[:1], validation=dataset.ids[:1], test=dataset.ids[1:3])
    assert own_split(dataset)[0] == "val"
    write_lists(dataset, validation=dataset.ids[3:4])
    with pytest.raises(InputError, match=r"tiny_val.csv and .*tiny_validation.csv list different patches; keep the"):
        own_split(dataset)


def test_all_that_is_wrong_with_the_lists_is_reported_in_one_line(dataset):
    first, second, *_ = dataset.ids
    write_lists(dataset, train=["patch_id", first], val=[first, second, second])
    with pytest.raises(InputError) as error:
        own_split(dataset)
    folder = dataset.root / "splits"
    assert str(error.value) == (
        f"split by files: {folder}/tiny_train.csv: not in the meta table: 'patch_id'; check the split file; "
        f"{folder}/tiny_val.csv: patch ids listed more than once: {first}, {second}; keep one of each; "
        "tiny has no tiny_test.csv; split with another method"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"\n\n", "lists no patches"), (b"\xff\xfea", "'utf-8' codec")],
)
def test_a_file_that_is_no_list_is_refused(dataset, text, message):
    write_lists(dataset, train=dataset.ids[3:], val=dataset.ids[:1])
    (dataset.root / "splits" / "tiny_test.csv").write_bytes(text)
    with pytest.raises(InputError, match=f"tiny_test.csv: .*{message}"):
        own_split(dataset)


def test_own_classes_are_to_be_listed_in_the_entry(tmp_path):
    data = Dataset(tmp_path / "tiny", [0, 1], classes=["oak", "fir"])
    with pytest.raises(InputError) as error:
        data.patches(["B02"])
    assert str(error.value).endswith(
        "among 'patch_id', 'oak', 'fir'; add them, or list the columns that are classes in `classes` of the dataset's "
        "entry"
    )
    assert data.patches(["B02"], classes=["oak", "fir"]).classes == ["oak", "fir"]


def test_a_coarse_band_on_the_fine_grid_is_told_its_own_resolution(tmp_path):
    data = Dataset(tmp_path / "tiny", [0, 3], bands=("B02", "B11"), patch_size=64)
    write_tile(data.tile(data.ids[0], "B11"), np.full((64, 64), 500, np.uint16))
    with pytest.raises(ValueError, match=r"^B11 is 64 x 64 pixels, not 32 x 32; write it at 20 m, its own resolution$"):
        data.read("B02", "B11", i=0, size=64)
    assert data.read("B02", "B11", i=1, size=64).numbers.shape == (2, 64, 64)

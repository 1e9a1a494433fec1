import pytest

from landcover.constants import CLASSES
from landcover.data.tables import read_tables
from landcover.errors import InputError


def test_labels_are_joined_by_patch_id_not_by_row(dataset):
    dataset.cover.reverse()
    dataset.write_tables()
    table = read_tables(dataset.root)
    assert table["patch_id"].tolist() == dataset.ids
    assert table["label"].tolist() == dataset.labels
    assert table["majority_fraction"].tolist() == [0.75] * 8


def test_of_tied_classes_the_first_is_the_label(dataset):
    dataset.cover[1]["grassland"] = 0.25
    dataset.cover[1]["cropland"] = 0.25
    dataset.write_tables()
    table = read_tables(dataset.root)
    assert table["label"][1] == CLASSES.index("grassland")
    assert table["tied"].tolist() == [False, True] + [False] * 6


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"cropland": 0.0}, "all WorldCover fractions are zero"),
        ({"tree_cover": -0.1}, "a WorldCover fraction is negative, or their sum exceeds 1"),
        ({"tree_cover": 0.75}, "a WorldCover fraction is negative, or their sum exceeds 1"),
        ({"tree_cover": "nan"}, "a WorldCover fraction is not a number"),
        ({"tree_cover": "much"}, "a WorldCover fraction is not a number"),
        ({"patch_id": "S2A_MSIL2A_20170613T101031_99_99"}, "has no row in the WorldCover table"),
    ],
)
def test_a_patch_without_a_usable_label_is_named(dataset, change, problem):
    dataset.cover[1] |= change
    dataset.write_tables()
    table = read_tables(dataset.root)
    assert table["problem"].tolist() == ["", problem] + [""] * 6
    assert table["label"][1] == -1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a CSV table"),
        ("patch_id;lon;lat\nS2A_MSIL2A_X_1_2;1;2\n", "separate columns with commas"),
        ("patch_ids,lon\n", "has no column patch_id among 'patch_ids', 'lon'"),
        ("patch_id,lon,lat\n../../etc/passwd,1,2\n", "invalid patch ids: '../../etc/passwd'"),
        ("patch_id,lon,lat\nS2A_MSIL2A_X_1_2,1,2\nS2A_MSIL2A_X_1_2,1,2\n", "duplicate patch ids: S2A_MSIL2A_X_1_2"),
    ],
)
def test_a_broken_table_is_refused(dataset, text, message):
    (dataset.root / "tiny_meta.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_tables(dataset.root)


def test_a_byte_order_mark_and_windows_line_ends_are_read(dataset):
    path = dataset.root / "tiny_meta.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").replace(b"\r\r", b"\r"))
    assert read_tables(dataset.root)["patch_id"].tolist() == dataset.ids


@pytest.mark.parametrize(("old", "new"), [("lat", " lat"), ("lat", "Lat"), ("lat", "latitude"), ("lon", "x")])
def test_half_a_place_or_a_name_gone_wrong_is_refused(dataset, old, new):
    """A table that has neither lon nor lat tells no places; one that has either under another name must."""
    path = dataset.root / "tiny_meta.csv"
    header, rest = path.read_text().split("\n", 1)
    path.write_text(f"{header.replace(old, new)}\n{rest}")
    with pytest.raises(InputError, match=f"has no column {old} among "):
        read_tables(dataset.root)

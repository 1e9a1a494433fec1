import numpy as np
import pandas as pd
import pytest
from tiny import write_table

from landcover import modalities
from landcover.data import context
from landcover.data.tables import read_tables
from landcover.errors import InputError

FEATURES = modalities.context_features(modalities.MODALITIES)
CHANNELS = ["B02", "VV", "VH"]


@pytest.fixture
def joined(dataset):
    dataset.add_modalities()

    def join() -> pd.DataFrame:
        return context.join(read_tables(dataset.root), dataset.root, CHANNELS, FEATURES)

    return join


def test_everything_is_joined_by_patch_id_whatever_the_order_of_the_rows(dataset, joined):
    dataset.weather[3]["temperature_s2"] = 300
    write_table(dataset.root / "tiny_era-5.csv", dataset.weather[::-1])
    table = joined()
    assert (table["problem"] == "").all()
    assert table["patch_id_s1"].tolist() == [row["patch_id_s1"] for row in dataset.meta]
    assert table["days_apart"].tolist() == [2] * 8
    assert table["temperature"].tolist() == [260, 260, 260, 300, 260, 260, 260, 260]
    assert table["wind_v"].tolist() == [-12] * 8


def test_features_are_scaled_and_zone_0_is_no_zone(joined):
    found = context.scaled(joined(), FEATURES)
    assert (found.shape, found.dtype) == ((8, 36), np.float32)
    # Patch i has the zone i.
    assert (found[:, :30] == np.eye(31)[:8, 1:]).all()
    assert found[0, 30:] == pytest.approx([0.25, 0.5, 0.5, 0.5, 108 / 240, 700 / 800])


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("patch_id_s1", "../../etc", "its patch_id_s1 in the meta table is not a patch id"),
        ("patch_id_s1", "", "its patch_id_s1 in the meta table is not a patch id"),
        ("climatezone", 31, "its climatezone in the meta table is not one of 0 to 30"),
        ("climatezone", "", "its climatezone in the meta table is not one of 0 to 30"),
        ("season_s2", 1.5, "its season_s2 in the meta table is not from 0 to 1"),
        ("season_s2", "nan", "its season_s2 in the meta table is not from 0 to 1"),
    ],
)
def test_a_bad_cell_of_the_meta_table_is_a_problem_of_its_patch(dataset, joined, column, value, told):
    dataset.meta[5][column] = value
    dataset.write_tables()
    assert joined()["problem"].tolist() == [""] * 5 + [told] + [""] * 2


def test_a_bad_cell_or_a_missing_row_of_the_weather_table_is_a_problem_of_its_patch(dataset, joined):
    dataset.weather[2]["temperature_s2"] = 15  # degrees Celsius
    write_table(dataset.root / "tiny_era-5.csv", dataset.weather[:-1])
    told = "its temperature_s2 in the weather table is not 180 to 340 K"
    assert joined()["problem"].tolist() == ["", "", told, "", "", "", "", told]


def test_a_table_that_is_missing_or_lacks_a_column_is_refused(dataset, joined):
    (dataset.root / "tiny_era-5.csv").unlink()
    with pytest.raises(InputError, match=r"tiny_era-5\.csv: not found"):
        joined()
    for row in dataset.meta:
        del row["season_s2"]
    dataset.write_tables()
    with pytest.raises(InputError, match="has no column season_s2"):
        joined()


def test_tables_that_are_not_asked_for_need_not_exist(dataset):
    table = read_tables(dataset.root)
    pd.testing.assert_frame_equal(context.join(table, dataset.root, ["B02", "elevation"], []), table)

import pandas as pd
import pytest
from tiny import Dataset, entry, write_picture

from landcover.data.layout import LAYOUTS, find_layout, read_dataset
from landcover.errors import InputError


def test_layouts_of_the_schema_have_their_functions():
    for name in LAYOUTS:
        layout = find_layout(name)
        assert all(callable(part) for part in (layout.needed, layout.matches, layout.read_patches))


def read(folder, **facts):
    return read_dataset(folder, entry(**facts), ["sentinel-2"], ["B02"])


def test_the_layout_is_told_from_the_folder_unless_the_entry_states_it(tmp_path):
    for i in range(4):
        write_picture(tmp_path / "many" / "ab"[i % 2] / f"{i}.png", 5 * i, mode="L")
    assert read(tmp_path / "many", bands=["B02"]).classes == ["a", "b"]
    rows = {"path": [f"{'ab'[i % 2]}/{i}.png" for i in range(4)], "class": ["lake", "crop"] * 2}
    pd.DataFrame(rows).to_csv(tmp_path / "many" / "table.csv")
    assert read(tmp_path / "many", bands=["B02"]).classes == ["crop", "lake"]
    assert read(tmp_path / "many", bands=["B02"], layout="folders").classes == ["a", "b"]
    Dataset(tmp_path / "benge" / "tiny", [0, 3])
    assert read(tmp_path / "benge").classes[3] == "cropland"


def test_a_folder_in_no_layout_is_told_with_what_it_contains(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"contains notes.txt, in no known layout: neither <name>_meta.csv, nor a "):
        read(tmp_path)


def test_a_colour_of_an_unknown_class_is_refused(tmp_path):
    for i in range(4):
        write_picture(tmp_path / ("fir", "oak")[i % 2] / f"{i}.png", 5 * i, mode="L")
    assert read(tmp_path, bands=["B02"], colours={"oak": "#1b7837"}).classes == ["fir", "oak"]
    with pytest.raises(InputError, match=r"^colours of the dataset's entry: no class oaks; choose from fir, oak$"):
        read(tmp_path, bands=["B02"], colours={"oaks": "#1b7837"})

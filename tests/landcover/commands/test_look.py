import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny import Dataset, merged, write_tile

from landcover.commands.look import main
from landcover.errors import InputError

URL = "https://example.org/tiny.zip"
ORDER = {"method": "order", "train": 4, "val": 2, "test": 2}


@pytest.fixture
def workspace(tmp_path, default_params, monkeypatch):
    """A folder with params.yaml, whose dataset `mine` is the folder tiny: eight patches, each of one number."""
    monkeypatch.chdir(tmp_path)
    changes = {"dataset": "mine", "bands": ["B02", "B08"], "runtime": {"workers": 1}}
    changes["datasets"] = {"mine": {"source": "tiny", "layout": "ben-ge", "split": ORDER}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(merged(default_params, changes)))
    return tmp_path


def run(capsys, *options: str) -> list[str]:
    main([*options])
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def change(workspace, **entry) -> None:
    """Change the entry of the dataset."""
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    params["datasets"]["mine"] |= entry
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))


def row(lines: list[str], name: str) -> list[str]:
    (cells,) = [line.split() for line in lines if line.startswith(f"{name} ")]
    return cells[1:]


def write_folders(folder) -> None:
    """A folder a class, of three 8-bit pictures each."""
    for number, name in enumerate(("lake", "wood")):
        for i in range(3):
            path = folder / name / f"{name}_{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = np.uint8([51, 102, 51 * (number + 1)])
            Image.fromarray(np.broadcast_to(colour, (32, 32, 3)).copy()).save(path)


def test_an_entry_is_shown_as_it_was_understood(workspace, capsys):
    Dataset(workspace / "tiny", [0, 3] * 4)
    lines = run(capsys)
    assert lines[:6] == [
        "mine: tiny",
        "layout     ben-ge",
        "patches    8 of 120 x 120 pixels of 10 m",
        "positions  all patches, lon 10.0000 to 13.0168, lat 50.0000 to 50.0000",
        "dates      4, 2017-06-10 to 2017-06-13",
        "left out   none",
    ]
    assert row(lines, "class") == ["patches", "train", "val", "test"]
    assert row(lines, "tree_cover") == row(lines, "cropland") == ["4", "2", "1", "1"]
    assert row(lines, "all") == ["8", "4", "2", "2"]
    # The numbers are 100 to 800, each in an eighth of the pixels.
    assert " ".join(row(lines, "B02")) == "0.010 0.045 0.080 reflectance, uint16 x 0.0001"
    assert row(lines, "B08") == row(lines, "B02")
    assert lines[-1] == "look.png: 6 of the patches"
    with Image.open(workspace / "look.png") as picture:
        assert picture.width == 760


def test_what_is_left_out_is_told_with_the_reason(workspace, capsys):
    data = Dataset(workspace / "tiny", [0, 3] * 4)
    write_tile(data.tile(data.ids[0], "B02"), np.full((60, 60), 1, np.uint16))
    (workspace / "data" / "lists").mkdir(parents=True)
    (workspace / "data" / "lists" / "clouds.csv").write_text(f"{data.ids[1]}\n")
    change(workspace, exclude=["clouds.csv"], split=ORDER | {"test": 1})
    lines = run(capsys)
    assert "left out   1 excluded by a list, 1 in no split, 1 bad" in lines
    assert f"bad        {data.ids[0]}: B02 is 60 x 60 pixels, not 120 x 120" in lines
    assert "Valid pixels of 6 patches" in lines


def test_a_split_that_cannot_be_made_is_a_warning(workspace, capsys):
    Dataset(workspace / "tiny", [0, 3] * 4)
    change(workspace, split=ORDER | {"train": 400})
    lines = run(capsys)
    assert [line for line in lines if line.startswith("warning    split by order: 400 + 2 + 2 = 404 patches requested")]
    assert row(lines, "all") == ["8"]


def test_a_doubtful_split_is_a_warning(workspace, capsys):
    Dataset(workspace / "tiny", [0] * 6 + [3] * 2)
    lines = run(capsys)
    assert row(lines, "cropland") == ["2", "0", "0", "2"]
    assert [line for line in lines if line.startswith("warning    2 of 2 test patches have classes without a train")]


def test_a_source_without_an_entry_is_shown_too(workspace, capsys):
    write_folders(workspace / "photos")
    lines = run(capsys, "--source", "photos", "--bands", "B04,B03,B02", "--out", "photos.png")
    assert lines[:4] == [
        "photos: photos",
        "layout     folders",
        "patches    6 of 32 x 32 pixels of 10 m",
        "positions  unknown, so the patches cannot be split by place",
    ]
    assert (row(lines, "lake"), row(lines, "wood"), row(lines, "all")) == (["3"], ["3"], ["6"])
    assert row(lines, "B03")[:3] == ["0.400"] * 3
    assert row(lines, "B02")[:3] == ["0.200", "0.300", "0.400"]
    assert (workspace / "photos.png").is_file()


def test_a_local_archive_is_read_as_its_folder(workspace, capsys):
    write_folders(workspace / "photos")
    shutil.make_archive("photos", "zip", workspace, "photos")
    folder, zipped = (run(capsys, "--source", name, "--bands", "B04,B03,B02") for name in ("photos", "photos.zip"))
    assert zipped[1:] == folder[1:]


def test_what_cannot_be_looked_at_ends_in_one_line(workspace, capsys):
    with pytest.raises(InputError, match="tiny: not found; give a folder, or a"):
        run(capsys)
    change(workspace, source=URL)
    with pytest.raises(InputError, match=rf"^{URL}: is not unpacked; first run: dvc repro unpack$"):
        run(capsys)
    with pytest.raises(InputError, match=r"dataset = 'yours': no such entry in datasets; choose from .*mine"):
        run(capsys, "yours")
    with pytest.raises(InputError, match="name a source or an entry, not both"):
        run(capsys, "mine", "--source", "tiny")
    with pytest.raises(InputError, match="--layout and --bands: need --source"):
        run(capsys, "--layout", "folders")


def test_data_patches_are_shown_if_they_are_of_the_source(workspace, capsys):
    Dataset(workspace / "data" / "patches" / "tiny", [0, 3] * 4)
    change(workspace, source=URL)
    stage = {"params": {"params.yaml": {"datasets.mine.source": URL}}, "outs": [{"md5": "0"}]}
    (workspace / "dvc.lock").write_text(yaml.safe_dump({"stages": {"download": stage}}))
    assert row(run(capsys), "all") == ["8", "4", "2", "2"]

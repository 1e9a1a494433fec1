import argparse
import re

import geopandas as gpd
import pandas as pd
import pytest
import rasterio
import yaml
from scene_files import LEFT, TOP, land, write
from shapely.geometry import Point

from landcover.commands.cut import bands, main
from landcover.errors import InputError

BANDS = ["B02", "B08"]
NUMBERS = land(300, 2)[:, :200]  # 200 rows, 300 columns


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder with scene.tif, with the bands B02 and B08."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "scene.tif", NUMBERS, tuple(BANDS), nodata=0)
    (tmp_path / "params.yaml").touch()
    return tmp_path


def points(*places: tuple[float, float, str], swap: bool = False) -> None:
    """Write points.csv: places by column and row of the scene, in twenties."""
    frame = gpd.GeoSeries([Point(LEFT + 200 * x, TOP - 200 * y) for x, y, _ in places], crs=32633).to_crs(4326)
    table = pd.DataFrame({"lon": frame.x, "lat": frame.y, "class": [name for *_, name in places]})
    table.rename(columns={"lon": "lat", "lat": "lon"} if swap else {}).to_csv("points.csv", index=False)


def run(capsys, *options: str) -> tuple[list[str], list[str]]:
    main(["scene.tif", "points.csv", "--out", "mine", "--size", "20", "--bands", "B02,B08", *options])
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def test_points_become_a_dataset_and_its_entry(workspace, capsys):
    points(*((i + 0.51, 1.01, "wood") for i in range(5)), *((i + 0.51, 5.01, "lake") for i in range(3)))
    lines, warnings = run(capsys)
    assert lines[0] == "mine: 8 patches of 20 x 20 pixels: wood 5, lake 3"
    assert lines[1] == "To train on them, add to `datasets` in params.yaml:"
    assert lines[-1] == "then: dvc exp run -S dataset=mine"
    assert yaml.safe_load("\n".join(lines[2:-1])) == {
        "mine": {
            "source": "mine",
            "layout": "table",
            "split": {"method": "random", "val": 0.15, "test": 0.15, "seed": 42},
            "patch_size": 20,
            "bands": BANDS,
        }
    }
    assert warnings == []
    assert len(list((workspace / "mine" / "tiles").iterdir())) == 8


def test_what_may_be_wrong_with_the_points_is_told_once(workspace, capsys):
    wood = [(i + 0.51, 1.01, "wood") for i in range(4)]
    points(*wood, (12.01, 5.01, "wood"), (12.51, 5.51, "lake"), (14.9, 7, "lake"))
    lines, warnings = run(capsys)
    assert warnings == [
        "warning: points.csv: left out 1 of 7 patches: p7: its window of 20 x 20 pixels extends beyond scene.tif",
        "warning: classes with fewer than 3 patches, too few for a split: lake 1; add some, or remove them",
        "warning: 2 patches overlap one of another class, such as p5 (wood) and p6 (lake); move one, or choose a "
        "smaller --size",
        "warning: 2 of 6 patches overlap another, so a random split would test on ground that was trained on; split by "
        "place, as below, or choose a smaller --size",
    ]
    split = yaml.safe_load("\n".join(lines[2:-1]))["mine"]["split"]
    assert split == {"method": "place", "block_km": 1, "buffer_km": 0.3, "val": 0.15, "test": 0.15, "seed": 42}


def test_points_outside_end_in_one_line(workspace, capsys):
    points((25, 5, "a"), (28, 5, "b"))
    with pytest.raises(InputError) as raised:
        run(capsys)
    assert str(raised.value) == (
        "points.csv: none of 2 patches can be cut: p1, p2: its window of 20 x 20 pixels extends beyond scene.tif; "
        "correct it, or name the scene that shows them"
    )
    points((5, 2, "a"), (8, 5, "b"), swap=True)
    with pytest.raises(
        InputError, match=r"extends beyond scene\.tif; their x and y seem to be swapped: exchange them$"
    ):
        run(capsys)
    assert not (workspace / "mine").exists()


def test_a_scene_without_names_takes_positions(workspace, capsys):
    write(workspace / "scene.tif", NUMBERS[::-1], ("", ""), nodata=0)
    points((2, 2, "a"), (4, 4, "b"))
    run(capsys, "--bands", "B02=2,B08=1")
    with rasterio.open("mine/tiles/p1.tif") as tile:
        assert (tile.read() == NUMBERS[:, 30:50, 30:50]).all()
        assert tile.descriptions == tuple(BANDS)


def test_only_a_dataset_of_its_own_is_replaced(workspace, capsys):
    points((2, 2, "a"), (4, 4, "b"))
    run(capsys)
    points((2, 2, "a"))
    lines, _ = run(capsys)
    assert lines[0] == "mine: 1 patches of 20 x 20 pixels: a 1"
    assert lines[-1] == (
        "then: dvc exp run -S dataset=mine --force (forced, since DVC does not look whether mine has changed)"
    )
    (workspace / "mine" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"--out mine: holds notes\.txt, which cut did not write; name another folder"):
        run(capsys)


def test_a_size_must_be_of_a_patch(workspace, capsys):
    with pytest.raises(InputError, match="--size 16: choose from 17 to 2048 pixels"):
        run(capsys, "--size", "16")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("B2", "unknown band 'B2'; choose from B01"),
        ("1,b4", "name each band before its position, as B02=1,B03=2"),
        ("B02,B02", "name each band once"),
        ("B02=1,B03", "as B02=1,B03=2"),
    ],
)
def test_bands_are_checked(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(message)):
        bands(text)

import tarfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from landcover.archives import archive
from landcover.config import Unpacking
from landcover.data import bundles
from landcover.data.patches import read_patch
from landcover.data.tiles import Tiles
from landcover.errors import InputError
from stages.unpack import unpack

BANDS = ["B08", "B02"]
BOUNDS = {"max_members": 100, "max_gigabytes": 0.1}
OPTIONS = {"inputs": ["sentinel-2"], "bands": BANDS, "unpack": Unpacking(layout="bundles", **BOUNDS)}


@pytest.fixture
def pack(dataset, tmp_path):
    """Write the dataset to an archive."""

    def write() -> Path:
        folder = dataset.root.parent
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        archive.write(tmp_path / "a.tar.gz", [(str(p.relative_to(folder)), p.read_bytes()) for p in files])
        return tmp_path / "a.tar.gz"

    return write


@pytest.fixture
def packed(pack, monkeypatch):
    """The eight patches of two bands in an archive; unpacked, five tiles make a bundle."""
    monkeypatch.setattr(bundles, "TILES_PER_BUNDLE", 5)
    return pack()


def test_bundles_hold_the_tiles_and_few_files(dataset, packed, tmp_path):
    unpack(packed, tmp_path / "out", **OPTIONS)
    root = tmp_path / "out" / "tiny"
    assert sorted(p.name for p in root.iterdir()) == [
        *(f"sentinel-2-0000{i}.tar" for i in range(4)),
        "sentinel-2.csv", "tiny_esaworldcover.csv", "tiny_meta.csv",
    ]  # fmt: skip
    tiles = Tiles.find(root)
    for patch_id in dataset.ids:
        found, expected = (read_patch(source, patch_id, BANDS) for source in (tiles, Tiles.find(dataset.root)))
        assert (found.numbers == expected.numbers).all()
    assert tiles.read(dataset.ids[0], "B03") is None
    few = tiles.select([(patch_id, "B02") for patch_id in dataset.ids[2:4]])
    assert len(few.bundled) == 2
    assert few.read(dataset.ids[2], "B02") == dataset.tile(dataset.ids[2], "B02").read_bytes()
    assert few.read(dataset.ids[0], "B02") is None
    assert few.identity([(dataset.ids[2], "B02")]) != few.identity([(dataset.ids[3], "B02")])


def test_gdal_and_tar_read_bundles_too(dataset, packed, tmp_path):
    unpack(packed, tmp_path / "out", **OPTIONS)
    bundle = tmp_path / "out/tiny/sentinel-2-00000.tar"
    with tarfile.open(bundle) as tar:
        names = tar.getnames()
    assert len(names) == 5
    with rasterio.open(f"/vsitar/{bundle}/{names[0]}") as tile:
        assert (tile.read(1) == 100).all()


@pytest.mark.parametrize("inputs", [["sentinel-2"], ["sentinel-2", "sentinel-1", "elevation"]])
def test_bundles_are_the_same_bytes_each_time_and_go_through_the_pipeline(dataset, pack, tmp_path, in_turn, inputs):
    dataset.add_modalities()
    pack()
    split = {"method": "order", "train": 4, "val": 2, "test": 2}
    params = {"dataset": "tiny", "datasets": {"tiny": {"source": "x", "split": split}}, "bands": BANDS}
    params["inputs"] = inputs
    made = {}
    for layout in ("files", "bundles", "bundles"):
        params["unpack"] = {"layout": layout}
        commands = ("stages unpack a.tar.gz out", "stages preprocess out tensors data.json")
        done = in_turn(*commands, params=params)
        assert (done.returncode, done.stderr) == (0, "")
        content = [p.read_bytes() for p in sorted((tmp_path / "out").rglob("*")) if p.is_file()]
        assert made.setdefault(layout, content) == content
        tensors = [p.read_bytes() for p in sorted((tmp_path / "tensors").iterdir())]
        assert made.setdefault("tensors", tensors) == tensors


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("b/sentinel-2/P/P_B02.tif", b"x")], "has tiles from tiny and b"),
        (
            [("tiny/sentinel-2/P/P_B02.tif", bytes(bundles.MAX_TILE_BYTES + 1))],
            "P_B02.tif has more than 16777216 bytes",
        ),
    ],
    ids=["two roots", "too large"],
)
def test_what_is_no_tile_of_the_dataset_is_refused(tmp_path, members, message):
    tile = ("tiny/sentinel-2/Q/Q_B02.tif", b"x")
    archive.write(tmp_path / "a.tar.gz", [("tiny/tiny_meta.csv", b""), tile, *members])
    with pytest.raises(InputError, match=message):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()


def test_a_tile_of_a_long_name_is_found_again(tmp_path):
    patch_id = "S2A_MSIL2A_20170613T101031_" + "N" * 80 + "_26_57"
    name = f"tiny/sentinel-2/{patch_id}/{patch_id}_B02.tif"
    content = np.random.default_rng(0).bytes(700)
    with bundles.Bundles(tmp_path) as writer:
        for path in (name.replace("_57", "_58"), name):
            writer.write(bundles.PurePosixPath(path), [content[:300], content[300:]])
    assert Tiles.find(tmp_path / "tiny").read(patch_id, "B02") == content

"""EuroSAT as it is built in, from Zenodo's record to tensors: tiny archives of its layout, served on loopback."""

import hashlib
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.io import MemoryFile
from server import File, Reply, Server
from tiny import LOCAL, REPOSITORY

from landcover import config
from landcover.archives import source
from landcover.commands import positions
from landcover.data import tensors
from landcover.data.index import load_index
from landcover.errors import InputError
from stages import download
from stages.preprocess import preprocess
from stages.unpack import unpack

RECORD = re.compile(r"https://zenodo\.org/records/7711810/files/(EuroSAT_(?:RGB|MS)\.zip)")
ORDER = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"]
PER_CLASS = 12
PLACES = 6  # 100 km apart, so that each is a block of its own
TILES = [(name, number) for name in ("Forest", "River") for number in range(1, PER_CLASS + 1)]


def write_archives(folder: Path) -> None:
    """Write EuroSAT_RGB.zip and EuroSAT_MS.zip.

    Each band of a tile is constant: of tile n, (20 n, 10 n, 5 n) in RGB; band i, from 0, is 1000 + 100 i + n in MS.
    """
    with zipfile.ZipFile(folder / "EuroSAT_RGB.zip", "w") as rgb, zipfile.ZipFile(folder / "EuroSAT_MS.zip", "w") as ms:
        for name, n in TILES:
            with rgb.open(f"EuroSAT_RGB/{name}/{name}_{n}.jpg", "w") as file:
                Image.new("RGB", (64, 64), (20 * n, 10 * n, 5 * n)).save(file, "JPEG", quality=100, subsampling=0)
            west, north = 500_000 + n % PLACES * 100_000, 5_000_000 + n // PLACES * 1000
            profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 13, "dtype": "uint16"}
            profile |= {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(west, north, 10, 10)}
            pixels = np.broadcast_to(np.arange(1000, 2300, 100, np.uint16)[:, None, None] + n, (13, 64, 64))
            with MemoryFile() as memory:
                with memory.open(**profile) as tile:
                    tile.write(pixels.astype(np.uint16))
                ms.writestr(f"EuroSAT_MS/{name}/{name}_{n}.tif", memory.read())


@pytest.fixture
def zenodo(tmp_path, monkeypatch):
    """A server in place of Zenodo, and both archives in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "copy_from_cache", lambda *_: False)
    monkeypatch.setattr(source, "copy_from_cache", lambda *_: False)
    write_archives(tmp_path)
    with Server() as server:
        pattern = source.RECORD.pattern.replace("https://(?:sandbox\\.)?zenodo\\.org", re.escape(server.origin))
        monkeypatch.setattr(source, "RECORD", re.compile(pattern))
        yield server


def publish(server: Server, name: str, md5: str | None = None) -> str:
    """Serve an archive and the record that lists it; returns its URL."""
    body = Path(name).read_bytes()
    listed = {"key": name, "size": len(body), "checksum": f"md5:{md5 or hashlib.md5(body).hexdigest()}"}
    server.on("/api/records/7711810", Reply(200, json.dumps({"files": [listed]}).encode()))
    return server.on(f"/records/7711810/files/{name}", File(body))


def entry(server: Server, name: str, default_params: dict, md5: str | None = None) -> dict[str, config.Dataset]:
    """The entry of this name in params.yaml, whose source is the server's."""
    raw = default_params["datasets"][name]
    url = publish(server, RECORD.fullmatch(raw["source"])[1], md5)
    return {name: config.Dataset.model_validate(raw | {"source": url})}


def prepare(name: str, datasets: dict[str, config.Dataset], default_params: dict) -> dict:
    """Run the stages up to the tensors, and give the data contract."""
    params = config.check(default_params)
    chosen = {"dataset": name, "datasets": datasets}
    layers = {"inputs": params.inputs, "bands": params.bands}
    download.download(Path("data/archive"), **chosen)
    unpack(Path("data/archive"), Path("data/patches"), **chosen, **layers, unpack=params.unpack)
    preprocess(
        Path("data/patches"), Path("data/tensors"), Path("data/shares.safetensors"), Path("reports/data.json"),
        **chosen, **layers, preprocess=params.preprocess, runtime=LOCAL,
    )  # fmt: skip
    return json.loads(Path("reports/data.json").read_text())


def test_rgb_tiles_become_tensors_of_reflectance(zenodo, default_params):
    contract = prepare("eurosat-rgb", entry(zenodo, "eurosat-rgb", default_params), default_params)
    assert contract["patches"] == {"train": 16, "val": 4, "test": 4}
    train = tensors.load_split(Path("data/tensors"), "train")
    assert (train.bands, train.classes) == (["B04", "B03", "B02"], ["Forest", "River"])
    numbers = [int(patch_id.rpartition("_")[2]) for patch_id in load_index(Path("data/tensors"), "train").patch_ids]
    expected = np.outer(numbers, [20, 10, 5]) * 0.275 / 255
    assert train.images.shape == (16, 3, 64, 64)
    assert (
        np.abs(train.images.mean((2, 3)) - expected).max() < 1.5 * 0.275 / 255
    )  # JPEG changes values by a level at most


def test_rgb_tiles_are_split_by_the_place_of_the_multispectral_ones(zenodo, default_params):
    name = "eurosat-rgb-by-place"
    datasets = entry(zenodo, name, default_params)
    with pytest.raises(InputError, match=r"data/lists/eurosat.csv: no such .*landcover positions"):
        prepare(name, datasets, default_params)
    positions.main(["EuroSAT_MS.zip", "data/lists/eurosat.csv"])
    contract = prepare(name, datasets, default_params)
    assert contract["leakage"]["test"]["within_6_km"]["patches"] == 0
    places = {split: {int(i.rpartition("_")[2]) % PLACES for i in load_index(Path("data/tensors"), split).patch_ids}
              for split in ("train", "val", "test")}  # fmt: skip
    assert sorted(place for split in places.values() for place in split) == [*range(PLACES)]


def test_bands_of_multispectral_tiles_are_in_the_order_of_the_files(zenodo, default_params):
    contract = prepare("eurosat-ms", entry(zenodo, "eurosat-ms", default_params), default_params)
    assert (contract["level"], sum(contract["patches"].values())) == ("1C", 24)
    assert tensors.load_origin(Path("data/tensors")).level == "1C"
    train = tensors.load_split(Path("data/tensors"), "train")
    assert train.bands == ORDER
    index = load_index(Path("data/tensors"), "train")
    n = int(index.patch_ids[0].rpartition("_")[2])
    assert train.images[0, :, 0, 0].tolist() == pytest.approx([(1000 + 100 * i + n) / 10_000 for i in range(13)])
    assert 45 < index.lat[0] < 46


def test_an_archive_that_differs_from_the_record_is_refused(zenodo, default_params):
    datasets = entry(zenodo, "eurosat-rgb", default_params, md5="0" * 32)
    with pytest.raises(InputError, match=r"its md5 is \w{32}, not 0{32}"):
        download.download(Path("data/archive"), dataset="eurosat-rgb", datasets=datasets)


def test_a_local_file_works_with_the_same_entry(zenodo, default_params):
    raw = default_params["datasets"]["eurosat-rgb"]
    datasets = {"eurosat-rgb": config.Dataset.model_validate(raw | {"source": "EuroSAT_RGB.zip"})}
    assert prepare("eurosat-rgb", datasets, default_params)["patches"]["train"] == 16
    assert zenodo.seen == []


REAL = REPOSITORY.parent / "shared" / "data" / "eurosat"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs {REAL}")
def test_real_multispectral_tiles(zenodo, default_params):
    raw = default_params["datasets"]["eurosat-ms"] | {"source": str(REAL / "EuroSAT_MS.zip")}
    contract = prepare("eurosat-ms", {"eurosat-ms": config.Dataset.model_validate(raw)}, default_params)
    assert sum(contract["patches"].values()) + sum(contract["split"]["left_out_by_buffer"].values()) == 287
    assert len(contract["classes"]) == 10

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from tiny import REPOSITORY, write_tile

from landcover.commands import positions
from landcover.errors import InputError

REAL = REPOSITORY.parent / "shared" / "data" / "eurosat"
ZONE_31, ZONE_33 = "EPSG:32631", "EPSG:32633"  # of UTM, whose central meridians are at 3 and 15 degrees east
OUT = Path("positions.csv")


def write(name: str, **profile) -> None:
    """A tile of 64 x 64 pixels, whose centre lies on the central meridian and the equator."""
    transform = rasterio.transform.from_origin(500_000 - 320, 320, 10, 10)
    profile = {"crs": ZONE_33, "transform": transform} | profile
    write_tile(Path("MS", name), np.ones((2, 64, 64), np.uint16), **profile)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(source: str) -> str:
    with pytest.raises(InputError) as error:
        positions.main([source, str(OUT)])
    assert not OUT.exists()
    return str(error.value)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "gztar"])
def test_positions_are_the_centres_of_tiles_in_degrees(kind, capsys):
    write("River/River_1.tif", crs=ZONE_31)
    write("Forest/Forest_2.tif")
    write("Forest/Forest_10.TIF", transform=rasterio.transform.from_origin(500_000 - 640, 640, 20, 20))
    Path("MS", "Forest", "legend.png").write_bytes(b"no tile")
    Path("MS", "Forest", "._Forest_2.tif").write_bytes(b"what macOS adds")
    source = "MS" if kind == "folder" else shutil.make_archive("MS", kind, ".", "MS")
    positions.main([source, str(OUT)])
    assert OUT.read_text() == (
        "tile,lon,lat\n"
        "Forest_10,15.0000000,0.0000000\n"
        "Forest_2,15.0000000,0.0000000\n"
        "River_1,3.0000000,0.0000000\n"
    )  # fmt: skip
    assert capsys.readouterr().out == "positions.csv: the positions of 3 tiles\n"


def test_tiles_of_one_name_are_told_apart_by_their_folders():
    write("Forest/1.tif")
    write("River/1.tif", crs=ZONE_31)
    positions.main(["MS", str(OUT)])
    assert pd.read_csv(OUT)["tile"].tolist() == ["Forest/1", "River/1"]
    write("River/1.tiff")
    OUT.unlink()
    assert refused("MS") == "MS: 1 GeoTIFFs have another's name, such as River/1; rename them"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # of writing them
def test_tiles_without_a_position_are_counted():
    write("Forest/Forest_1.tif")
    for number in (2, 3):
        write(f"Forest/Forest_{number}.tif", crs=None, transform=None)
    Path("MS/Forest/Forest_4.tif").write_bytes(b"II*\0 cut off")
    assert refused("MS") == (
        "MS: 2 GeoTIFFs have no georeference, such as Forest/Forest_2.tif; 1 GeoTIFFs cannot be read, such as "
        "Forest/Forest_4.tif; get them again, or leave them out"
    )


def test_source_without_geotiffs_is_refused():
    Path("RGB").mkdir()
    Path("RGB/Forest_1.jpg").write_bytes(b"\xff\xd8")
    assert refused("RGB").startswith("RGB: contains no GeoTIFF (.tif or .tiff); ")
    assert refused("elsewhere").startswith("elsewhere: no such file or folder; ")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs {REAL}")
def test_real_tiles_lie_where_they_are_known_to():
    positions.main([str(REAL / "EuroSAT_MS.zip"), str(OUT)])
    ours, known = (pd.read_csv(path, index_col="tile") for path in (OUT, REAL / "positions.csv"))
    assert len(ours) == 287
    assert np.abs(ours - known.loc[ours.index]).to_numpy().max() <= 1e-6

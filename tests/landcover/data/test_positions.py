from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rasterio import Affine
from rasterio.transform import from_origin
from rasterio.warp import transform
from tiny import write_tile

from landcover.data import positions
from landcover.data.layout import Patches
from landcover.data.raster import Channel
from landcover.errors import InputError

PIXELS = np.full((20, 20), 5, np.uint16)


def patches(root: Path, ids: list[str], lon=np.nan, lat=np.nan) -> Patches:
    files = [f"{one}.tif" for one in ids]
    table = pd.DataFrame({"patch_id": ids, "problem": "", "lon": lon, "lat": lat, "B02": files})
    return Patches("x", root, [Channel("B02", "uint16", None)], [], table, ["a", "b"], 20)


def locate(found: Patches, path: Path | None = None) -> list[str]:
    with ThreadPoolExecutor(1) as pool:
        return positions.locate(found, path, pool)


def test_the_centre_of_each_file_in_its_own_coordinate_system(tmp_path):
    write_tile(tmp_path / "a.tif", PIXELS)  # from 500,000 E, 5,000,000 N of UTM 33N
    write_tile(tmp_path / "b.tif", PIXELS, crs="EPSG:4326", transform=from_origin(7, 51, 0.1, 0.1))
    found = patches(tmp_path, ["a", "b"])
    assert locate(found) == []
    lon, lat = transform("EPSG:32633", "EPSG:4326", [500_100], [4_999_900])
    assert found.table["lon"].tolist() == pytest.approx([lon[0], 8], abs=1e-9)
    assert found.table["lat"].tolist() == pytest.approx([lat[0], 50], abs=1e-9)


def test_without_any_georeference_positions_are_unknown_and_without_some_these_are_bad(tmp_path):
    nowhere = {"crs": None, "transform": Affine.identity()}
    write_tile(tmp_path / "a.tif", PIXELS, **nowhere)
    (tmp_path / "b.tif").write_bytes(b"damaged")
    found = patches(tmp_path, ["a", "b", "c"])
    assert locate(found) == []
    assert found.table[["lon", "lat"]].isna().all(axis=None)
    assert set(found.table["problem"]) == {""}
    write_tile(tmp_path / "c.tif", PIXELS)
    assert locate(found) == []
    assert found.table["problem"].tolist() == [
        "has no georeference, but others have one; add it, or state positions in the entry",
        "its file is missing, or not a readable GeoTIFF",
        "",
    ]


def test_one_georeference_for_all_is_a_placeholder(tmp_path):
    for name in "ab":
        write_tile(tmp_path / f"{name}.tif", PIXELS)
    found = patches(tmp_path, ["a", "b"])
    assert locate(found) == ["all 2 files have the same georeference, so it is unknown where the patches lie"]
    assert found.table["lon"].isna().all()


# -- tables


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "positions.csv"
    path.write_text(text)
    return path


def test_a_table_names_patches_by_their_ids_or_by_what_follows_the_last_slash(tmp_path):
    found = patches(tmp_path, ["x/a", "x/b", "y/b", "y/c"])
    path = write(tmp_path, "tile,lon,lat\na,1,50\nx/b,2,50\ny/b,3,50\nb,9,9\nelsewhere,4,50\n")
    assert locate(found, path) == []
    assert found.table["lon"].tolist()[:3] == [1, 2, 3]
    assert found.table["problem"].tolist() == ["", "", "", f"has no row in {path}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tile,lon,lat\nz,1,50\n", "has positions of none of 2 patches: it lists z, but the patches are like x/a"),
        ("tile,lon,lat\na,1,50\na,1,51\n", "1 rows repeat a tile, for example a; keep one"),
        ("tile,lon\na,1\n", "has no column lat"),
        ("tile,lon,lat\na,50,101\nb,51,102\n", "lat is beyond 90 degrees in 2 of 2 rows, for example 101 of x/a; exch"),
    ],
)
def test_a_table_of_other_patches_or_of_exchanged_columns_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        locate(patches(tmp_path, ["x/a", "x/b"]), write(tmp_path, text))


def test_a_missing_table_is_told_with_the_command_that_writes_it(tmp_path):
    with pytest.raises(InputError, match=r"no such table of positions; write one with `python -m landcover positions"):
        locate(patches(tmp_path, ["a"]), tmp_path / "eurosat.csv")


def test_the_georeference_tells_that_lon_and_lat_are_exchanged(tmp_path):
    write_tile(tmp_path / "a.tif", PIXELS)
    (lon,), (lat,) = transform("EPSG:32633", "EPSG:4326", [500_100], [4_999_900])  # 15 and 45
    assert locate(patches(tmp_path, ["a"], lon, lat)) == []
    assert locate(patches(tmp_path, ["a"], 100, 20)) == []  # elsewhere: the file may hold a placeholder
    with pytest.raises(InputError, match="lon and lat are exchanged in 1 of 1 patches, for example a, as the georef"):
        locate(patches(tmp_path, ["a"], lat, lon))

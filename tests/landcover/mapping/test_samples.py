import re

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from scene_files import LEFT, PRODUCT, TOP, land, write
from shapely.geometry import LineString, MultiPoint, Point, Polygon, box
from tiny import ArrayScene

from landcover.errors import InputError
from landcover.mapping import samples, scenes
from landcover.mapping.samples import cut, find_overlaps, place_windows, read_features
from landcover.mapping.scenes import Scene, open_scene

BANDS = ["B02", "B08"]
NUMBERS = land(count=2)[:, :40, :60]  # 40 rows, 60 columns


@pytest.fixture
def scene(tmp_path) -> Scene:
    write(tmp_path / f"{PRODUCT}.tif", NUMBERS + 1000, tuple(BANDS), nodata=0)
    return open_scene(str(tmp_path / f"{PRODUCT}.tif"), BANDS)


def at(column: float, row: float) -> Point:
    """A place in the scene, in its pixels."""
    return Point(LEFT + 10 * column, TOP - 10 * row)


def features(*shapes, classes: str = "", crs: str = "EPSG:32633") -> gpd.GeoDataFrame:
    names = [*classes] or ["a"] * len(shapes)
    return gpd.GeoDataFrame(
        {"class": names, "problem": ""}, geometry=list(shapes), crs=crs, index=range(1, len(names) + 1)
    )


def corners(windows: pd.DataFrame) -> list[tuple[int, int]]:
    return list(windows[["left", "top"]].itertuples(index=False, name=None))


# -- windows


def test_a_point_becomes_the_window_centred_on_it(scene):
    windows = place_windows(features(at(30, 20), at(30.4, 20), at(30.6, 20), at(30.5, 20.5)), scene, 8)
    assert corners(windows) == [(26, 16), (26, 16), (27, 16), (27, 17)]
    assert windows["patch_id"].tolist() == ["p1", "p2", "p3", "p4"]
    odd = place_windows(features(at(30.5, 20.5), at(30.9, 20.1)), scene, 9)  # the middle of its pixel is the centre
    assert corners(odd) == [(26, 16), (26, 16)]


def test_any_coordinate_system_gives_the_same_windows(scene):
    places = features(at(30.2, 20.2), at(10.2, 10.2))
    for crs in ("EPSG:4326", "EPSG:3035"):
        assert corners(place_windows(places.to_crs(crs), scene, 8)) == [(26, 16), (6, 6)]


def test_a_polygon_becomes_the_windows_of_a_grid_whose_centres_lie_in_it(scene):
    square = box(LEFT + 40, TOP - 200, LEFT + 250, TOP - 40)  # columns 4 to 25, rows 4 to 20
    windows = place_windows(features(square), scene, 8)
    assert corners(windows) == [(8, 8), (16, 8)]  # columns 12 and 20, row 12; the others are on its border or outside
    assert windows["patch_id"].tolist() == ["p1-1", "p1-2"]
    small = box(LEFT + 290, TOP - 210, LEFT + 310, TOP - 190)  # has no such centre, so it becomes the one at its middle
    assert corners(place_windows(features(small), scene, 8)) == [(26, 16)]


def test_several_points_in_one_feature_are_numbered(scene):
    windows = place_windows(features(MultiPoint([at(30, 20), at(10, 10)])), scene, 8)
    assert windows["patch_id"].tolist() == ["p1-1", "p1-2"]


def test_windows_that_leave_the_scene_or_repeat_another_are_named(scene):
    places = features(
        at(4, 4), at(3, 20), at(56, 36), at(57, 20), at(56, 36), at(56, 36), at(1e7, 0), classes="aaaaaba"
    )
    windows = place_windows(places, scene, 8)
    leaves, repeats = (
        f"its window of 8 x 8 pixels extends beyond {scene.name}",
        "has the same window and class as another",
    )
    assert windows["problem"].tolist()[:6] == ["", leaves, "", leaves, repeats, ""]
    assert windows["problem"][6] in (leaves, f"lies far outside {scene.name}")


def test_overlaps_are_found():
    windows = pd.DataFrame({"left": [0, 8, 4, 40, 40, 20], "top": [0, 0, 7, 40, 40, 20], "class": [*"aababa"]})
    overlapping, of_other_class = find_overlaps(windows, 8)
    assert overlapping.tolist() == [0, 1, 2, 3, 4]  # the first two touch, and both overlap the third
    assert of_other_class[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert of_other_class[[0, 1, 3, 4], 1].tolist() == [2, 2, 4, 3]


# -- patches


def test_a_patch_has_the_pixels_the_names_and_the_place(scene, tmp_path):
    windows = cut(scene, place_windows(features(at(30, 20), at(2, 20), classes="ba"), scene, 4), 4, tmp_path / "out")
    assert windows["problem"].tolist() == ["", ""]
    table = pd.read_csv(tmp_path / "out" / "labels.csv", dtype=str)
    assert table.columns.tolist() == ["patch_id", "path", "class", "lon", "lat", "date"]
    assert table["path"].tolist() == ["tiles/p1.tif", "tiles/p2.tif"]
    assert table["class"].tolist() == ["b", "a"]
    assert table["date"].tolist() == ["2023-06-13"] * 2
    assert table["lon"][1] == "15.0000000"  # the middle of zone 33, which is x = 500,000
    with rasterio.open(tmp_path / "out" / table["path"][0]) as tile:
        assert (tile.read() == NUMBERS[:, 18:22, 28:32]).all()  # without the offset
        assert (tile.descriptions, tile.dtypes, tile.nodata) == (tuple(BANDS), ("uint16",) * 2, 0)
        assert tile.crs == scene.crs
        assert tile.transform @ (2, 2) == (LEFT + 300, TOP - 200)


def test_patches_with_nodata_are_left_out(tmp_path):
    numbers = NUMBERS.copy()
    numbers[1, 20, 30] = 0
    scene = open_scene(str(write(tmp_path / "scene.tif", numbers, tuple(BANDS), nodata=0)), BANDS)
    windows = place_windows(features(at(30, 20), at(33, 20), at(27, 17)), scene, 4)
    windows = cut(scene, windows, 4, tmp_path / "out")
    assert windows["problem"].tolist() == ["its window has pixels without data", "", ""]
    assert sorted(path.name for path in (tmp_path / "out" / "tiles").iterdir()) == ["p2.tif", "p3.tif"]
    assert pd.read_csv(tmp_path / "out" / "labels.csv").columns.tolist() == ["patch_id", "path", "class", "lon", "lat"]


def test_rows_are_read_once_and_only_where_there_are_windows(monkeypatch):
    monkeypatch.setattr(scenes, "STRIP_ROWS", 10)
    pixels = np.arange(100, dtype=np.float32)[None, :, None].repeat(3, 2) / 10_000
    scene = ArrayScene(pixels, ["B02"], block_rows=4, rows_read=[])  # strips of 12 rows
    tops = [0, 5, 8, 30, 70, 92]
    for top, rows in zip(tops, samples.rows_of(scene, tops, 8), strict=True):
        assert rows[0, :, 0].tolist() == list(range(top, top + 8))
    assert scene.rows_read == [*range(48), *range(60, 100)][:24] + [*range(24, 48), *range(60, 100)]


# -- files of points


def gpkg(path, frame: gpd.GeoDataFrame, **options):
    frame.drop(columns="problem").to_file(path, **options)
    return path


def test_points_are_read_from_each_kind_of_file(tmp_path):
    table = features(Point(15, 45), Point(15.5, 45.5), classes="ab", crs="EPSG:4326")
    (tmp_path / "p.csv").write_text("\ufeffname,lon,lat,class\nx,15,45,a\ny,15.5,45.5,b\n")
    for path in (gpkg(tmp_path / "p.gpkg", table), gpkg(tmp_path / "p.geojson", table), tmp_path / "p.csv"):
        read = read_features(path, "class")
        assert read["class"].tolist() == ["a", "b"]
        assert read.geometry.tolist() == [Point(15, 45), Point(15.5, 45.5)]
        assert read.crs == "EPSG:4326"
        assert (read["problem"] == "").all()


def test_codes_become_names(tmp_path):
    frame = gpd.GeoDataFrame({"code": [3, None, 4]}, geometry=[Point(15, 45)] * 3, crs=4326)  # QGIS's whole numbers
    frame.to_file(tmp_path / "p.gpkg")
    read = read_features(tmp_path / "p.gpkg", "code")
    assert read["class"].tolist() == ["class_3", "", "class_4"]
    assert read["problem"].tolist() == ["", "has no code", ""]


def test_features_that_cannot_be_used_are_named(tmp_path):
    bow = Polygon([(15, 45), (16, 46), (16, 45), (15, 46)])
    frame = features(Point(15, 45), None, LineString([(15, 45), (16, 46)]), bow, crs="EPSG:4326")
    read = read_features(gpkg(tmp_path / "p.gpkg", frame), "class")
    assert read["problem"].tolist() == ["", "has no geometry", "is a line, not a point or a polygon", ""]
    assert read.geometry.iloc[3].is_valid
    (tmp_path / "p.csv").write_text("lon,lat,class\n15,45,a\n,45,a\n15,95,a\n")
    why = "its lon and lat are not degrees on Earth"
    assert read_features(tmp_path / "p.csv", "class")["problem"].tolist() == ["", why, why]


def test_a_layer_is_chosen(tmp_path):
    for layer, name in (("old", "a"), ("new", "b")):
        gpkg(tmp_path / "p.gpkg", features(Point(15, 45), classes=name, crs="EPSG:4326"), layer=layer)
    assert read_features(tmp_path / "p.gpkg", "class", "new")["class"].tolist() == ["b"]
    with pytest.raises(InputError, match="has the layers old, new; choose one by --layer"):
        read_features(tmp_path / "p.gpkg", "class")
    with pytest.raises(InputError, match="has no layer 'newer', only old, new"):
        read_features(tmp_path / "p.gpkg", "class", "newer")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "lon,lat,kind\n15,45,a\n", "has no column 'class', only 'lon', 'lat', 'kind'; name it by"),
        ("p.csv", "lon;lat;class\n15;45;a\n", "has no column lon, lat among 'lon;lat;class'; separate"),
        ("p.csv", "x,y,class\n15,45,a\n", "has no column lon, lat among 'x', 'y', 'class'; give degrees"),
        ("p.csv", "lon,lat,class\n", "has no rows; add some"),
        ("p.csv", "", "is not a CSV table: No columns to parse from file; correct it, or get it again"),
        ("p.geojson", '{"type": "FeatureCollection", "features": []}', "has no points or polygons; digitize some"),
        ("p.geojson", "", "cannot be read (not recognized as being in a supported file format); give a GeoPackage"),
        ("p.docx", "PK", "is not one of .gpkg, .geojson, .json, .shp, .fgb, .csv; give a GeoPackage, a GeoJSON, or"),
        ("p.csv", "lon,lat,class\n15,45,a\n15,45,2nd growth\n", "invalid classes: '2nd growth'; start with a letter"),
        ("none.gpkg", None, "not found; give a GeoPackage, a GeoJSON, or a CSV of lon, lat and class"),
    ],
)  # fmt: skip
def test_files_that_are_no_points_end_in_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}")) as raised:
        read_features(path, "class")
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_points_without_a_coordinate_system_are_refused(tmp_path):
    path = gpkg(tmp_path / "p.gpkg", features(Point(15, 45), crs=None))
    with pytest.raises(InputError, match=r"p\.gpkg: has no coordinate system; set it in QGIS"):
        read_features(path, "class")

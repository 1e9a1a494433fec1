from dataclasses import replace

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio import Affine

from landcover.mapping import rasters
from landcover.mapping.maps import NOTHING, Map
from landcover.mapping.windows import Windows

CLASSES = ["tree_cover", "cropland", "mangroves"]
COLOURS = {"tree_cover": "#006400", "cropland": "#f096ff", "mangroves": "#00cf75"}
TRANSFORM = Affine(120, 0, 500_540, 0, -120, 4_999_460)
UTM = "EPSG:32633"


@pytest.fixture
def land_cover() -> Map:
    labels = np.array([[0, 1, 2, 2], [0, 0, 2, NOTHING], [2, 2, 2, NOTHING]], np.int16)
    confidence = np.where(labels == NOTHING, np.nan, 0.4 + 0.1 * labels).astype(np.float32)
    probabilities = np.stack([confidence, confidence / 2, confidence / 4])
    return Map(Windows(120, 12, 3, 4), TRANSFORM, labels, confidence, probabilities, None, np.zeros((2, 1, 1)))


def test_codes_are_worldcovers_or_count_from_one():
    assert rasters.codes(CLASSES) == [10, 40, 95]
    assert rasters.codes(["Forest", "tree_cover"]) == [1, 2]


def test_the_rasters_are_cloud_optimized_and_in_place(land_cover, tmp_path):
    rasters.write(tmp_path, land_cover, UTM, CLASSES, COLOURS, None)
    for name, dtype in (("classes", "uint8"), ("confidence", "float32"), ("probabilities", "float32")):
        with rasterio.open(tmp_path / f"{name}.tif") as raster:
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.compression == rasterio.enums.Compression.deflate
            assert raster.crs.to_epsg() == 32633
            assert raster.transform == TRANSFORM
            assert set(raster.dtypes) == {dtype}
    with rasterio.open(tmp_path / "classes.tif") as raster:
        assert raster.read(1).tolist() == [[10, 40, 95, 95], [10, 10, 95, 0], [95, 95, 95, 0]]
        assert raster.nodata == 0
        colours = raster.colormap(1)
        assert [colours[code] for code in (10, 40, 95)] == [(0, 100, 0, 255), (240, 150, 255, 255), (0, 207, 117, 255)]
        assert colours[0][3] == 0  # nodata is transparent
    with rasterio.open(tmp_path / "confidence.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), land_cover.confidence)
        assert np.isnan(raster.nodata)
    with rasterio.open(tmp_path / "probabilities.tif") as raster:
        np.testing.assert_array_equal(raster.read(), land_cover.probabilities)
        assert list(raster.descriptions) == CLASSES


def test_large_rasters_have_overviews_of_the_most_frequent_class(land_cover, tmp_path):
    labels = np.tile(np.array([[0, 2], [2, 2]], np.int16), (300, 300))
    large = replace(land_cover, labels=labels, confidence=np.full(labels.shape, 0.5, np.float32), probabilities=None)
    rasters.write(tmp_path, large, UTM, CLASSES, COLOURS, None)
    with rasterio.open(tmp_path / "classes.tif") as raster:
        assert raster.block_shapes == [(512, 512)]
        assert raster.overviews(1) == [2]
        assert (raster.read(1, out_shape=(300, 300)) == 95).all()
    assert not (tmp_path / "probabilities.tif").exists()


def test_gdal_finds_the_legend_that_qgis_shows(land_cover, tmp_path):
    """What GDAL knows of a raster stands in a VRT of it."""
    rasters.write(tmp_path, land_cover, UTM, CLASSES, COLOURS, None)
    rasterio.shutil.copy(tmp_path / "classes.tif", tmp_path / "copy.vrt", driver="VRT")
    known = rasters.ET.parse(tmp_path / "copy.vrt")
    assert not [*known.iter("Category")]  # QGIS would show each number without a class, too
    columns = [[field.find(tag).text for tag in ("Name", "Usage")] for field in known.iter("FieldDefn")]
    assert columns == [["Value", "5"], ["Class", "2"], ["Red", "6"], ["Green", "7"], ["Blue", "8"]]
    rows = [[cell.text for cell in row.iter("F")] for row in known.iter("Row")]
    assert rows == [
        ["10", "tree cover", "0", "100", "0"],
        ["40", "cropland", "240", "150", "255"],
        ["95", "mangroves", "0", "207", "117"],
    ]


def test_a_style_shows_the_classes_alone_in_an_old_qgis(land_cover, tmp_path):
    rasters.write(tmp_path, land_cover, UTM, CLASSES, COLOURS, None)
    style = rasters.ET.parse(tmp_path / "classes.qml")
    assert style.find("pipe/rasterrenderer").get("type") == "paletted"
    assert [(entry.get("value"), entry.get("label"), entry.get("color")) for entry in style.iter("paletteEntry")] == [
        ("10", "tree cover", "#006400"), ("40", "cropland", "#f096ff"), ("95", "mangroves", "#00cf75"),
    ]  # fmt: skip


def test_confidence_has_a_style_from_0_to_1(land_cover, tmp_path):
    rasters.write(tmp_path, land_cover, UTM, CLASSES, COLOURS, None)
    renderer = rasters.ET.parse(tmp_path / "confidence.qml").find("pipe/rasterrenderer")
    assert renderer.get("type") == "singlebandpseudocolor"
    assert [entry.get("label") for entry in renderer.iter("item")] == ["0%", "25%", "50%", "75%", "100%"]


def test_many_classes_of_ones_own_have_numbers_too(land_cover, tmp_path):
    classes = [f"c{number}" for number in range(300)]
    colours = dict.fromkeys(classes, "#010203")
    many = replace(
        land_cover, labels=np.where(land_cover.labels == 2, np.int16(299), land_cover.labels), probabilities=None
    )
    rasters.write(tmp_path, many, UTM, classes, colours, None)
    with rasterio.open(tmp_path / "classes.tif") as raster:
        assert raster.read(1)[0].tolist() == [1, 2, 300, 300]
        assert raster.colormap(1)[300] == (1, 2, 3, 255)

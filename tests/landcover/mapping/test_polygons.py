import numpy as np
import pyogrio
from rasterio import Affine

from landcover.mapping.maps import NOTHING, Map
from landcover.mapping.polygons import to_polygons, write_polygons
from landcover.mapping.windows import Windows

CLASSES, UTM = ["tree_cover", "cropland"], "EPSG:32633"
LABELS = np.array([[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, NOTHING]], np.int16)


def land_cover(labels: np.ndarray) -> Map:
    """Cells of 1 hectare."""
    transform = Affine(100, 0, 500_000, 0, -100, 5_000_000)
    return Map(Windows(10, 10, *labels.shape), transform, labels, labels * 0.0, None, None, np.zeros((2, 1, 1)))


def test_groups_of_cells_are_polygons():
    found = to_polygons(land_cover(LABELS), UTM, CLASSES)
    rows = sorted(zip(found["class"], found["code"], found["hectares"], strict=True))
    assert rows == [("cropland", 40, 1), ("cropland", 40, 2), ("tree_cover", 10, 8)]
    assert found.total_bounds.tolist() == [500_000, 4_999_700, 500_400, 5_000_000]


def test_small_groups_go_to_their_neighbour_and_nodata_stays():
    found = to_polygons(land_cover(LABELS), UTM, CLASSES, least=1.5)
    rows = sorted(zip(found["class"], found["hectares"], strict=True))
    assert rows == [("cropland", 2), ("tree_cover", 9)]


def test_they_are_written_if_there_are_any(tmp_path):
    write_polygons(tmp_path, land_cover(np.full((2, 2), NOTHING, np.int16)), UTM, CLASSES)
    assert not [*tmp_path.iterdir()]
    write_polygons(tmp_path, land_cover(LABELS), UTM, CLASSES)
    layer = pyogrio.read_dataframe(tmp_path / "polygons.gpkg")
    assert list(layer.columns) == ["class", "code", "hectares", "geometry"]
    assert layer.crs.to_epsg() == 32633

import json

import numpy as np
import pytest
from rasterio import Affine
from tiny import brighter_band

from landcover.evaluation.applicability import Applicability
from landcover.files import write_json
from landcover.mapping.maps import NOTHING, Map
from landcover.mapping.predictor import Predictor
from landcover.mapping.scenes import Provenance, Scene
from landcover.mapping.summary import Summary, Unlike
from landcover.mapping.windows import Windows

CLASSES = ["tree_cover", "cropland", "mangroves"]
PROVENANCE = Provenance("raster", "2A", "05.09", None, 1000, "metadata", 10_000, "metadata", None, [])
SCENE = Scene(
    "x.tif", ["B02", "B08"], "EPSG:32633", (10, 0, 500_000, 0, -10, 5_000_000), 156, 144, PROVENANCE, [], False, 1
)


def make_map(labels: list[list[int]], unlike: np.ndarray | None) -> Map:
    labels = np.array(labels, np.int16)
    confidence = np.where(labels == NOTHING, np.nan, 0.4 + 0.1 * labels).astype(np.float32)
    transform = Affine(120, 0, 500_540, 0, -120, 4_999_460)
    return Map(Windows(120, 12, *labels.shape), transform, labels, confidence, None, unlike, np.zeros((2, 1, 1)))


def test_summary_counts_cells_and_square_kilometres(tmp_path):
    unlike = np.full((3, 4), 0.5, np.float32)
    unlike[0, :3], unlike[1:, 3] = 0.6, np.nan
    known = Applicability("tiny", ["B02"], 120, 0.5, 0.01, np.ones(3), np.ones((1, 3)))
    land_cover = make_map([[0, 1, 2, 2], [0, 0, 2, NOTHING], [2, 2, 2, NOTHING]], unlike)
    summary = Summary.of(land_cover, CLASSES, 0.45, applicability=known)
    # Cells of 120 m; ten of twelve have data, three of these are tree cover with a confidence of 0.4.
    assert summary.classes == [
        {"class": "tree_cover", "code": 10, "share": 0.3, "km2": pytest.approx(3 * 0.0144)},
        {"class": "cropland", "code": 40, "share": 0.1, "km2": pytest.approx(0.0144)},
        {"class": "mangroves", "code": 95, "share": 0.6, "km2": pytest.approx(6 * 0.0144)},
    ]
    assert summary.nodata_share == pytest.approx(2 / 12)
    assert summary.mean_confidence == pytest.approx((3 * 0.4 + 0.5 + 6 * 0.6) / 10)
    assert summary.uncertain_share == 0.3
    assert summary.unlike_train == Unlike(0.3, threshold=0.5, share_of_val=0.01)

    network, metadata = brighter_band(120)
    write_json(tmp_path / "x.json", summary.to_json(land_cover, SCENE, Predictor([network], metadata, "m", "0")))
    content = json.loads((tmp_path / "x.json").read_text())
    assert list(content) == [
        "model", "scene", "map", "classes", "nodata_share", "mean_confidence", "threshold", "uncertain_share",
        "unlike_train",
    ]  # fmt: skip
    assert content["classes"][1] == {"class": "cropland", "code": 40, "share": 0.1, "km2": 0.0144}
    assert content["scene"]["offset_by"] == "metadata"
    assert content["map"]["covers"] == pytest.approx(12 * 144 / (144 * 156), abs=1e-6)
    assert content["model"]["bands"] == ["B02", "B08"]


def test_summary_of_a_map_without_data():
    summary = Summary.of(make_map([[NOTHING, NOTHING]], None), CLASSES, 0.5)
    assert (summary.nodata_share, summary.mean_confidence, summary.uncertain_share) == (1, None, 0)
    assert summary.unlike_train is None

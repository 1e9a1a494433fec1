import numpy as np
from rasterio import Affine

from landcover.mapping.item import to_item


def test_a_map_is_an_item_that_names_its_classes():
    transform = Affine(120, 0, 500_000, 0, -120, 5_000_000)  # on the central meridian of zone 33, 15 degrees east
    names = ["classes.tif", "classes.qml", "confidence.tif", "shares.tif"]
    colours = {"tree_cover": "#006400", "bare/sparse_vegetation": "#b4b4b4"}
    item = to_item("scene", "2023-06-13", "EPSG:32633", transform, (20, 10), list(colours), colours, names)
    assert item["properties"]["datetime"] == "2023-06-13T00:00:00Z"
    assert "start_datetime" not in item["properties"]
    assert item["properties"]["proj:code"] == "EPSG:32633"
    assert item["properties"]["proj:shape"] == [20, 10]
    ring = np.array(item["geometry"]["coordinates"][0])
    np.testing.assert_array_equal(ring[0], ring[-1])
    edges = ring[1:] - ring[:-1]
    assert (edges[:, 0] * np.roll(edges[:, 1], -1) - edges[:, 1] * np.roll(edges[:, 0], -1) > 0).all()  # to the left
    np.testing.assert_allclose(ring[3], [15, 45.153], atol=0.001)
    np.testing.assert_allclose(item["bbox"], [*ring.min(0), *ring.max(0)])
    assert set(item["assets"]) == {"classes", "confidence", "shares", "overview", "metadata"}
    assert item["assets"]["classes"]["href"] == "./classes.tif"
    assert item["assets"]["classes"]["classification:classes"] == [
        {"value": 0, "name": "nodata", "description": "no data", "nodata": True},
        {"value": 10, "name": "tree_cover", "description": "tree cover", "color_hint": "006400"},
        {
            "value": 60, "name": "bare-sparse_vegetation", "description": "bare/sparse vegetation",
            "color_hint": "B4B4B4",
        },
    ]  # fmt: skip


def test_a_mosaic_of_several_dates_has_the_first_and_the_last():
    place = "EPSG:32633", Affine(120, 0, 500_000, 0, -120, 5_000_000), (20, 10)
    item = to_item("area", "2023-06-13", *place, ["bare"], {"bare": "#b4b4b4"}, ["classes.tif"], "2023-08-02")
    when = {name: item["properties"][name] for name in ("datetime", "start_datetime", "end_datetime")}
    assert when == {
        "datetime": None, "start_datetime": "2023-06-13T00:00:00Z", "end_datetime": "2023-08-02T23:59:59Z",
    }  # fmt: skip

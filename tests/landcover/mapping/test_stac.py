import json

import pytest
from scene_files import land, write_item
from server import File, Reply, Server

from landcover.errors import InputError
from landcover.mapping import stac
from landcover.mapping.layers import Layer, Source

NUMBERS = land(8)
TAGS = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}


def test_an_item_tells_its_bands_by_their_common_names(tmp_path):
    source = stac.read_source(str(write_item(tmp_path, NUMBERS)))
    layers = {band: Layer(str(tmp_path / f"{band}.tif")) for band in ("B02", "B03", "B04", "B08")}
    assert source == Source("STAC item", "S2B_33UUP_20230613_0_L2A", layers, "2A", "", "2023-06-13")


@pytest.mark.parametrize(
    ("asset", "properties", "offset", "scale"),
    [
        (TAGS, {}, None, (0.0001, -0.1)),
        ({"raster:scale": 0.0001, "raster:offset": -0.1}, {}, None, (0.0001, -0.1)),
        ({"eo:bands": [], "bands": [{"eo:common_name": "blue", "raster:scale": 0.001}]}, {}, None, (0.001, None)),
        (TAGS, {"earthsearch:boa_offset_applied": True}, 0, (0.0001, -0.1)),
        ({}, {}, None, None),
    ],
)  # fmt: skip
def test_an_item_tells_scale_and_offset(tmp_path, asset, properties, offset, scale):
    layer = stac.read_source(str(write_item(tmp_path, NUMBERS, asset, **properties))).layers["B02"]
    assert (layer.offset, layer.scale) == (offset, scale)


def test_an_item_tells_its_baseline_and_its_level(tmp_path):
    path = write_item(tmp_path, NUMBERS, **{"s2:processing_baseline": "05.09", "processing:level": "L1C"})
    path.write_text(path.read_text().replace("L2A", "x"))
    source = stac.read_source(str(path))
    assert (source.baseline, source.level) == ("05.09", "1C")


def test_the_finest_asset_is_taken_and_another_sensor_is_not(tmp_path):
    assets = {
        "B02_20m": {"href": "b"}, "B02_10m": {"href": "a"}, "B02_60m": {"href": "c"},
        "nir": {"href": "landsat", "eo:bands": [{"name": "B5", "common_name": "nir"}]},
        "all": {"href": "d", "eo:bands": [{"name": "B03"}, {"name": "B04"}]},
    }  # fmt: skip
    path = tmp_path / "item.json"
    path.write_text(json.dumps({"properties": {}, "assets": assets}))
    source = stac.read_source(str(path)).layers
    assert source == {
        "B02": Layer(str(tmp_path / "a")), "B03": Layer(str(tmp_path / "d"), 1), "B04": Layer(str(tmp_path / "d"), 2)
    }  # fmt: skip
    path.write_text(json.dumps({"properties": {}, "assets": {"B02": {"href": "a"}, "blue": {"href": "b"}}}))
    with pytest.raises(InputError, match=r"item.json: B02 occurs more than once, as B02 and blue"):
        stac.read_source(str(path))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "[" * 100_000, '{"type": "FeatureCollection", "features": []}', '{"properties": {}, "assets": []}',
     '{"properties": {}, "assets": {"B02": {}}}', '{"properties": {}, "assets": {"B02": {"href": 1}}}',
     '{"properties": {}, "assets": {"B02": {"href": "a", "raster:scale": "x"}}}'],
)  # fmt: skip
def test_what_is_no_item_is_refused(tmp_path, content):
    path = tmp_path / "item.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"^item.json: is not a STAC item \(.*\); give"):
        stac.read_source(str(path))


def test_an_item_from_a_host_names_addresses_and_no_files(tmp_path):
    item = json.loads(write_item(tmp_path, NUMBERS).read_text())
    with Server() as server:
        url = server.on("/items/x", File(json.dumps(item).encode())) + "?token=secret"
        assert stac.read_source(url).layers["B02"].path == f"/vsicurl/{server.origin}/items/B02.tif"
        for href in ("s3://bucket/B02.tif", "file:///etc/passwd"):
            item["assets"]["blue"]["href"] = href
            server.on("/items/x", File(json.dumps(item).encode()))
            with pytest.raises(InputError, match=f"{href}: is not supported; give an item whose assets"):
                stac.read_source(url)
        server.on("/items/x", Reply(404))
        with pytest.raises(InputError, match=r"cannot be fetched .*404.*; check the URL") as error:
            stac.read_source(url)
        assert "secret" not in str(error.value)
        server.on("/items/x", File(b"{" * 1000, cut=10))
        with pytest.raises(InputError, match="cannot be fetched"):
            stac.read_source(url)

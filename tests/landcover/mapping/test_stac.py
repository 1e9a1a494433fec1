import json

import pytest
from scene_files import land, write_item
from server import File, Reply, Server

from landcover.errors import InputError
from landcover.mapping import stac
from landcover.mapping.layers import Layer, Source
from landcover.mapping.scenes import open_scene

NUMBERS = land(8)
TEN = ("B02", "B03", "B04", "B08")
TAGS = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}


def test_an_item_tells_its_bands_by_their_common_names(tmp_path):
    source = stac.read_source(str(write_item(tmp_path, NUMBERS)), TEN)
    layers = {band: Layer(str(tmp_path / f"{band}.tif")) for band in ("B02", "B03", "B04", "B08")}
    classes = Layer(str(tmp_path / "SCL.tif"))
    assert source == Source("STAC item", "S2B_33UUP_20230613_0_L2A", layers, "2A", "", "2023-06-13", classes)


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
    layer = stac.read_source(str(write_item(tmp_path, NUMBERS, asset, **properties)), TEN).layers["B02"]
    assert (layer.offset, layer.scale) == (offset, scale)


def test_an_item_tells_its_baseline_and_its_level(tmp_path):
    path = write_item(tmp_path, NUMBERS, **{"s2:processing_baseline": "05.09", "processing:level": "L1C"})
    path.write_text(path.read_text().replace("L2A", "x"))
    source = stac.read_source(str(path), TEN)
    assert (source.baseline, source.level) == ("05.09", "1C")


def test_the_finest_asset_is_taken_and_another_sensor_is_not(tmp_path):
    assets = {
        "B02_20m": {"href": "b"}, "B02_10m": {"href": "a"}, "B02_60m": {"href": "c"},
        "nir": {"href": "landsat", "eo:bands": [{"name": "B5", "common_name": "nir"}]},
        "all": {"href": "d", "eo:bands": [{"name": "B03"}, {"name": "B04"}]},
    }  # fmt: skip
    path = tmp_path / "item.json"
    path.write_text(json.dumps({"properties": {}, "assets": assets}))
    source = stac.read_source(str(path), TEN).layers
    assert source == {
        "B02": Layer(str(tmp_path / "a")), "B03": Layer(str(tmp_path / "d"), 1), "B04": Layer(str(tmp_path / "d"), 2)
    }  # fmt: skip
    path.write_text(json.dumps({"properties": {}, "assets": {"B02": {"href": "a"}, "blue": {"href": "b"}}}))
    with pytest.raises(InputError, match=r"item.json: B02 occurs more than once, as B02 and blue"):
        stac.read_source(str(path), TEN)


def earth_search(colour: str, common: str) -> dict:
    """Both assets of a band, as Earth Search has them: a COG, and ESA's file in a bucket that asks for payment."""
    about = {"eo:bands": [{"name": colour, "common_name": common, "center_wavelength": 0.5}], "gsd": 10, **TAGS}
    bucket = {"href": f"s3://sentinel-s2-l2a/tiles/33/U/UP/2023/6/13/0/{colour}.jp2", "type": "image/jp2"}
    cog = {"href": f"https://host.example/{colour}.tif", "type": "image/tiff; application=geotiff"}
    return {colour: about | cog, f"{colour}-jp2": about | bucket}


def test_an_item_of_earth_search_is_read_from_its_cogs(tmp_path):
    assets = earth_search("red", "red") | earth_search("nir", "nir") | earth_search("rededge1", "rededge")
    properties = {"constellation": "sentinel-2", "platform": "sentinel-2b", "earthsearch:boa_offset_applied": True}
    path = tmp_path / "item.json"
    path.write_text(json.dumps({"id": "S2B_33UUP_20230613_0_L2A", "properties": properties, "assets": assets}))
    expected = Layer("/vsicurl/https://host.example/red.tif", 1, 0, None, (0.0001, -0.1))
    assert stac.read_source(str(path), ["B04", "B08"]).layers["B04"] == expected
    # ESA's own file has the offset still.
    assets["red-jp2"]["href"] = "https://host.example/red.jp2"
    del assets["red"]
    path.write_text(json.dumps({"id": "x", "properties": properties, "assets": assets}))
    expected = Layer("/vsicurl/https://host.example/red.jp2", 1, None, None, (0.0001, -0.1))
    assert stac.read_source(str(path), ["B04", "B08"]).layers["B04"] == expected


def test_an_item_of_the_copernicus_data_space_is_read_by_its_alternate_links(tmp_path):
    node = "https://download.example/odata/v1/Products(1)/Nodes(S2B.SAFE)/Nodes(T33UUP_20230613T101031_{}.jp2)/$value"
    assets = {
        name: {
            "href": f"s3://eodata/Sentinel-2/MSI/L2A/2023/06/13/{name}.jp2", "type": "image/jp2",
            "bands": [{"name": name[:3], "eo:common_name": "blue"}], "raster:scale": 0.0001, "raster:offset": -0.1,
            "gsd": int(name[4:6]), "alternate": {"https": {"href": node.format(name), "auth:refs": ["oidc"]}},
        } for name in ("B02_20m", "B02_10m")
    }  # fmt: skip
    properties = {"constellation": "sentinel-2", "processing:level": "L2", "processing:version": "05.09"}
    item = {"stac_version": "1.1.0", "id": "S2B_MSIL2A_20230613T101031", "properties": properties, "assets": assets}
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    source = stac.read_source(str(path), ["B02"])
    assert source.layers == {"B02": Layer(f"/vsicurl/{node.format('B02_10m')}", scale=(0.0001, -0.1))}
    assert (source.level, source.baseline) == ("2A", "05.09")


def test_an_unsigned_item_of_the_planetary_computer_says_so(tmp_path):
    properties = {"constellation": "Sentinel 2", "platform": "Sentinel-2B", "s2:processing_baseline": "05.09"}
    with Server() as server:
        assets = {"visual": {"href": "https://host.example/TCI_10m.tif", "eo:bands": [{"name": "B04"}]}}
        for band in TEN:
            href = server.on(f"/sentinel2-l2/{band}_10m.tif", Reply(409))
            assets[band] = {"href": href, "eo:bands": [{"name": band}], "gsd": 10}
        path = tmp_path / "item.json"
        path.write_text(json.dumps({"id": "S2B_MSIL2A_x", "properties": properties, "assets": assets}))
        with pytest.raises(InputError, match=r"B02_10m.tif cannot be read \(.*409.*\); its host wants a .* signature"):
            open_scene(str(path), [*TEN])


def test_an_item_of_another_satellite_is_refused(tmp_path):
    path = write_item(tmp_path, NUMBERS, platform="landsat-8")
    with pytest.raises(InputError, match="_L2A: is of landsat-8, not of Sentinel-2, on which the networks are trained"):
        stac.read_source(str(path), TEN)


def test_what_is_not_needed_does_not_matter(tmp_path):
    assets = {"B02": {"href": "a"}, "B11": {"href": "b"}, "swir16": {"href": "c"}, "B12": {"href": "s3://d"}}
    path = tmp_path / "item.json"
    path.write_text(json.dumps({"properties": {}, "assets": assets}))
    assert [*stac.read_source(str(path), ["B02"]).layers] == ["B02"]


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
        stac.read_source(str(path), TEN)


def test_an_item_from_a_host_names_addresses_and_no_files(tmp_path):
    item = json.loads(write_item(tmp_path, NUMBERS).read_text())
    with Server() as server:
        url = server.on("/items/x", File(json.dumps(item).encode())) + "?token=secret"
        assert stac.read_source(url, TEN).layers["B02"].path == f"/vsicurl/{server.origin}/items/B02.tif"
        del item["assets"]["blue-jp2"]
        for href in ("s3://bucket/B02.tif", "file:///etc/passwd"):
            item["assets"]["blue"]["href"] = href
            server.on("/items/x", File(json.dumps(item).encode()))
            with pytest.raises(
                InputError, match=f"^S2B_33UUP_20230613_0_L2A: {href}: cannot be read; give an item whose assets"
            ):
                stac.read_source(url, TEN)
        server.on("/items/x", Reply(404))
        with pytest.raises(InputError, match=r"cannot be fetched .*404.*; check the URL") as error:
            stac.read_source(url, TEN)
        assert "secret" not in str(error.value)
        server.on("/items/x", File(b"{" * 1000, cut=10))
        with pytest.raises(InputError, match="cannot be fetched"):
            stac.read_source(url, TEN)

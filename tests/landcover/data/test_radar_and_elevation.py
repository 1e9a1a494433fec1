import numpy as np
import pytest
import rasterio
from tiny import write_tile

from landcover.data.radar_and_elevation import read_channel
from landcover.data.tiles import Tiles


@pytest.fixture
def read(dataset):
    dataset.add_modalities()
    ids = {"elevation": dataset.ids[3]} | dict.fromkeys(("VV", "VH"), dataset.meta[3]["patch_id_s1"])
    return lambda channel: read_channel(Tiles(dataset.root), ids[channel], channel, 120)


def test_values_are_those_of_the_tiles(read):
    for channel, value in (("VV", -13), ("VH", -20), ("elevation", 300)):
        found = read(channel)
        assert (found.values.dtype, found.values.shape) == (np.float32, (120, 120))
        assert (found.values == value).all()
        assert found.centre == ("EPSG:32633", 500_600, 4_999_400)


def test_a_tile_with_the_south_up_is_turned(dataset, read):
    pixels = np.arange(14400, dtype=np.float32).reshape(120, 120) / 14400
    south_up = rasterio.Affine(10, 0, 500_000, 0, 10, 4_998_800)
    write_tile(dataset.radar_tile(3, "VV"), pixels[::-1], transform=south_up)
    found = read("VV")
    assert (found.values == pixels).all()
    assert found.centre == ("EPSG:32633", 500_600, 4_999_400)


@pytest.mark.parametrize(
    ("channel", "pixels", "profile", "told"),
    [
        ("VV", np.full((120, 120), 0.05, np.float64), {}, "VV is float64, not float32; write backscatter in dB"),
        ("VH", np.full((60, 60), -9, np.float32), {}, "VH is 60 x 60 pixels, not 120 x 120"),
        ("VH", np.full((2, 120, 120), -9, np.float32), {}, "VH has 2 bands, not 1"),
        ("VV", np.full((120, 120), np.nan, np.float32), {}, "VV has values that are not finite"),
        ("VV", np.full((120, 120), 300, np.float32), {}, "VV has values of 300 dB, outside -60 to 20"),
        ("elevation", np.full((120, 120), -32768, np.int16), {}, "elevation has values of -32768 m, outside"),
        ("elevation", np.full((120, 120), 5, np.uint16), {}, "elevation is uint16, not int16; write whole metres"),
    ],
)  # fmt: skip
def test_what_is_no_such_tile_is_refused(dataset, read, channel, pixels, profile, told):
    path = dataset.elevation_tile(3) if channel == "elevation" else dataset.radar_tile(3, channel)
    write_tile(path, pixels, **profile)
    with pytest.raises(ValueError, match=told):
        read(channel)


def test_a_missing_empty_or_torn_tile_is_refused(dataset, read):
    path = dataset.radar_tile(3, "VV")
    content = path.read_bytes()
    for torn, told in ((content[:300], "not a readable GeoTIFF"), (b"", "it is empty")):
        path.write_bytes(torn)
        with pytest.raises(ValueError, match=told):
            read("VV")
    path.unlink()
    with pytest.raises(ValueError, match="VV is missing"):
        read("VV")


def test_a_mask_is_refused_without_advice_to_write_0_which_is_a_value(dataset, read):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(dataset.radar_tile(3, "VV"), "r+") as tile:
        tile.write_mask(np.eye(120, dtype=bool))
    with pytest.raises(ValueError, match="VV has a mask; leave out the patch"):
        read("VV")


def test_scale_tags_are_refused(dataset, read):
    with rasterio.open(dataset.radar_tile(3, "VV"), "r+") as tile:
        tile.scales = [0.1]
    with pytest.raises(ValueError, match="VV has scale and offset tags; write the values themselves"):
        read("VV")

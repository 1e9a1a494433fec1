import numpy as np
import pytest
from tiny import write_tile

from landcover.dataset import patches
from landcover.dataset.tiles import Tiles
from landcover.ground.benge import BANDS


def test_a_patch_holds_its_bands_in_the_order_asked_for(dataset):
    write_tile(dataset.tile(dataset.ids[0], "B08"), np.full((120, 120), 7, np.uint16))
    patch = patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B08", "B02"])
    assert patch.shape == (2, 120, 120)
    assert patch.dtype == np.uint16
    assert (patch[0] == 7).all()
    assert (patch[1] == 100).all()


@pytest.mark.parametrize("band", ["B05", "B01"])
def test_coarser_bands_are_resampled_to_ten_metres(dataset, band):
    side = 1200 // BANDS[band]
    coarse = np.arange(1, side * side + 1, dtype=np.uint16).reshape(side, side)
    write_tile(dataset.tile(dataset.ids[0], band), coarse)
    patch = patches.read_patch(Tiles(dataset.root), dataset.ids[0], [band], "nearest")
    assert (patch[0] == coarse.repeat(120 // side, 0).repeat(120 // side, 1)).all()
    smooth = patches.read_patch(Tiles(dataset.root), dataset.ids[0], [band], "bilinear")
    assert smooth.shape == (1, 120, 120)
    assert len(np.unique(smooth)) > side * side / 2


def test_the_nodata_tag_becomes_zero(dataset):
    pixels = np.full((120, 120), 500, np.uint16)
    pixels[:3] = 65535
    write_tile(dataset.tile(dataset.ids[0], "B02"), pixels, nodata=65535)
    patch = patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])
    assert (patch[0, :3] == 0).all()
    assert (patch[0, 3:] == 500).all()


@pytest.mark.parametrize(("resampling", "hole"), [("nearest", 2), ("bilinear", 6), ("cubic", 10)])
@pytest.mark.parametrize("tag", [None, 65535])
def test_nodata_is_not_blended_into_the_land_around_it(dataset, resampling, hole, tag):
    rng = np.random.default_rng(0)
    coarse = rng.choice([3, 3000], (60, 60)).astype(np.uint16)
    coarse[30, 30] = tag or 0
    write_tile(dataset.tile(dataset.ids[0], "B11"), coarse, **({"nodata": tag} if tag else {}))
    patch = patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B11"], resampling)[0]
    empty = patch == 0
    assert empty.sum() == hole**2
    assert empty[60:62, 60:62].all()
    assert patch[~empty].min() >= 1


def pixels(shape=(120, 120), value=1, dtype=np.uint16):
    return np.full(shape, value, dtype)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "B02 is missing"),
        (b"not a picture", "B02 is not a readable GeoTIFF"),
        (b"", "B02 is not a readable GeoTIFF"),
        (pixels((60, 60)), "B02 is 60 x 60 pixels, not 120 x 120"),
        (pixels((2, 120, 120)), "B02 has 2 bands, not 1"),
        (pixels(dtype=np.float32), "B02 is float32, not uint16"),
        (pixels(value=np.nan, dtype=np.float32), "B02 is float32, not uint16"),
        (pixels(value=0), "B02 is all nodata"),
    ],
    ids=["missing", "text", "empty", "small", "two bands", "float", "nan", "nodata"],
)
def test_a_bad_tile_is_named(dataset, content, problem):
    path = dataset.tile(dataset.ids[0], "B02")
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write_tile(path, content)
    with pytest.raises(ValueError, match=problem):
        patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])


def test_a_truncated_tile_and_another_format_are_refused(dataset):
    path = dataset.tile(dataset.ids[0], "B02")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="not a readable GeoTIFF"):
        patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])
    path.unlink()
    write_tile(path, pixels(dtype=np.uint8), driver="JPEG")
    with pytest.raises(ValueError, match="not a readable GeoTIFF"):
        patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])


def test_a_virtual_raster_cannot_read_elsewhere(dataset):
    other = dataset.tile(dataset.ids[1], "B02")
    dataset.tile(dataset.ids[0], "B02").write_text(
        f"""<VRTDataset rasterXSize="120" rasterYSize="120"><VRTRasterBand dataType="UInt16" band="1">
        <SimpleSource><SourceFilename>{other}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""
    )
    with pytest.raises(ValueError, match="not a readable GeoTIFF"):
        patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])

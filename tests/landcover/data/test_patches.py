import tarfile

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.transform import from_origin
from tiny import REAL_ARCHIVE, write_tile

from landcover.constants import BANDS
from landcover.data import patches
from landcover.data.tiles import Tiles


def test_a_patch_holds_its_bands_in_the_order_asked_for(dataset):
    write_tile(dataset.tile(dataset.ids[0], "B08"), np.full((120, 120), 7, np.uint16))
    patch = patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B08", "B02"]).numbers
    assert patch.shape == (2, 120, 120)
    assert patch.dtype == np.uint16
    assert (patch[0] == 7).all()
    assert (patch[1] == 100).all()


@pytest.mark.parametrize("band", ["B05", "B01"])
def test_coarser_bands_are_resampled_to_ten_metres(dataset, band):
    side = 1200 // BANDS[band]
    coarse = np.arange(1, side * side + 1, dtype=np.uint16).reshape(side, side)
    write_tile(dataset.tile(dataset.ids[0], band), coarse)
    patch = patches.read_patch(Tiles(dataset.root), dataset.ids[0], [band], "nearest").numbers
    assert (patch[0] == coarse.repeat(120 // side, 0).repeat(120 // side, 1)).all()
    smooth = patches.read_patch(Tiles(dataset.root), dataset.ids[0], [band], "bilinear").numbers
    assert smooth.shape == (1, 120, 120)
    assert len(np.unique(smooth)) > side * side / 2


def test_the_nodata_tag_becomes_zero(dataset):
    pixels = np.full((120, 120), 500, np.uint16)
    pixels[:3] = 65535
    write_tile(dataset.tile(dataset.ids[0], "B02"), pixels, nodata=65535)
    patch = patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"]).numbers
    assert (patch[0, :3] == 0).all()
    assert (patch[0, 3:] == 500).all()


@pytest.mark.parametrize(("resampling", "hole"), [("nearest", 2), ("bilinear", 6), ("cubic", 10)])
@pytest.mark.parametrize("tag", [None, 65535])
def test_nodata_is_not_blended_into_the_land_around_it(dataset, resampling, hole, tag):
    rng = np.random.default_rng(0)
    coarse = rng.choice([3, 3000], (60, 60)).astype(np.uint16)
    coarse[30, 30] = tag or 0
    write_tile(dataset.tile(dataset.ids[0], "B11"), coarse, **({"nodata": tag} if tag else {}))
    patch = patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B11"], resampling).numbers[0]
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


# -- scale and offset tags


def tag(path, scale: float, offset: float) -> None:
    with rasterio.open(path, "r+") as tile:
        tile.scales, tile.offsets = (scale,), (offset,)


def read(dataset, *bands: str) -> patches.Patch:
    return patches.read_patch(Tiles(dataset.root), dataset.ids[0], bands)


@pytest.mark.parametrize(("scale", "offset", "own"), [(0.0001, -0.1, 1000), (0.0001, 0, 0), (0.0001, -0.005, 50)])
def test_tags_that_give_reflectance_in_whole_steps_tell_the_offset(dataset, scale, offset, own):
    for band in dataset.bands:
        tag(dataset.tile(dataset.ids[0], band), scale, offset)
    found = read(dataset, "B02", "B08")
    assert found.offset == own
    assert (found.numbers == 100).all()


@pytest.mark.parametrize(
    ("scale", "offset"), [(1, -1000), (0.001, 0), (0.0001, 0.1), (2.75e-5, -0.2), (0.0001, -0.10003), (0.0001, np.nan)]
)
def test_other_tags_are_refused(dataset, scale, offset):
    tag(dataset.tile(dataset.ids[0], "B02"), scale, offset)
    with pytest.raises(ValueError, match=r"B02 has scale .*; write it as reflectance x 10,000, without such tags"):
        read(dataset, "B02")


def test_bands_must_tell_the_same_offset(dataset):
    tag(dataset.tile(dataset.ids[0], "B02"), 0.0001, -0.1)
    with pytest.raises(ValueError, match=r"different offsets \(B02 1000, B08 none\)"):
        read(dataset, "B02", "B08")


# -- where the bands lie

NORTH_UP = from_origin(500_000, 5_000_000, 10, 10)
SOUTH_UP = Affine(10, 0, 500_000, 0, 10, 4_998_800)
ramp = np.arange(1, 14_401, dtype=np.uint16).reshape(120, 120)


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        ({"transform": from_origin(800_000, 5_000_000, 10, 10)}, "B08 lies at x 800000.0 to 801200.0"),
        ({"transform": from_origin(500_010, 5_000_000, 10, 10)}, "B08 lies at x 500010.0"),
        ({"transform": SOUTH_UP}, "B08 lies at x 500000.0 to 501200.0, y 4998800.0 to 5000000.0"),
        ({"crs": "EPSG:32634"}, "B08 is in EPSG:32634, but B02 in EPSG:32633"),
        ({"crs": None}, "B08 is in no coordinate system, but B02 in EPSG:32633"),
        ({"transform": Affine.identity()}, "B08 has no georeference, but B02 does"),
        ({"transform": from_origin(500_000, 5_000_000, 20, 20)}, "B08 has pixels of 20 x 20 .*, not 10 x 10 m"),
        ({"transform": from_origin(500_000, 5_000_000, 1e-4, 1e-4)}, "B08 has pixels of 0.0001 x 0.0001"),
        ({"transform": from_origin(500_000, 5_000_000, 10, 10) @ Affine.rotation(5)}, "B08 has .* and is rotated"),
    ],
    ids=str,
)
@pytest.mark.parametrize("compress", [None, "deflate"])
def test_bands_that_do_not_lie_on_each_other_are_refused(dataset, profile, problem, compress):
    write_tile(dataset.tile(dataset.ids[0], "B08"), ramp, **({"compress": compress} if compress else {}) | profile)
    with pytest.raises(ValueError, match=problem):
        read(dataset, "B02", "B08")


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"crs": None},
        {"crs": None, "transform": Affine.identity()},
        {"transform": Affine.identity()},
        {"crs": "EPSG:3035"},
        {"transform": from_origin(500_000, 5_000_000, 9.98, 9.98)},
    ],
    ids=str,
)
def test_bands_that_lie_alike_or_nowhere_are_read(dataset, profile):
    write_tile(dataset.tile(dataset.ids[0], "B02"), ramp, **profile)
    write_tile(dataset.tile(dataset.ids[0], "B08"), ramp[::-1], compress="deflate", **profile)
    assert (read(dataset, "B02", "B08").numbers == [ramp, ramp[::-1]]).all()


def test_a_coarser_band_lies_on_the_same_ground(dataset):
    coarse = np.full((60, 60), 9, np.uint16)
    write_tile(dataset.tile(dataset.ids[0], "B11"), coarse)
    assert read(dataset, "B02", "B11").numbers[1].max() == 9
    write_tile(dataset.tile(dataset.ids[0], "B11"), coarse, transform=from_origin(500_020, 5_000_000, 20, 20))
    with pytest.raises(ValueError, match="B11 lies at x 500020"):
        read(dataset, "B02", "B11")


def test_a_patch_that_is_south_up_is_turned_north_up(dataset):
    for band in dataset.bands:
        write_tile(dataset.tile(dataset.ids[0], band), ramp[::-1], transform=SOUTH_UP)
    assert (read(dataset, "B02", "B08").numbers == ramp).all()


@pytest.mark.skipif(not REAL_ARCHIVE.exists(), reason="the real pixels are not part of the repository")
def test_real_patches_are_read(tmp_path):
    with tarfile.open(REAL_ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    tiles = Tiles(tmp_path / "ben-ge-real")
    ids = [path.name for path in (tiles.root / "sentinel-2").iterdir()]
    assert [patches.read_patch(tiles, name, ["B02", "B03", "B04", "B08"]).offset for name in ids] == [None] * 36

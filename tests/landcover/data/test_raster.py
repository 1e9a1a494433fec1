import tarfile
import zipfile
import zlib

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.transform import from_origin
from tiny import EUROSAT, REAL_ARCHIVE, write_picture, write_tile

from landcover.constants import BANDS
from landcover.data.layouts import ben_ge
from landcover.data.raster import Channel, gdal, read_patch

RAMP = np.arange(1, 14_401, dtype=np.uint16).reshape(120, 120)
SOUTH_UP = Affine(10, 0, 500_000, 0, 10, 4_998_800)


def test_a_patch_holds_its_bands_in_the_order_asked_for(dataset):
    write_tile(dataset.tile(dataset.ids[0], "B08"), np.full((120, 120), 7, np.uint16))
    numbers = dataset.read("B08", "B02").numbers
    assert (numbers.shape, numbers.dtype) == ((2, 120, 120), np.uint16)
    assert (numbers[0] == 7).all()
    assert (numbers[1] == 100).all()


def test_channels_of_one_file_are_read_by_their_positions(tmp_path):
    write_tile(tmp_path / "x.tif", np.stack([RAMP, RAMP + 1, RAMP + 2]))
    channels = [Channel("B08", "uint16", band=3, file_bands=3), Channel("B02", "uint16", band=1, file_bands=3)]
    assert (read_patch([tmp_path / "x.tif"] * 2, channels, 120).numbers == [RAMP + 2, RAMP]).all()


@pytest.mark.parametrize("band", ["B05", "B01"])
def test_coarser_bands_are_resampled_to_ten_metres(dataset, band):
    side = 1200 // BANDS[band]
    coarse = np.arange(1, side * side + 1, dtype=np.uint16).reshape(side, side)
    write_tile(dataset.tile(dataset.ids[0], band), coarse)
    nearest = dataset.read(band, resampling="nearest").numbers
    assert (nearest[0] == coarse.repeat(120 // side, 0).repeat(120 // side, 1)).all()
    assert len(np.unique(dataset.read(band).numbers)) > side * side / 2


def test_the_nodata_tag_becomes_zero(dataset):
    pixels = np.full((120, 120), 500, np.uint16)
    pixels[:3] = 65535
    write_tile(dataset.tile(dataset.ids[0], "B02"), pixels, nodata=65535)
    numbers = dataset.read("B02").numbers
    assert (numbers[0, :3] == 0).all()
    assert (numbers[0, 3:] == 500).all()


@pytest.mark.parametrize(("resampling", "hole"), [("nearest", 2), ("bilinear", 6), ("cubic", 10)])
@pytest.mark.parametrize("tag", [None, 65535])
def test_nodata_is_not_blended_into_the_land_around_it(dataset, resampling, hole, tag):
    coarse = np.random.default_rng(0).choice([3, 3000], (60, 60)).astype(np.uint16)
    coarse[30, 30] = tag or 0
    write_tile(dataset.tile(dataset.ids[0], "B11"), coarse, **({"nodata": tag} if tag else {}))
    numbers = dataset.read("B11", resampling=resampling).numbers[0]
    empty = numbers == 0
    assert empty.sum() == hole**2
    assert empty[60:62, 60:62].all()


@pytest.mark.parametrize(
    "profile",
    [
        {"blockysize": 34},  # BigEarthNet's own
        {"tiled": True, "blockxsize": 128, "blockysize": 128},
        {"compress": "lzw", "predictor": 2},
        {"compress": "zstd"},
        {"ENDIANNESS": "BIG"},
        {"BIGTIFF": "YES"},
        {"nbits": 14},
    ],
    ids=str,
)
def test_a_tile_is_read_however_it_is_stored(dataset, profile):
    write_tile(dataset.tile(dataset.ids[0], "B02"), RAMP, **profile)
    assert (dataset.read("B02").numbers[0] == RAMP).all()


def test_files_beside_a_tile_change_nothing(dataset):
    path = dataset.tile(dataset.ids[0], "B02")
    write_tile(path, RAMP)
    statistics = "<PAMDataset><PAMRasterBand band='1'><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>"
    path.with_name(f"{path.name}.aux.xml").write_text(statistics)
    write_tile(path.with_name(f"{path.name}.msk"), np.zeros((120, 120), np.uint8))
    write_tile(path.with_name(f"{path.name}.ovr"), np.ones((60, 60), np.uint16))
    path.with_suffix(".tfw").write_text("1\n0\n0\n1\n0\n0\n")
    assert (dataset.read("B02").numbers[0] == RAMP).all()


# -- what is refused


def flat(shape=(120, 120), value=1, dtype=np.uint16):
    return np.full(shape, value, dtype)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "B02 is missing"),
        (b"not a picture", r"B02 is not a readable GeoTIFF \('B02.tif' not recognized"),
        (b"", "B02 is not a readable GeoTIFF"),
        # A virtual raster could read other files.
        (b"<VRTDataset rasterXSize='120' rasterYSize='120'/>", "B02 is not a readable GeoTIFF"),
        (flat((60, 60)), "B02 is 60 x 60 pixels, not 120 x 120"),
        (flat((60, 120)), "B02 is 60 x 120 pixels, not 120 x 120"),
        (flat((2, 120, 120)), "B02 has 2 bands, not 1"),
        (flat(value=np.nan, dtype=np.float32), "B02 is float32, not uint16; write reflectance x 10,000 as uint16"),
        (flat(value=0), "B02 is all nodata"),
    ],
    ids=["missing", "text", "empty", "virtual", "small", "not square", "two bands", "nan", "nodata"],
)
def test_a_bad_tile_is_named_with_the_reason(dataset, content, problem):
    path = dataset.tile(dataset.ids[0], "B02")
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write_tile(path, content)
    with pytest.raises(ValueError, match=problem):
        dataset.read("B02")


def test_a_truncated_tile_and_another_format_are_refused(dataset):
    path = dataset.tile(dataset.ids[0], "B02")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="not a readable GeoTIFF"):
        dataset.read("B02")
    path.unlink()
    write_tile(path, flat(dtype=np.uint8), driver="JPEG")
    with pytest.raises(ValueError, match="not a readable GeoTIFF"):
        dataset.read("B02")


@pytest.mark.parametrize(("channel", "remedy"), [("B02", "mark nodata with 0"), ("VV", "leave out the patch")])
def test_a_mask_inside_a_tile_is_refused(dataset, channel, remedy):
    dataset.add_modalities()
    path = dataset.radar_tile(0, "VV") if channel == "VV" else dataset.tile(dataset.ids[0], "B02")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as tile:
        tile.write_mask(np.eye(120, dtype=bool))
    with pytest.raises(ValueError, match=f"{channel} has a mask or transparency; {remedy}"):
        dataset.read(channel)


# -- the offset, from a tile's tags


def tag(path, scale, offset):
    with rasterio.open(path, "r+") as tile:
        tile.scales, tile.offsets = (scale,), (offset,)


@pytest.mark.parametrize(("scale", "offset", "own"), [(0.0001, -0.1, 1000), (0.0001, 0, 0), (0.0001, -0.005, 50)])
def test_tags_that_give_reflectance_in_whole_steps_give_the_offset(dataset, scale, offset, own):
    for band in dataset.bands:
        tag(dataset.tile(dataset.ids[0], band), scale, offset)
    patch = dataset.read("B02", "B08")
    assert patch.offset == own
    assert (patch.numbers == 100).all()


@pytest.mark.parametrize(
    ("scale", "offset"), [(1, -1000), (0.001, 0), (0.0001, 0.1), (2.75e-5, -0.2), (0.0001, -0.10003), (0.0001, np.nan)]
)
def test_other_tags_are_refused(dataset, scale, offset):
    tag(dataset.tile(dataset.ids[0], "B02"), scale, offset)
    with pytest.raises(ValueError, match=r"B02 has scale .*; write it as reflectance x 10,000, without such tags"):
        dataset.read("B02")


def test_bands_must_have_the_same_offset(dataset):
    tag(dataset.tile(dataset.ids[0], "B02"), 0.0001, -0.1)
    with pytest.raises(ValueError, match=r"different offsets \(B02 1000, B08 none\)"):
        dataset.read("B02", "B08")


# -- where the bands lie


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        ({"transform": from_origin(500_010, 5_000_000, 10, 10)}, "B08 lies at x 500010.0 to 501210.0"),
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
def test_bands_that_do_not_lie_on_each_other_are_refused(dataset, profile, problem):
    write_tile(dataset.tile(dataset.ids[0], "B08"), RAMP, **profile)
    with pytest.raises(ValueError, match=problem):
        dataset.read("B02", "B08")


@pytest.mark.parametrize(
    "profile",
    [
        {"crs": None},
        {"crs": None, "transform": Affine.identity()},
        {"transform": Affine.identity()},
        {"crs": "EPSG:3035"},
        {"transform": from_origin(500_000, 5_000_000, 9.98, 9.98)},
    ],
    ids=str,
)
def test_bands_that_lie_alike_or_nowhere_are_read(dataset, profile):
    write_tile(dataset.tile(dataset.ids[0], "B02"), RAMP, **profile)
    write_tile(dataset.tile(dataset.ids[0], "B08"), RAMP[::-1], compress="deflate", **profile)
    assert (dataset.read("B02", "B08").numbers == [RAMP, RAMP[::-1]]).all()


def test_a_coarser_band_lies_on_the_same_ground(dataset):
    coarse = np.full((60, 60), 9, np.uint16)
    write_tile(dataset.tile(dataset.ids[0], "B11"), coarse)
    assert dataset.read("B02", "B11").numbers[1].max() == 9
    write_tile(dataset.tile(dataset.ids[0], "B11"), coarse, transform=from_origin(500_020, 5_000_000, 20, 20))
    with pytest.raises(ValueError, match="B11 lies at x 500020"):
        dataset.read("B02", "B11")


def test_a_patch_that_is_south_up_is_turned_north_up(dataset):
    for band in dataset.bands:
        write_tile(dataset.tile(dataset.ids[0], band), RAMP[::-1], transform=SOUTH_UP)
    assert (dataset.read("B02", "B08").numbers == RAMP).all()


# -- radar and elevation


def test_values_are_those_of_the_tiles(dataset):
    dataset.add_modalities()
    patch = dataset.read("VV", "VH", "elevation", i=3)
    assert (patch.values.dtype, patch.numbers.shape, patch.offset) == (np.float32, (0, 120, 120), None)
    assert (patch.values == np.array([-13, -20, 300])[:, None, None]).all()


def test_radar_that_is_south_up_is_turned_and_one_that_lies_elsewhere_is_noted(dataset):
    dataset.add_modalities()
    decibels = -RAMP.astype(np.float32) / 14_400
    write_tile(dataset.radar_tile(0, "VV"), decibels[::-1], transform=SOUTH_UP)
    patch = dataset.read("B02", "VV")
    assert (patch.values == decibels).all()
    assert not patch.far_apart
    write_tile(dataset.radar_tile(0, "VV"), decibels, transform=from_origin(500_700, 5_000_000, 10, 10))
    assert dataset.read("B02", "VV").far_apart


@pytest.mark.parametrize(
    ("channel", "pixels", "problem"),
    [
        ("VV", flat(value=0.05, dtype=np.float64), "VV is float64, not float32; write values in dB as float32"),
        ("VH", flat((60, 60), dtype=np.float32), "VH is 60 x 60 pixels, not 120 x 120"),
        ("VV", flat(value=np.nan, dtype=np.float32), "VV has values that are not finite"),
        ("VV", flat(value=300, dtype=np.float32), "VV has values of 300 dB, outside -60 to 20"),
        ("elevation", flat(value=-32768, dtype=np.int16), "elevation has values of -32768 m, outside"),
        ("elevation", flat(), "elevation is uint16, not int16; write values in m as int16"),
    ],
)
def test_implausible_radar_and_elevation_are_refused(dataset, channel, pixels, problem):
    dataset.add_modalities()
    path = dataset.elevation_tile(3) if channel == "elevation" else dataset.radar_tile(3, channel)
    write_tile(path, pixels)
    with pytest.raises(ValueError, match=problem):
        dataset.read(channel, i=3)


def test_scale_tags_of_radar_are_refused(dataset):
    dataset.add_modalities()
    tag(dataset.radar_tile(0, "VV"), 0.1, 0)
    with pytest.raises(ValueError, match="VV has scale and offset tags; write the values themselves"):
        dataset.read("VV")


@pytest.mark.skipif(not REAL_ARCHIVE.exists(), reason="the real pixels are not part of the repository")
def test_real_patches_are_read(tmp_path):
    with tarfile.open(REAL_ARCHIVE) as archive:
        archive.extraction_filter = lambda member, path: member  # Python 3.11.2 knows no argument `filter`
        archive.extractall(tmp_path)
    bands = ["B02", "B03", "B04", "B08"]
    patches = ben_ge.read_patches(tmp_path, bands, [])
    read = [
        read_patch([patches.root / file for file in files], patches.channels, 120)
        for files in patches.table[bands].to_numpy()
    ]
    assert [patch.offset for patch in read] == [None] * 36


# -- pictures, and numbers of other types

RGB = [Channel(name, "uint8", None, band, 3) for band, name in enumerate(("B04", "B03", "B02"), 1)]


def read_one(path, *channels: Channel, size: int = 32):
    with gdal():
        return read_patch([path] * len(channels), channels, size)


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_in_a_picture_0_is_the_darkest_value_and_255_the_whole_range(tmp_path, name):
    write_picture(tmp_path / name, (0, 255, 255))
    patch = read_one(tmp_path / name, *RGB)
    assert patch.numbers[:, 0, 0].tolist() == pytest.approx([1, 10_000, 10_000], abs=40)
    assert patch.offset is None
    scaled = [channel._replace(scale=0.275 / 255) for channel in (RGB[2], RGB[0])]
    assert read_one(tmp_path / name, *scaled).numbers[:, 0, 0].tolist() == pytest.approx([2750, 1], abs=11)


@pytest.mark.parametrize(
    ("mode", "colour", "side", "message"),
    [
        ("RGBA", (1, 2, 3, 4), 32, "its image is RGB with transparency; write pictures as 8-bit RGB, or as 8-bit grey"),
        ("L", 7, 32, "its image is grey with 1 band, not 3; write pictures as 8-bit RGB"),
        ("P", 7, 32, "its image is of a palette; write pictures as 8-bit RGB"),
        ("RGB", (1, 2, 3), 16, "its image is 16 x 16 pixels, not 32 x 32"),
    ],
)
def test_a_picture_of_another_kind_or_size_is_refused(tmp_path, mode, colour, side, message):
    write_picture(tmp_path / "x.png", colour, side, mode)
    with pytest.raises(ValueError, match=message):
        read_one(tmp_path / "x.png", *RGB)


def test_a_picture_of_16_bits_is_refused_not_halved(tmp_path):
    path = tmp_path / "x.png"
    write_picture(path, (1, 2, 3))
    content = bytearray(path.read_bytes())
    content[24] = 16  # the depth in its header, after which Pillow says RGB, too
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="its image is of 16 bits; write pictures as 8-bit RGB"):
        read_one(path, *RGB)


def test_files_damaged_alike_are_told_alike(tmp_path):
    for suffix, write in {
        ".jpg": lambda path: write_picture(path, (1, 2, 3)),
        ".tif": lambda path: write_tile(path, np.ones((3, 32, 32), np.uint8)),
    }.items():
        reasons = set()
        for name, length in {"one": 500, "another": 560}.items():
            path = tmp_path / f"{name}{suffix}"
            write(path)
            path.write_bytes(path.read_bytes()[:length])
            with pytest.raises(ValueError, match="its image is not a readable") as error:
                read_one(path, *RGB)
            reasons.add(str(error.value))
        assert len(reasons) == 1


def test_a_picture_that_is_missing_or_damaged_is_told(tmp_path):
    path = tmp_path / "x.jpg"
    with pytest.raises(ValueError, match="its image is missing"):
        read_one(path, *RGB)
    write_picture(path, (1, 2, 3))
    for content in (b"text", path.read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="its image is not a readable JPEG or PNG"):
            read_one(path, *RGB)


@pytest.mark.parametrize(
    ("dtype", "numbers", "expected"),
    [
        ("uint8", [0, 51, 255], [1, 2000, 10_000]),
        ("uint16", [0, 1, 65_535], [0, 1, 65_535]),
        ("int16", [0, -5, 300, -9999, -10_000, -32_768], [0, 1, 300, 0, 0, 0]),
        ("float32", [0, 0.25, -0.1, 1e-9, 9, np.nan, np.inf, -9999], [0, 2500, 1, 1, 65_535, 0, 0, 0]),
    ],
)
def test_numbers_of_any_type_become_reflectance_in_steps(tmp_path, dtype, numbers, expected):
    pixels = np.full((2, 20, 20), 1, dtype)
    pixels[0, 0, : len(numbers)] = numbers
    write_tile(tmp_path / "x.tif", pixels)
    channel = Channel("B02", dtype, None, 1, 2)
    assert read_one(tmp_path / "x.tif", channel, size=20).numbers[0, 0, : len(expected)].tolist() == expected


def test_a_stated_scale_wins_over_tags(tmp_path):
    write_tile(tmp_path / "x.tif", np.full((20, 20), 200, np.uint16))
    tag(tmp_path / "x.tif", 0.5, -3)
    channel = Channel("B02", "uint16", None, scale=0.001)
    assert (read_one(tmp_path / "x.tif", channel, size=20).numbers == 2000).all()
    with pytest.raises(ValueError, match="or state scale and offset in the dataset's entry"):
        read_one(tmp_path / "x.tif", channel._replace(scale=None), size=20)


@pytest.mark.skipif(not EUROSAT.exists(), reason="EuroSAT's tiles are not part of the repository")
def test_eurosats_pictures_show_what_its_13_bands_measure(tmp_path):
    with zipfile.ZipFile(EUROSAT / "EuroSAT_RGB.zip") as pictures, zipfile.ZipFile(EUROSAT / "EuroSAT_MS.zip") as tiles:
        known = set(pictures.namelist())
        names = [name.removeprefix("EuroSAT_MS/").removesuffix(".tif") for name in sorted(tiles.namelist())]
        tile = next(name for name in names if name.startswith("Highway/") and f"EuroSAT_RGB/{name}.jpg" in known)
        pictures.extract(f"EuroSAT_RGB/{tile}.jpg", tmp_path)
        tiles.extract(f"EuroSAT_MS/{tile}.tif", tmp_path)
    rgb = read_one(tmp_path / f"EuroSAT_RGB/{tile}.jpg", *RGB, size=64).numbers
    bands = [Channel(name, "uint16", None, band, 13) for name, band in (("B04", 4), ("B03", 3), ("B02", 2))]
    ms = read_one(tmp_path / f"EuroSAT_MS/{tile}.tif", *bands, size=64).numbers
    assert np.corrcoef(rgb.ravel(), ms.ravel())[0, 1] > 0.9

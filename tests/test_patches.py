import itertools

import numpy as np
import pytest
import rasterio
from conftest import write_tile

from stages import patches
from stages.benge import BANDS, CLASSES
from stages.errors import InputError
from stages.tiles import Tiles


def test_labels_are_joined_by_patch_id_not_by_row(dataset):
    dataset.cover.reverse()
    dataset.write_tables()
    table = patches.read_tables(dataset.root)
    assert table["patch_id"].tolist() == dataset.ids
    assert table["label"].tolist() == dataset.labels
    assert table["majority_fraction"].tolist() == [0.75] * 8


def test_of_tied_classes_the_first_is_the_label(dataset):
    dataset.cover[1]["grassland"] = 0.25
    dataset.cover[1]["cropland"] = 0.25
    dataset.write_tables()
    table = patches.read_tables(dataset.root)
    assert table["label"][1] == CLASSES.index("grassland")
    assert table["tied"].tolist() == [False, True] + [False] * 6


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"cropland": 0.0}, "all WorldCover fractions are zero"),
        ({"tree_cover": -0.1}, "a WorldCover fraction is negative or they exceed 1 together"),
        ({"tree_cover": 0.75}, "a WorldCover fraction is negative or they exceed 1 together"),
        ({"tree_cover": "nan"}, "a WorldCover fraction is not a number"),
        ({"tree_cover": "much"}, "a WorldCover fraction is not a number"),
        ({"patch_id": "S2A_MSIL2A_20170613T101031_99_99"}, "has no row in the WorldCover table"),
    ],
)
def test_a_patch_without_a_usable_label_is_named(dataset, change, problem):
    dataset.cover[1] |= change
    dataset.write_tables()
    table = patches.read_tables(dataset.root)
    assert table["problem"].tolist() == ["", problem] + [""] * 6
    assert table["label"][1] == -1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a CSV table"),
        ("patch_id;lon;lat\nS2A_MSIL2A_X_1_2;1;2\n", "separate columns by commas"),
        ("patch_id,lon\n", "has no column lat"),
        ("patch_id,lon,lat\n../../etc/passwd,1,2\n", "not patch ids: '../../etc/passwd'"),
        ("patch_id,lon,lat\nS2A_MSIL2A_X_1_2,1,2\nS2A_MSIL2A_X_1_2,1,2\n", "stand more than once: S2A_MSIL2A_X_1_2"),
    ],
)
def test_a_broken_table_is_refused(dataset, text, message):
    (dataset.root / "tiny_meta.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        patches.read_tables(dataset.root)


def test_a_byte_order_mark_and_windows_line_ends_are_read(dataset):
    path = dataset.root / "tiny_meta.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").replace(b"\r\r", b"\r"))
    assert patches.read_tables(dataset.root)["patch_id"].tolist() == dataset.ids


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


@pytest.mark.parametrize(
    ("profile", "plain"),
    [
        ({}, True),
        ({"blockysize": 1}, True),
        ({"blockysize": 34}, True),  # BigEarthNet's own
        ({"blockysize": 120, "photometric": "MINISBLACK"}, True),
        ({"crs": None}, True),
        ({"tiled": True, "blockxsize": 128, "blockysize": 128}, False),
        ({"compress": "deflate"}, False),
        ({"compress": "lzw", "predictor": 2}, False),
        ({"ENDIANNESS": "BIG"}, False),
        ({"BIGTIFF": "YES"}, False),
        ({"photometric": "MINISWHITE"}, False),
        ({"nodata": 7}, False),
        ({"nbits": 12}, False),
    ],
    ids=str,
)
def test_a_plain_tile_is_read_as_gdal_reads_it(dataset, profile, plain):
    values = np.random.default_rng(0).integers(1, 4096, (120, 120)).astype(np.uint16)
    path = dataset.tile(dataset.ids[0], "B02")
    path.unlink()
    write_tile(path, values, **profile)
    with rasterio.open(path) as tile:
        expected = tile.read(1)
        expected[expected == tile.nodata] = 0
    assert (patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])[0] == expected).all()
    assert (patches._read_plain(path.read_bytes(), 120) is not None) is plain


def test_no_flipped_bit_of_a_header_makes_the_plain_reader_read_otherwise_than_gdal(dataset):
    path = dataset.tile(dataset.ids[0], "B02")
    write_tile(path, np.arange(14400, dtype=np.uint16).reshape(120, 120), blockysize=34)
    whole = path.read_bytes()
    start = int.from_bytes(whole[4:8], "little")
    end = start + 2 + 12 * int.from_bytes(whole[start : start + 2], "little")
    read = 0
    for place, bit in itertools.product([*range(8), *range(start, end)], range(8)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        plain = patches._read_plain(bytes(damaged), 120)
        if plain is not None:
            read += 1
            path.write_bytes(damaged)
            with rasterio.open(path, driver="GTiff", sharing=False) as tile:
                assert (tile.count, tile.dtypes[0], tile.nodata) == (1, "uint16", None)
                assert (tile.read(1) == plain).all()
    assert read > 100

import itertools

import numpy as np
import pytest
import rasterio
from tiny import write_tile

from landcover.data import patches, plain_tiff
from landcover.data.grids import Grid
from landcover.data.tiles import Tiles


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
    assert (patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"]).numbers[0] == expected).all()
    assert (plain_tiff.read(path.read_bytes(), 120) is not None) is plain


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
        plain = plain_tiff.read(bytes(damaged), 120)
        if plain is not None:
            read += 1
            path.write_bytes(damaged)
            with rasterio.open(path, driver="GTiff", sharing=False) as tile:
                assert (tile.count, tile.dtypes[0], tile.nodata) == (1, "uint16", None)
                pixels, grid = plain
                assert (tile.read(1) == pixels).all()
                assert (tile.scales, tile.offsets) == ((1,), (0,))
                assert grid == Grid(f"EPSG:{tile.crs.to_epsg()}" if tile.crs else "", tuple(tile.transform)[:6])
    assert read > 100


def test_no_flipped_bit_of_a_compressed_tile_gives_another_georeference_than_gdals(tmp_path):
    path = tmp_path / "tile_B02.tif"
    pixels = np.arange(14400, dtype=np.float32).reshape(120, 120)
    write_tile(path, pixels, compress="lzw", predictor=3, nodata=-1)
    whole = path.read_bytes()
    start = int.from_bytes(whole[4:8], "little")
    end = start + 2 + 12 * int.from_bytes(whole[start : start + 2], "little")
    assert plain_tiff.read(whole, 120) is None
    assert plain_tiff.grid_of(whole) == Grid("EPSG:32633", (10, 0, 500_000, 0, -10, 5_000_000))
    found = 0
    for place, bit in itertools.product([*range(8), *range(start, end)], range(8)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        grid = plain_tiff.grid_of(bytes(damaged))
        if grid is None:
            continue
        path.write_bytes(damaged)
        try:
            with rasterio.open(path, driver="GTiff", sharing=False) as tile:
                assert grid == Grid(f"EPSG:{tile.crs.to_epsg()}", tuple(tile.transform)[:6])
                found += 1
        except rasterio.errors.RasterioError:
            pass  # which the reader of its pixels reports
    assert found > 100


def test_a_tile_without_a_plain_georeference_is_left_to_gdal(tmp_path):
    path, pixels = tmp_path / "tile_B02.tif", np.zeros((120, 120), np.float32)
    south_up = rasterio.Affine(10, 0, 500_000, 0, 10, 5_000_000)
    for profile in ({"crs": "EPSG:3035"}, {"crs": None}, {"transform": south_up}, {"crs": "EPSG:4326"}):
        write_tile(path, pixels, **profile)
        assert plain_tiff.grid_of(path.read_bytes()) is None

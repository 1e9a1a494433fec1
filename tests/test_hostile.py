"""Broken and hostile inputs: each is refused in one line, or left out and counted, or read as what it says."""

import ast
import io
import json
import os
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.shutil import copy as copy_raster
from tiny import REPOSITORY, Dataset, architecture, write_tile

from landcover import config, constants
from landcover.constants import MAX_TILE_BYTES
from landcover.data import patches, splits, tensors
from landcover.data.tables import read_tables
from landcover.data.tiles import Tiles
from landcover.errors import InputError
from landcover.models import weights
from landcover.models.metadata import Inputs, Metadata
from landcover.models.registry import build
from landcover.training.loader import Patches
from landcover.training.loop import Run

# -- tables

NOT_PATCH_IDS = [
    "", "S2A", "123", "nan", " S2A_MSIL2A_X_1_2", "S2A_MSIL2A_X_1_2 ", "S2A_MSIL2A_X_1_2\n", "S2A_MSIL2A_X_1_-2",
    "S2A_MSIL2A_X_1_\u0663", "S2A_MSIL2A_X_1_\uff12", "S2A_MSIL2A_é_1_2", "S2A_MSIL2A_../x_1_2", "S2A_MSIL2A_a/b_1_2",
    "S2A_MSIL2A_a\\b_1_2", "S2A_MSIL2A_X_1_2.", "..", "/etc/passwd", "/vsicurl/http://localhost/x_1_2",
    "S2A_MSIL2A_X_1_2'", 'S2A_MSIL2A_"X"_1_2', "S2A_MSIL2A_X_1_2.0", "s2a_msil2a_x_1_2", "# S2A_MSIL2A_X_1_2",
]  # fmt: skip
NOT_NUMBERS = [
    "", " ", "x", "nan", "NA", "inf", "-inf", "1e999", "0,5", "1_0", "1 000", "0x1", "0b1", "True", "false", " 0.5",
    "0.5 ", "\u0660.\u0665", "\uff10.5", "1e", "e1", ".", "--1", "0.5.0", "50%", "None", "=1/2",
]  # fmt: skip


def header(found: bytes, old: bytes, new: bytes) -> bytes:
    first, rest = found.split(b"\r\n", 1)
    return first.replace(old, new) + b"\r\n" + rest


def row(found: bytes, change: Callable[[bytes], bytes], number: int = 2) -> bytes:
    lines = found.split(b"\r\n")
    lines[number] = change(lines[number])
    return b"\r\n".join(lines)


# What becomes of a table's bytes, and what is told of it: '' if it says the same as before.
TABLES = {
    "as it was": (lambda b: b, ""),
    "byte order mark": (lambda b: b"\xef\xbb\xbf" + b, ""),
    "unix lines": (lambda b: b.replace(b"\r\n", b"\n"), ""),
    "old mac lines": (lambda b: b.replace(b"\r\n", b"\r"), ""),
    "no last line end": (lambda b: b.rstrip(), ""),
    "blank lines": (lambda b: b.replace(b"\r\n", b"\r\n\r\n"), ""),
    "every cell quoted": (lambda b: b'"' + b.strip().replace(b",", b'","').replace(b"\r\n", b'"\r\n"') + b'"', ""),
    "more columns": (lambda b: b"\r\n".join(b"%d,%s," % line for line in enumerate(b.split())), ""),
    "line breaks in a cell": (lambda b: b"\r\n".join(b'"a\r\nb",%s' % line for line in b.split()), ""),
    "empty": (lambda b: b"", "is not a CSV table: it has no header; download it again"),
    "a header only": (lambda b: b.split(b"\r\n")[0], "has no rows"),
    "no header": (lambda b: b.split(b"\r\n", 1)[1], "has no column patch_id"),
    "a comment before": (lambda b: b"# ben-ge\r\n" + b, "has no column patch_id"),
    "a comment within": (lambda b: row(b, lambda line: b"# " + line), "invalid patch ids: '# S2A_"),
    "a comment of one cell": (lambda b: row(b, lambda line: line + b"\r\n# good"), "cells .*: 4 \\(1\\); fix"),
    "semicolons": (lambda b: b.replace(b",", b";"), "; separate columns with commas"),
    "tabs": (lambda b: b.replace(b",", b"\t"), "; separate columns with commas"),
    "blanks after commas": (lambda b: b.replace(b",", b", "), "; separate columns with commas"),
    "UTF-16": (lambda b: b.decode().encode("utf-16"), "is not a CSV table: 'utf-8' codec"),
    "UTF-16 without a mark": (lambda b: b.decode().encode("utf-16-le"), "is not a CSV table: it contains a zero byte"),
    "Latin-1": (lambda b: row(b, lambda line: line + b"\xe9"), "is not a CSV table: 'utf-8' codec"),
    "a zero byte": (lambda b: row(b, lambda line: line + b"\0"), "is not a CSV table: it contains a zero byte"),
    "a hole of zeros": (lambda b: b[:200] + bytes(200) + b[400:], "is not a CSV table: it contains a zero byte"),
    "a huge cell": (lambda b: row(b, lambda line: line + b"x" * 200_000), "is not a CSV table: field larger than"),
    "a quote never closed": (lambda b: row(b, lambda line: b'"' + line), "is not a CSV table: unexpected end of data"),
    "a quote within quotes": (lambda b: row(b, lambda line: b'"S2"' + line), "is not a CSV table: ',' expected"),
    "a cell too many": (lambda b: row(b, lambda line: line + b",9"), "not have {columns} cells .*: 3 \\({more}\\)"),
    "a cell before": (lambda b: row(b, lambda line: b"1," + line), "do not have {columns} cells .*: 3 \\({more}\\)"),
    "a cell too many in all": (
        lambda b: b"\r\n".join([b.split()[0], *(line + b",9" for line in b.split()[1:])]),
        "do not have {columns} cells .*: 2 \\({more}\\), 3 \\({more}\\), 4 \\({more}\\) and 5 more; fix them",
    ),
    "a cell too few": (lambda b: row(b, lambda line: line.rpartition(b",")[0]), "do not have {columns} cells .*: 3 "),
    "a decimal comma": (lambda b: row(b, lambda line: line + b",5"), "do not have {columns} cells .*: 3"),
    "a column named twice": (
        lambda b: b"\r\n".join(b"patch_id," + line for line in b.split()),
        "duplicate columns: 'patch_id'; keep one of each",
    ),
    "an unused column named twice": (
        lambda b: b"\r\n".join(b"a,a," + line for line in b.split()),
        "duplicate columns: 'a'; keep one of each",
    ),
    "another case": (lambda b: header(b, b"patch_id", b"Patch_ID"), "has no column patch_id among 'Patch_ID', "),
    "a row twice": (lambda b: row(b, lambda line: line + b"\r\n" + line), "duplicate patch ids: S2A_"),
    "HTML": (lambda b: b"<!DOCTYPE html>\n<p>404</p>", "has no column patch_id"),
    "gzip": (lambda b: b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "is not a CSV table"),
    "a pickle": (pickle.dumps, "is not a CSV table"),
}  # fmt: skip


@pytest.mark.parametrize("table", ["meta", "esaworldcover"])
@pytest.mark.parametrize(("change", "told"), TABLES.values(), ids=TABLES)
def test_a_table_says_what_it_said_or_is_refused(dataset, table, change, told):
    expected = read_tables(dataset.root)
    path = dataset.root / f"tiny_{table}.csv"
    path.write_bytes(change(path.read_bytes()))
    if not told:
        assert read_tables(dataset.root).equals(expected)
        return
    columns = {"meta": 3, "esaworldcover": 12}[table]
    told = told.replace("{columns}", str(columns)).replace("{more}", str(columns + 1))
    with pytest.raises(InputError, match=told) as error:
        read_tables(dataset.root)
    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value).splitlines()) == 1


def test_each_id_that_is_none_is_refused(dataset):
    for i, text in enumerate(NOT_PATCH_IDS):
        dataset.meta.insert(i, dataset.meta[-1] | {"patch_id": text})
    dataset.write_tables()
    with pytest.raises(InputError) as error:
        read_tables(dataset.root)
    more = len(NOT_PATCH_IDS) - 3
    assert f": invalid patch ids: '', 'S2A', '123' and {more} more; expected <acquisition>_<h>_<v>" in str(error.value)


@pytest.mark.parametrize("column", ["lon", "lat", "tree_cover"])
@pytest.mark.parametrize("cell", NOT_NUMBERS)
def test_what_is_no_number_is_a_problem_of_its_patch(dataset, column, cell):
    (dataset.cover if column == "tree_cover" else dataset.meta)[1][column] = cell
    dataset.write_tables()
    about = "a WorldCover fraction is not" if column == "tree_cover" else "its lon and lat in the meta table are not"
    problems = read_tables(dataset.root)["problem"]
    assert problems[1].startswith(about)
    assert (problems != "").sum() == 1


@pytest.mark.parametrize(
    ("column", "cell", "good"),
    [
        ("lon", "-180", True), ("lon", "180.0001", False), ("lat", "90", True), ("lat", "-90.1", False),
        ("lat", "1e2", False), ("tree_cover", "1e-1", True), ("tree_cover", "+.1E0", True),
        ("tree_cover", "-0.0", True), ("tree_cover", "1.5", False), ("tree_cover", "75", False),
        ("tree_cover", "-1e-9", False),
    ],
)  # fmt: skip
def test_numbers_have_a_range(dataset, column, cell, good):
    (dataset.cover if column == "tree_cover" else dataset.meta)[1][column] = cell
    dataset.write_tables()
    table = read_tables(dataset.root)
    assert (table["problem"] == "").tolist() == [True, good] + [True] * 6
    assert table["label"].tolist() == [0, 3 if good else -1] + [0, 3] * 3
    if column in table:
        assert table[column][1] == float(cell)


@pytest.mark.parametrize("what", ["folder", "pipe", "loop", "link", "nothing"])
def test_what_stands_in_a_tables_place(dataset, tmp_path, what):
    path = dataset.root / "tiny_meta.csv"
    path.rename(tmp_path / "elsewhere.csv")
    if what == "link":  # as people do who keep data elsewhere
        path.symlink_to(tmp_path / "elsewhere.csv")
        assert read_tables(dataset.root)["patch_id"].tolist() == dataset.ids
        return
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "loop": lambda: path.symlink_to(path)}.get(what, str)()
    with pytest.raises(InputError, match=r"tiny_meta.csv: (is not a file; put|not found; the archive)"):
        read_tables(dataset.root)


# -- split files

# Those of train, val and test, where {0} ... {7} are the patches; the splits that they make, or what is told.
LISTS = {
    "plain": (["{0}\n{1}", "{2}\n", "{3}\r\n"], ["train", "train", "val", "test"]),
    "quotes, blanks, a mark": (["\ufeff\n {0} \n\n", '"{1}"\n', "\r\r{2}\r\r"], ["train", "val", "test", ""]),
    "a header": (["patch_id\n{0}", "{1}", "{2}"], "train.csv: not in the meta table: 'patch_id'; check"),
    "more columns": (["{0},1\n{1},2", "{2}", "{3}"], "not in the meta table: '{0},1', '{1},2'; check"),
    "a comment": (["# {0}\n{1}", "{2}", "{3}"], "not in the meta table: '# {0}'; check"),
    "two on a line": (["{0} {1}", "{2}", "{3}"], "not in the meta table: '{0} {1}'; check"),
    "empty": (["{0}", "", "\n\n"], "val.csv: lists no patches; download it again; .*test.csv: lists no patches"),
    "twice in one": (["{0}\n{1}\n{0}\n{1}\n{1}", "{2}", "{3}"], "listed more than once: {0}, {1}; keep"),
    "in two": (["{0}\n{1}", "{1}\n{2}", "{3}\n{0}"], "val.csv: .*once: {1}; keep one of each; .*: {0}; keep"),
    "all that is wrong": (["{0}\nx\ny", "z\n{0}", None], r"'x', 'y'; .*'z'; .*once: {0}; .*no tiny_test.csv"),
    "separators": (["{0}\n../{1}", "/{2}", "{3}"], r"table: '\.\./{1}'; check .*table: '/{2}'; check"),
    "control characters": (["{0}\n\x1b[31m", "{2}", "{3}"], r"table: '\\x1b\[31m'; check"),
    "a hole": (["{0}\n{1}", "{2}\0", "{3}"], "val.csv: is not a text file of patch ids: it contains a zero byte"),
    "a quote never closed": (['"{0}\n{1}', "{2}", "{3}"], "train.csv: is not a text file of patch ids: unexpected end"),
    "UTF-16": ([b"\xff\xfea\0", "{2}", "{3}"], "train.csv: is not a text file of patch ids: 'utf-8' codec"),
    "a huge line": (["x" * 200_000, "{2}", "{3}"], "train.csv: is not a text file of patch ids: field larger"),
}  # fmt: skip


@pytest.mark.parametrize(("lists", "outcome"), LISTS.values(), ids=LISTS)
def test_lists_split_as_they_say_or_are_refused(dataset, lists, outcome):
    for split, text in zip(constants.SPLITS, lists, strict=True):
        if text is not None:
            content = text if isinstance(text, bytes) else text.format(*dataset.ids).encode()
            (dataset.root / f"tiny_{split}.csv").write_bytes(content)
    table = read_tables(dataset.root)
    if isinstance(outcome, list):
        assert list(splits.assign(config.Files(method="files"), table, dataset.root).splits) == outcome + [""] * 4
        return
    with pytest.raises(InputError, match=outcome.format(*dataset.ids)) as error:
        splits.assign(config.Files(method="files"), table, dataset.root)
    assert len(str(error.value).splitlines()) == 1


# -- tiles

PIXELS = np.random.default_rng(0).integers(1, 4000, (120, 120)).astype(np.uint16)
NOT_READABLE = "B02 is not a readable GeoTIFF"

GOOD = {
    "plain": {},
    "deflate": {"compress": "deflate", "predictor": 2},
    "lzw": {"compress": "lzw"},
    "zstd": {"compress": "zstd"},
    "lzma": {"compress": "lzma"},
    "packbits": {"compress": "packbits"},
    "BigTIFF": {"BIGTIFF": "YES"},
    "big-endian": {"ENDIANNESS": "BIG"},
    "tiled": {"tiled": True, "blockxsize": 64, "blockysize": 32},
    "large blocks": {"tiled": True, "blockxsize": 2048, "blockysize": 2048, "compress": "deflate"},
    "12 bits": {"nbits": 12},
    "no place": {"crs": None, "transform": rasterio.Affine.identity()},
}


@pytest.mark.parametrize("profile", GOOD.values(), ids=GOOD)
def test_a_tile_is_read_however_it_is_stored(dataset, profile):
    path = dataset.tile(dataset.ids[0], "B02")
    path.unlink()
    write_tile(path, PIXELS, **profile)
    assert (patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"]).numbers[0] == PIXELS).all()


def test_a_cloud_optimized_tile_with_overviews_is_read(dataset):
    path = dataset.tile(dataset.ids[0], "B02")
    write_tile(path, PIXELS)
    whole = path.with_suffix(".cog")
    copy_raster(path, whole, driver="COG", compress="deflate")
    whole.replace(path)
    assert (patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"]).numbers[0] == PIXELS).all()


BAD = {
    "int16": (PIXELS.astype(np.int16), {}, "B02 is int16, not uint16"),
    "uint8": (PIXELS.astype(np.uint8), {}, "B02 is uint8, not uint16"),
    "uint32": (PIXELS.astype(np.uint32), {}, "B02 is uint32, not uint16"),
    "float32": (np.where(PIXELS > 9, np.float32(np.nan), np.float32(np.inf)), {}, "B02 is float32, not uint16"),
    "complex": (PIXELS.astype(np.complex64), {}, "B02 is complex64, not uint16"),
    "complex integers": (PIXELS.astype(np.int16), {"dtype": "complex_int16"}, "B02 is complex_int16, not uint16"),
    "jpeg inside": (PIXELS.astype(np.uint8), {"compress": "jpeg"}, "B02 is uint8, not uint16"),
    "transposed size": (PIXELS[:60], {}, "B02 is 60 x 120 pixels, not 120 x 120"),
    "three bands": (np.stack([PIXELS] * 3), {}, "B02 has 3 bands, not 1"),
    "a huge picture": (
        PIXELS, {"height": 100_000, "width": 100_000, "SPARSE_OK": True, "tiled": True},
        "B02 is 100000 x 100000 pixels, not 120 x 120",
    ),
    "all nodata by its tag": (np.full_like(PIXELS, 9), {"nodata": 9}, "B02 is all nodata"),
    "a block that expands hugely": (
        PIXELS, {"tiled": True, "blockxsize": 16384, "blockysize": 16384, "compress": "zstd"},
        r"B02 is stored in blocks of \(16384, 16384\) pixels, too large for a tile",
    ),
    "a PNG": (PIXELS, {"driver": "PNG"}, NOT_READABLE),
    "a JPEG": (PIXELS.astype(np.uint8), {"driver": "JPEG"}, NOT_READABLE),
}  # fmt: skip


@pytest.mark.parametrize(("pixels", "profile", "problem"), BAD.values(), ids=BAD)
def test_a_tile_of_another_kind_is_refused(dataset, pixels, profile, problem):
    path = dataset.tile(dataset.ids[0], "B02")
    path.unlink()
    pixels = pixels.reshape(-1, *pixels.shape[-2:])
    count, height, width = pixels.shape
    options = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype} | profile
    with rasterio.open(path, "w", **options) as tile:
        tile.write(pixels, window=((0, height), (0, width)))
    with pytest.raises(ValueError, match=problem):
        patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])


@pytest.mark.parametrize("band", ["B02", "B11"])
def test_a_mask_inside_a_tile_is_refused_rather_than_read_over(dataset, band):
    side = {"B02": 120, "B11": 60}[band]
    path = dataset.tile(dataset.ids[0], band)
    path.unlink(missing_ok=True)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_tile(path, PIXELS[:side, :side])
        with rasterio.open(path, "r+") as tile:
            tile.write_mask(PIXELS[:side, :side] > 9)
    with pytest.raises(ValueError, match=f"{band} has a mask; mark nodata with 0 instead"):
        patches.read_patch(Tiles(dataset.root), dataset.ids[0], [band])


def test_files_beside_a_tile_change_nothing(dataset):
    path = dataset.tile(dataset.ids[0], "B02")
    write_tile(path, PIXELS, compress="deflate")  # so that GDAL reads it
    statistics = "<PAMDataset><PAMRasterBand band='1'><NoDataValue>{}</NoDataValue></PAMRasterBand></PAMDataset>"
    path.with_name(f"{path.name}.aux.xml").write_text(statistics.format(PIXELS[0, 0]))
    write_tile(path.with_name(f"{path.name}.msk"), np.zeros((120, 120), np.uint8))
    write_tile(path.with_name(f"{path.name}.ovr"), np.ones((60, 60), np.uint16))
    path.with_suffix(".tfw").write_text("1\n0\n0\n1\n0\n0\n")
    assert (patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"]).numbers[0] == PIXELS).all()


@pytest.mark.parametrize(
    "text",
    [
        "/vsicurl/http://127.0.0.1:9/x.tif",
        "{other}",
        "GTIFF_DIR:1:{other}",
        "<VRTDataset rasterXSize='120' rasterYSize='120'/>",
        "<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:9</ServerUrl></Service></GDAL_WMS>",
        "P5 120 120 65535\n",
    ],
)
def test_a_text_that_names_another_file_is_not_followed(dataset, text):
    path = dataset.tile(dataset.ids[0], "B02")
    path.write_text(text.format(other=dataset.tile(dataset.ids[1], "B02")))
    with pytest.raises(ValueError, match=NOT_READABLE):
        patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (lambda path: path.mkdir(), "B02 is missing"),
        (os.mkfifo, "B02 is missing"),
        (lambda path: path.symlink_to(path), "B02 is missing"),
        (lambda path: path.symlink_to("/dev/zero"), "B02 is missing"),
        (lambda path: path.symlink_to("/etc/passwd"), NOT_READABLE),
        (lambda path: path.write_bytes(bytes(100)), NOT_READABLE),
        (lambda path: (path.touch(), os.truncate(path, 1 << 40)), f"B02 has more than {MAX_TILE_BYTES} bytes"),
    ],
    ids=["folder", "pipe", "loop", "device", "link", "zeros", "huge"],
)
def test_what_stands_in_a_tiles_place(dataset, place, problem):
    path = dataset.tile(dataset.ids[0], "B02")
    path.unlink()
    place(path)
    with pytest.raises(ValueError, match=problem):
        patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])


def test_a_tile_that_the_system_does_not_give_is_a_problem_of_its_patch(dataset, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Tiles, "read", refuse)  # a mode of 0 keeps nobody out who tests as root
    with pytest.raises(ValueError, match=r"B02 cannot be read \(Permission denied\)"):
        patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])


def test_what_gdal_says_of_a_tile_names_no_place_in_memory(dataset):
    path = dataset.tile(dataset.ids[0], "B02")
    told = set()
    for _ in range(2):
        path.write_bytes(b"x" * 100)
        with pytest.raises(ValueError, match=r"\('?B02\.tif'? ") as error:
            patches.read_patch(Tiles(dataset.root), dataset.ids[0], ["B02"])
        told.add(str(error.value))
    assert len(told) == 1


def test_threads_do_not_read_each_others_tiles(dataset):
    """As a Dask worker may have; all tiles of a band have one name for GDAL."""
    for i, patch_id in enumerate(dataset.ids):
        dataset.tile(patch_id, "B02").unlink()
        write_tile(dataset.tile(patch_id, "B02"), np.full((120, 120), i + 1, np.uint16), compress="deflate")

    def read(i: int) -> bool:
        tiles = Tiles(dataset.root)
        return all((patches.read_patch(tiles, dataset.ids[i], ["B02"]).numbers == i + 1).all() for _ in range(30))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(8)))


# -- the stage


def small(data: Dataset, **changes) -> dict:
    split = {"method": "order", "train": len(data.ids) - 4, "val": 2, "test": 2}
    datasets = {"tiny": {"source": "x", "split": split}}
    return {"dataset": "tiny", "datasets": datasets, "bands": ["B02", "B08"], "runtime": {"workers": 1}} | changes


def test_bad_patches_of_all_kinds_are_listed_in_one_line_or_left_out_and_counted(tmp_path, run_stage):
    data = Dataset(tmp_path / "data/patches/tiny", [0, 3] * 8)
    bad = data.ids[:7]
    data.meta[0]["lon"] = "1,5"
    data.cover[1]["grassland"] = "0x1"
    del data.cover[2]
    data.write_tables()
    data.tile(bad[3], "B02").write_bytes(data.tile(bad[3], "B02").read_bytes()[:20_000])
    write_tile(data.tile(bad[4], "B08"), np.ones((120, 120), np.float32))
    data.tile(bad[5], "B08").unlink()
    data.tile(bad[6], "B08").write_text("/vsicurl/http://127.0.0.1:9/x.tif")
    nowhere = {"crs": None, "transform": rasterio.Affine.identity(), "compress": "deflate"}  # which is no fault
    for band in data.bands:
        write_tile(data.tile(data.ids[7], band), PIXELS, **nowhere)
    paths = ("data/patches", "data/tensors", "reports/data.json")

    done = run_stage("preprocess", *paths, params=small(data))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: 7 bad patches: ")
    assert all(f"{patch_id}: " in done.stderr for patch_id in bad)
    done = run_stage("preprocess", *paths, params=small(data, preprocess={"max_bad_patches": 7}))
    assert (done.returncode, done.stderr) == (0, "left out 7 bad patches; see reports/data.json\n")
    found = json.loads((tmp_path / "reports/data.json").read_text())
    assert sorted(found["dropped"]) == sorted(bad)
    assert found["patches"] == {"train": 5, "val": 2, "test": 2}


# -- splits that are hardly any

BATCH_HUGE = {"batch_size": 10**6, "eval_batch_size": 10**6}
ALL_OPTIONS = {
    "optimizer": "sgd", "schedule": "one_cycle", "patience": 1, "keep": "best", "shuffle": True, "flips": True,
    "quarter_turns": True, "class_weights": "balanced", "label_smoothing": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, BATCH_HUGE, ALL_OPTIONS], ids=["default", "huge batch", "all options"])
@pytest.mark.parametrize(
    ("train", "val"), [([3], [3]), ([3], [7]), ([3] * 9, [3] * 2), ([3] * 9, [0, 7]), ([0, 3, 7], [10])], ids=str
)
def test_training_gives_finite_numbers(tmp_path, default_params, train, val, changes):
    def part(labels: list[int]) -> Patches:
        return Patches(torch.rand(len(labels), 2, 120, 120), torch.tensor(labels))

    torch.manual_seed(0)
    network = build(architecture(), Inputs(("B02", "B08"), tuple("abcdefghijk"), 120))
    chosen = config.Training.model_validate(default_params["train"] | {"epochs": 2} | changes)
    history = list(Run(network, part(train), part(val), chosen).epochs(tmp_path / "checkpoint.safetensors"))
    assert np.isfinite(history).all()
    assert all(value.isfinite().all() for value in network.state_dict().values())


def finite(value: object) -> bool:
    match value:
        case dict():
            return all(map(finite, value.values()))
        case float():
            return np.isfinite(value)
    return True


@pytest.mark.parametrize(
    ("labels", "split"),
    [([3, 0, 7], (1, 1, 1)), ([3] * 6, (4, 1, 1))],
    ids=["one each, no class in two", "one class"],
)
def test_stages_give_finite_numbers_and_read_no_pickle(tmp_path, in_turn, labels, split):
    data = Dataset(tmp_path / "data/patches/tiny", labels)
    changes = small(data, train={"epochs": 1}, repeat={"seeds": [1, 2]}, evaluate={"resamples": 100})
    changes["datasets"]["tiny"]["split"] |= dict(zip(constants.SPLITS, split, strict=True))
    done = in_turn(*STAGES, params=changes, before=GUARD)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("data", "baselines", "reports/metrics", "reports/seeds"):
        assert finite(json.loads((tmp_path / f"{name}.json").read_text()))
    for name in ("report.md", "card.md"):
        assert not re.search(r"\b(nan|inf)\b", (tmp_path / name).read_text())


# -- no pickle

# Nobody but multiprocessing, from its own children, may read a pickle.
GUARD = """
import pickle, sys
import numpy, pandas, torch

__name__ = "guard"  # what runs is __main__, and is trusted as little as what it imports

def caller():
    return sys._getframe(2).f_globals["__name__"].partition(".")[0]

def guarded(function, *trusted):
    def call(*args, **kwargs):
        if caller() not in trusted:
            raise AssertionError(f"{caller()} calls {function}")
        return function(*args, **kwargs)
    return call

class Unpickler(pickle.Unpickler):
    def __init__(self, *args, **kwargs):
        raise AssertionError(f"{caller()} calls an Unpickler")

def found(event, names):  # by whatever name a pickle is read
    if event == "pickle.find_class" and caller() not in ("multiprocessing", "guard"):
        raise AssertionError(f"{caller()} reads a pickle with {names}")

pickle.load = guarded(pickle.load, "multiprocessing")
pickle.loads = guarded(pickle.loads, "multiprocessing")
pickle.Unpickler = Unpickler
numpy.load, pandas.read_pickle, torch.load = map(guarded, (numpy.load, pandas.read_pickle, torch.load))
sys.addaudithook(found)
"""
STAGES = (
    "stages preprocess data/patches tensors data.json",
    "stages baseline tensors baselines.json b.csv",
    "stages train tensors m.safetensors l.safetensors history.csv",
    "stages repeat tensors s.safetensors e.safetensors",
    "stages evaluate tensors l.safetensors s.safetensors history.csv b.csv reports",
    "stages report m.safetensors data.json baselines.json history.csv reports/metrics.json reports/seeds.json "
    "reports/predictions.csv reports/per_class.csv report.md card.md",
)


READERS = [
    "from pickle import load; load(open('x', 'rb'))",
    "from pickle import Unpickler; Unpickler(open('x', 'rb')).load()",
    "import _pickle; _pickle.load(open('x', 'rb'))",
    "import torch; torch.load('x')",
    "import numpy; numpy.load('x', allow_pickle=True)",
    "import pandas; pandas.read_pickle('x')",
]


def test_a_stage_that_read_a_pickle_would_be_noticed(tmp_path, in_turn):
    (tmp_path / "x").write_bytes(pickle.dumps(Path))
    for i, code in enumerate(READERS):
        (tmp_path / f"reader{i}.py").write_text(code)
    trap = "try: {0}\nexcept AssertionError as error: print(error)\n"
    codes = [*(f"import reader{i}" for i in range(len(READERS))), *READERS]  # in a module, and in the stage itself
    (tmp_path / "trap.py").write_text("".join(map(trap.format, codes)))
    noticed = in_turn("trap", params={}, before=GUARD).stdout.splitlines()
    expected = [*(f"reader{i}" for i in range(len(READERS))), *["__main__"] * len(READERS)]
    assert [line.split()[0] for line in noticed] == expected


@pytest.mark.parametrize("content", ["pickle", "torch.save"])
def test_a_pickle_named_safetensors_is_refused_and_not_run(dataset, tmp_path, run_stage, content):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    with io.BytesIO() as file:
        if content == "pickle":
            pickle.dump(Harm(), file)
        else:
            torch.save({"weights": Harm()}, file)
        harm = file.getvalue()
    path = tmp_path / "m.safetensors"
    path.write_bytes(harm)
    with pytest.raises(InputError, match="is not a safetensors file from this pipeline"):
        weights.load(path)
    (tmp_path / "tensors").mkdir()
    (tmp_path / "tensors" / "train-00000.safetensors").write_bytes(harm)
    with pytest.raises(InputError, match="is not a safetensors file from this pipeline"):
        tensors.load_split(tmp_path / "tensors", "train")
    assert not (tmp_path / "harmed").exists()


# -- models


def header_of(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A safetensors file with another header, of the length that it says."""
    size = int.from_bytes(content[:8], "little")
    header = change(content[8 : 8 + size])
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


MODELS = {
    "empty": lambda b: b"",
    "cut": lambda b: b[:-1],
    "cut in the header": lambda b: b[:60],
    "longer": lambda b: b + b"x",
    "a header of no length": lambda b: bytes(8) + b[8:],
    "a header longer than the file": lambda b: len(b).to_bytes(8, "little") + b[8:],
    "a header of 2^63 bytes": lambda b: (1 << 63).to_bytes(8, "little") + b[8:],
    "a header that is no JSON": lambda b: header_of(b, lambda _: b"x" * 100),
    "no metadata": lambda b: header_of(b, lambda h: h.replace(b"__metadata__", b"__metadata2__")),
    "metadata that are no JSON": lambda b: header_of(b, lambda h: h.replace(b'"bands":"[', b'"bands":"{')),
    "overlapping tensors": lambda b: header_of(b, lambda h: h.replace(b"offsets\":[0,", b"offsets\":[4,")),
    "another shape": lambda b: header_of(b, lambda h: h.replace(b"[2,2,5,5]", b"[2,5,2,5]")),
    "another name": lambda b: header_of(b, lambda h: h.replace(b"features.0.bias", b"features.9.bias")),
    "another architecture": lambda b: header_of(b, lambda h: h.replace(b'pool\\": 2', b'pool\\": 1')),
    "ten million channels": lambda b: header_of(b, lambda h: h.replace(b'ions\\": [2', b'ions\\": [10000000')),
    "fewer bands": lambda b: header_of(b, lambda h: h.replace(b', \\"B08\\"', b"")),
    "more classes": lambda b: header_of(b, lambda h: h.replace(b'\\"c\\"]', b'\\"c\\", \\"d\\"]')),
}  # fmt: skip


@pytest.mark.parametrize("change", MODELS.values(), ids=MODELS)
def test_a_model_of_another_kind_is_refused(tmp_path, change):
    path = tmp_path / "m.safetensors"
    torch.manual_seed(0)
    chosen, inputs = architecture(convolutions=[2], linear=[], stride=8), Inputs(("B02", "B08"), ("a", "b", "c"), 120)
    weights.save(path, build(chosen, inputs), Metadata(architecture=chosen, inputs=inputs, parameters=1))
    whole = path.read_bytes()
    assert weights.load(path)[1].inputs == inputs
    path.write_bytes(change(whole))
    assert path.read_bytes() != whole
    with pytest.raises(InputError, match=r"is not a (model|safetensors file) from this pipeline") as error:
        weights.load(path)
    assert len(str(error.value).splitlines()) == 1


# -- what the code may not say

FORBIDDEN = {
    "pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "allow_pickle", "read_pickle",
    "unsafe_load", "full_load", "hub", "exec", "eval",
}  # fmt: skip
LOADERS = {"tensors", "json", "params", "model", "loader"}  # modules of our own, and JSON


def names(node: ast.AST) -> list[str]:
    match node:
        case ast.Name(id=name) | ast.keyword(arg=str(name)):
            return [name]
        case ast.Attribute(attr=name):
            return [name] if name != "eval" else []  # a network's own
        case ast.Import(names=found) | ast.ImportFrom(names=found):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in found)]
            return [part for module in modules for part in module.split(".")]
    return []


def test_no_module_names_what_runs_code_from_data():
    folders = (REPOSITORY / name for name in ("stages", "landcover"))
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not FORBIDDEN & set(names(node)), f"{path.name}: {names(node)}"
            match node:
                case ast.Attribute(attr="load" | "loads", value=value):
                    assert isinstance(value, ast.Name), path.name
                    assert value.id in LOADERS, f"{path.name}: {value.id}.{node.attr}"

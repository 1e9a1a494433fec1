"""Random tables, lists, tiles and archives: good ones are read as plain code reads them, damaged ones are refused.

Longer than the suite does:  PYTHONPATH=.:tests python tests/test_fuzz.py ROUNDS [SEED]
"""

import csv
import functools
import gzip
import io
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile

from landcover import config
from landcover.archives import archive
from landcover.constants import BANDS, CLASSES, PATCH_ID, PATCH_SIZE, SPLITS
from landcover.data import patches, splits
from landcover.data.tables import read_tables
from landcover.errors import InputError

examples = settings(derandomize=True, deadline=None, max_examples=80, database=None)


def patch_id(i: int) -> str:
    return f"S2A_MSIL2A_2017061{i % 4}T101031_{i // 4}_7"


# -- tables: labels follow the patch_id, whatever else the tables look like

BAD_CELLS = ("", "nan", "-0.1", "0,1", "0x1", "inf", "True", "1_0", " 0.1")
FORMATS = ("{!r}", "{:.6f}", "{:.3e}", "+{!r}")


@st.composite
def a_table(draw, columns: list[str], rows: list[list[str]]) -> bytes:
    """The rows as CSV: in any order, of rows and of columns, with more columns, other line ends and quotes."""
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    extra = draw(st.lists(st.sampled_from(["", "season", "a,b", 'say "x"', f"x{end}y", "é"]), unique=True, max_size=2))
    order = draw(st.permutations(range(len(columns) + len(extra))))
    cells = st.sampled_from(["", "1", "a,b", 'a "b"', f"a{end}b", "S2A_MSIL2A_X_1_2"])
    text = io.StringIO(draw(st.sampled_from(["", "\ufeff"])))
    text.seek(0, io.SEEK_END)
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    for row in [[*columns, *extra], *([*row, *draw(st.tuples(*[cells] * len(extra)))] for row in rows)]:
        writer.writerow([row[i] for i in order])
    return text.getvalue().encode()


@st.composite
def a_dataset(draw) -> tuple[list[str], dict[str, list[str]], bytes, bytes]:
    """Patches in the order of the meta table, the cells of their WorldCover rows, and the two tables."""
    ids = draw(st.lists(st.integers(0, 40).map(patch_id), unique=True, min_size=1, max_size=6))
    covered = draw(st.lists(st.integers(0, 40).map(patch_id), unique=True, max_size=2))
    covered = list(dict.fromkeys([*covered, *draw(st.lists(st.sampled_from(ids), min_size=len(ids)))]))
    # Few numbers, so that classes tie; eleven of them may exceed 1 together.
    number = st.tuples(st.sampled_from(FORMATS), st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.0625, 0.5]))
    cell = number.map(lambda n: n[0].format(n[1])) | st.sampled_from([*BAD_CELLS, *["0.0"] * 99])
    cover = {i: draw(st.lists(cell, min_size=len(CLASSES), max_size=len(CLASSES))) for i in covered}
    meta = draw(a_table(["patch_id", "lon", "lat"], [[i, "10.5", "-7"] for i in ids]))
    rows = [[i, *cells] for i, cells in cover.items()]
    return ids, cover, meta, draw(a_table(["patch_id", *CLASSES], rows)) if rows else b""


def plain_label(cells: list[str] | None) -> tuple[int, float, bool] | None:
    """Label, majority fraction and whether another class ties, of one row; None if it has no label."""
    if cells is None or any(cell in BAD_CELLS for cell in cells):
        return None
    fractions = [float(cell) for cell in cells]
    if sum(fractions) > 1.01 or max(fractions) == 0:
        return None
    return fractions.index(max(fractions)), max(fractions), fractions.count(max(fractions)) > 1


def read_dataset(folder: str, meta: bytes, cover: bytes):
    root = Path(folder) / "tiny"
    root.mkdir(exist_ok=True)
    (root / "tiny_meta.csv").write_bytes(meta)
    (root / "tiny_esaworldcover.csv").write_bytes(cover)
    return read_tables(root)


@examples
@given(a_dataset())
def test_labels_follow_the_patch_id_whatever_the_tables_look_like(data):
    ids, cover, meta, cover_table = data
    with tempfile.TemporaryDirectory() as folder:
        if not cover:
            with pytest.raises(InputError, match="it has no header"):
                read_dataset(folder, meta, cover_table)
            return
        table = read_dataset(folder, meta, cover_table)
    assert table["patch_id"].tolist() == ids
    assert (table["lon"] == 10.5).all()
    assert (table["lat"] == -7).all()
    for row in table.itertuples():
        expected = plain_label(cover.get(row.patch_id))
        assert bool(row.problem) is (expected is None)
        if expected is not None:
            assert (row.label, row.majority_fraction, row.tied) == expected
        else:
            assert row.label == -1


# -- splits


@examples
@given(
    st.lists(st.sampled_from(["", *SPLITS]), min_size=6, max_size=20),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    st.sampled_from(["{}", '"{}"', " {} "]),
    st.randoms(use_true_random=False),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=2),
)
def test_lists_assign_what_they_name_and_each_fault_is_told(wanted, line_end, form, random, added):
    ids = [patch_id(i) for i in range(len(wanted))]
    table = pd.DataFrame({"patch_id": ids})
    lists = {split: [i for i, of in zip(ids, wanted, strict=True) if of == split] for split in SPLITS}
    for number, i in added:
        lists[SPLITS[number]].append(patch_id(i))
    for listed in lists.values():
        random.shuffle(listed)
    named = [i for listed in lists.values() for i in listed]
    faults = {i for i in named if i not in ids or named.count(i) > 1}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for split, listed in lists.items():
            text = line_end.join(form.format(i) for i in listed)
            (root / f"{root.name}_{split}.csv").write_bytes(text.encode())
        if not faults and all(lists.values()):
            found = list(splits.assign(config.Files(method="files"), table, root).splits)
            assert found == [next((s for s, listed in lists.items() if i in listed), "") for i in ids]
            return
        with pytest.raises(InputError) as error:
            splits.assign(config.Files(method="files"), table, root)
        told = str(error.value).replace(str(root), "")
        assert {i.group() for i in PATCH_ID.finditer(told)} == faults
        assert told.count("lists no patches") == sum(not listed for listed in lists.values())


@examples
@given(
    st.lists(st.integers(0, 6), min_size=3, max_size=60), st.integers(0, 9), st.floats(0.01, 0.6), st.floats(0.01, 0.3)
)
def test_whole_tiles_are_held_out_and_each_split_has_one(tiles, seed, test, val):
    table = pd.DataFrame(
        {"tile": [f"32U{name}" for name in tiles], "lon": 10.0, "lat": 50.0, "label": 0, "problem": ""}
    )
    split = config.Place(method="place", groups="tile", buffer_km=0, val=val, test=test, seed=seed)
    if len(set(tiles)) < 3:
        with pytest.raises(InputError, match="3 are needed"):
            splits.assign(split, table, Path("tiny"))
        return
    found = splits.assign(split, table, Path("tiny")).splits
    assert set(found) == set(SPLITS)
    assert len(set(zip(tiles, found, strict=True))) == len(set(tiles))


# -- damage


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some bits flipped, cut, overwritten with a telling number, or with a piece of them elsewhere."""
    found = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if not found:
            break
        # Half of the damage is done to where headers are.
        end = min(len(found), int(rng.choice([600, len(found)])))
        place = int(rng.integers(end))
        length = int(rng.integers(1, 64))
        match rng.integers(6):
            case 0 | 1:
                found[place] ^= 1 << int(rng.integers(8))
            case 2:
                del found[place : place + length * int(rng.choice([1, 10**9]))]
            case 3:
                telling = rng.choice([0, 1, 2, 0x7F, 0xFF, ord(","), ord('"'), ord("\n"), ord("."), ord("/")])
                width = int(rng.choice([1, 2, 4, 8]))
                found[place : place + width] = bytes([int(telling)]) * width
            case 4:
                origin = int(rng.integers(len(found)))
                found[place : place + length] = found[origin : origin + length]
            case 5:
                found[place:place] = rng.bytes(length)
    return bytes(found)


def one_line(error: InputError) -> bool:
    """That nothing was read, once the error is known to be fit to be told."""
    assert len(str(error).splitlines()) == 1
    return False


class Memory:
    """The tiles of a dataset that has one tile."""

    def __init__(self, content: bytes):
        self.content = content

    def read(self, *_) -> bytes:
        return self.content


@functools.cache
def whole_tiles() -> list[tuple[str, bytes]]:
    """(band, GeoTIFF) of all kinds that are read."""
    found = []
    for band, side in (("B02", 120), ("B11", 60)):
        pixels = np.random.default_rng(0).integers(0, 4000, (1, side, side)).astype(np.uint16)
        for profile in (
            {}, {"blockysize": 34}, {"nodata": 7}, {"compress": "deflate", "predictor": 2}, {"compress": "lzw"},
            {"tiled": True, "blockxsize": 64, "blockysize": 64}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"},
            {"compress": "zstd", "tiled": True, "blockxsize": 128, "blockysize": 128}, {"nbits": 12},
        ):  # fmt: skip
            metres = BANDS[band]
            grid = rasterio.transform.from_origin(500_000, 5_000_000, metres, metres)
            place = {"crs": "EPSG:32633", "transform": grid}
            shape = {"driver": "GTiff", "count": 1, "height": side, "width": side, "dtype": "uint16"}
            with MemoryFile() as file:
                with file.open(**shape, **place, **profile) as tile:
                    tile.write(pixels)
                found.append((band, file.read()))
    return found


def fuzz_tile(rng: np.random.Generator) -> bool:
    band, content = whole_tiles()[rng.integers(len(whole_tiles()))]
    content = damaged(content, rng)
    try:
        (found,) = patches.read_patch(Memory(content), "S2A_MSIL2A_X_1_2", [band], "nearest").numbers
    except ValueError:
        return False
    with MemoryFile(content) as file:
        try:
            tile = file.open(driver="GTiff")
        except UnicodeDecodeError:  # in the name of its coordinate system, which no pixel depends on
            return True
        assert (tile.count, tile.dtypes) == (1, ("uint16",))
        expected = tile.read(1)
        expected[expected == tile.nodata] = 0
        # Of damaged deflate data libtiff leaves the last bytes undefined, without a word.
        if tile.compression is None:
            step = PATCH_SIZE // len(expected)
            assert (found == expected.repeat(step, 0).repeat(step, 1)).all()
    return True


def fuzz_tables(rng: np.random.Generator) -> bool:
    ids = [patch_id(i) for i in range(5)]
    parts = rng.integers(0, 9, (5, len(CLASSES))) / 88
    meta = "patch_id,season,lon,lat\n" + "".join(f"{i},spring,10.5,{45 + n}\n" for n, i in enumerate(ids))
    cover = f"patch_id,{','.join(CLASSES)}\n"
    cover += "".join(f"{i},{','.join(map(repr, row.tolist()))}\n" for i, row in zip(ids, parts, strict=True))
    first = rng.random() < 0.5
    tables = [
        damaged(text.encode(), rng) if harm else text.encode() for text, harm in ((meta, first), (cover, not first))
    ]
    try:
        with tempfile.TemporaryDirectory() as folder:
            table = read_dataset(folder, *tables)
    except InputError as error:
        return one_line(error)
    assert table["patch_id"].is_unique
    assert table["patch_id"].map(PATCH_ID.fullmatch).all()
    good = table[table["problem"] == ""]
    assert (good["lon"].abs() <= 180).all()
    assert (good["lat"].abs() <= 90).all()
    assert good["label"].between(0, 10).all()
    assert good["majority_fraction"].between(0, 1.01, "right").all()
    if first:  # the labels are those of the whole table
        for row in good.itertuples():
            expected = parts[ids.index(row.patch_id)]
            assert (row.label, row.majority_fraction) == (expected.argmax(), expected.max())
    return True


@functools.cache
def whole_archives() -> list[bytes]:
    """Tarballs, not packed, of three formats."""
    name = "tiny/sentinel-2/" + "/".join(f"S2A_MSIL2A_{'N' * 60}_1_2{end}" for end in ("", "_B02.tif"))
    found = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with io.BytesIO() as file:
            with tarfile.open(fileobj=file, mode="w", format=form) as tar:
                for path in ("tiny/tiny_meta.csv", name, "tiny/é.csv"):
                    member = tarfile.TarInfo(path)
                    member.size = 700
                    tar.addfile(member, io.BytesIO(bytes(range(100)) * 7))
                link = tarfile.TarInfo("tiny/link")
                link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
                tar.addfile(link)
            found.append(file.getvalue())
    return found


def fuzz_archive(rng: np.random.Generator) -> bool:
    content = whole_archives()[rng.integers(3)]
    packed = rng.random() < 0.2
    content = gzip.compress(content if packed else damaged(content, rng), 1, mtime=0)
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / "outside").mkdir()
        (top / "inside").mkdir()
        (top / "a.tar.gz").write_bytes(damaged(content, rng) if packed else content)
        try:
            archive.extract(
                top / "a.tar.gz", top / "inside", lambda path: "." in str(path), max_members=20, max_gigabytes=1e-4
            )
            read = True
        except InputError as error:
            read = one_line(error)
        assert {path.name for path in top.iterdir()} == {"a.tar.gz", "inside", "outside"}
        assert not list((top / "outside").iterdir())
        for path in (top / "inside").rglob("*"):
            assert not path.is_symlink()
            assert path.is_dir() or path.stat().st_size <= 1e5
    return read


TARGETS = [fuzz_tile, fuzz_tables, fuzz_archive]


def fuzz(target: Callable[[np.random.Generator], bool], rounds: int, seed: int = 0) -> int:
    """Run so many rounds; how often the damaged input was still read."""
    read = 0
    for number in range(rounds):
        try:
            read += target(np.random.default_rng([seed, number]))
        except BaseException as error:
            error.add_note(f"{target.__name__}, seed {seed}, round {number}")
            raise
    return read


@pytest.mark.parametrize("target", TARGETS)
def test_damage_is_refused_or_changes_nothing_that_was_promised(target):
    assert 0 < fuzz(target, 400) < 400


if __name__ == "__main__":
    for target in TARGETS:
        count = int(sys.argv[1])
        print(f"{target.__name__}: {fuzz(target, count, int((sys.argv[2:] or [0])[0]))} of {count} were read")

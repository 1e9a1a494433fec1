import hashlib
import re
from pathlib import Path

import pytest

from landcover.config import Unpacking
from landcover.data import archive
from landcover.errors import InputError
from stages.unpack import SUMS, unpack

PATCH = "S2A_MSIL2A_20170613T101031_0_7"
META = ("tiny/tiny_meta.csv", b"patch_id\n")
BOUNDS = Unpacking(layout="files", max_members=100, max_gigabytes=0.01)


def unpacked(tmp_path: Path, *members: tuple[str, bytes]) -> set[str]:
    """Unpack these members to tmp_path/data/patches; the names of the files that are there then."""
    archive.write(tmp_path / "a.tar.gz", members)
    patches = tmp_path / "data" / "patches"
    unpack(tmp_path / "a.tar.gz", patches, inputs=["sentinel-2"], bands=["B02"], unpack=BOUNDS)
    found = {str(p.relative_to(patches)) for p in patches.rglob("*") if p.is_file()}
    assert SUMS in found
    return found - {SUMS}


def test_tables_lists_and_tiles_of_the_chosen_bands_are_unpacked(tmp_path):
    tile = f"tiny/sentinel-2/{PATCH}/{PATCH}"
    wanted = {META[0], "tiny/splits/tiny_train.csv", f"{tile}_B02.tif"}
    others = {f"{tile}_B03.tif", f"{tile}_labels_metadata.json", f"tiny/dem/{PATCH}_dem.tif", "README.md"}
    assert unpacked(tmp_path, *((name, b"x") for name in wanted | others)) == wanted


RADAR = "S1A_IW_GRDH_1SDV_20170615T050000_33UUP_0_7"
TILES = {
    "sentinel-2": {f"sentinel-2/{PATCH}/{PATCH}_B02.tif"},
    "sentinel-1": {f"sentinel-1/{RADAR}/{RADAR}_VV.tif", f"sentinel-1/{RADAR}/{RADAR}_VH.tif"},
    "elevation": {f"dem/{PATCH}_dem.tif"},
}


@pytest.mark.parametrize("inputs", [["sentinel-2"], ["sentinel-1"], ["elevation", "season"], [*TILES, "weather"]])
@pytest.mark.parametrize("layout", ["files", "bundles"])
def test_only_the_tiles_of_the_chosen_inputs_are_unpacked(tmp_path, inputs, layout):
    tables = {"tiny/tiny_meta.csv", "tiny/tiny_era-5.csv"}
    others = {f"tiny/sentinel-1/{RADAR}/{RADAR}_labels_metadata.json", f"tiny/esaworldcover/{PATCH}_esaworldcover.tif"}
    others |= {"tiny/README", f"tiny/dem/{PATCH}.tif", f"tiny/dem/{PATCH}/{PATCH}_dem.tif"}
    tiles = {f"tiny/{path}" for paths in TILES.values() for path in paths}
    archive.write(tmp_path / "a.tar.gz", [(name, b"x") for name in sorted(tables | others | tiles)])
    bounds = BOUNDS.model_copy(update={"layout": layout})
    unpack(tmp_path / "a.tar.gz", tmp_path / "out", inputs=inputs, bands=["B02"], unpack=bounds)
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    wanted = {f"tiny/{path}" for name in inputs for path in TILES.get(name, ())}
    if layout == "bundles":
        folders = {path.split("/")[1] for path in wanted}
        wanted = {f"tiny/{folder}{end}" for folder in folders for end in ("-00000.tar", ".csv")}
    assert found == tables | wanted
    listed = {line.split("  ")[1] for line in (tmp_path / "out" / SUMS).read_text().splitlines()}
    assert listed == tables | {f"tiny/{path}" for name in inputs for path in TILES.get(name, ())}


def test_the_sums_are_those_of_the_files_in_whatever_layout(tmp_path):
    tile = f"tiny/sentinel-2/{PATCH}/{PATCH}_B02.tif"
    unpacked(tmp_path, META, (tile, b"pixels"))
    sums = (tmp_path / "data" / "patches" / SUMS).read_text()
    digests = hashlib.sha256(META[1]).hexdigest(), hashlib.sha256(b"pixels").hexdigest()
    assert sums == f"{digests[0]}  {META[0]}\n{digests[1]}  {tile}\n"
    bundles = BOUNDS.model_copy(update={"layout": "bundles"})
    unpack(tmp_path / "a.tar.gz", tmp_path / "other", inputs=["sentinel-2"], bands=["B02"], unpack=bundles)
    assert (tmp_path / "other" / SUMS).read_text() == sums


def test_the_bar_moves_with_the_bytes_of_the_archive(tmp_path, terminal):
    tiles = [(f"tiny/dem/{number}.tif", bytes(1 << 20)) for number in range(4)]  # passed over, and counted
    unpacked(tmp_path, META, *tiles)
    shares = [int(share) for share in re.findall(r"unpack: +(\d+)%", terminal.getvalue())]
    assert shares == sorted(shares)
    assert {0, 100} < set(shares)


FAULTS = {
    "empty": ("contains no <name>/<name>_meta.csv", []),
    "something else": ("contains no <name>/<name>_meta.csv", [("readme.txt", b"")]),
    "no root": ("contains no <name>/<name>_meta.csv", [("tiny_meta.csv", b"")]),
    "root too deep": ("contains no <name>/<name>_meta.csv", [("data/tiny/tiny_meta.csv", b"")]),
    "hostile at the end": ("unsafe archive: '../escaped.csv' points outside", [META, ("../escaped.csv", b"")]),
    "a bomb": ("unpack.max_gigabytes", [META, ("tiny/a.csv", bytes(10**7))]),
    "many members": ("unpack.max_members", [META, *((f"tiny/{i}.csv", b"") for i in range(100))]),
}


@pytest.mark.parametrize(("reason", "members"), FAULTS.values(), ids=FAULTS)
def test_what_was_there_stays_when_it_goes_wrong(tmp_path, reason, members):
    unpacked(tmp_path, META)
    with pytest.raises(InputError, match=reason):
        unpacked(tmp_path, *members)
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*")) if p.is_file()] == [
        "a.tar.gz",
        f"data/patches/{SUMS}",
        "data/patches/tiny/tiny_meta.csv",
    ]

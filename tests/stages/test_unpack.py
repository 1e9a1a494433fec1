import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny import entry

from landcover.archives import archive
from landcover.config import Unpacking
from landcover.errors import InputError
from stages.unpack import SUMS, unpack

PATCH, RADAR = "S2A_MSIL2A_20170613T101031_0_7", "S1A_IW_GRDH_1SDV_20170615T050000_33UUP_0_7"
META = ("tiny/tiny_meta.csv", b"patch_id\n")
LIMITS = Unpacking(max_members=100, max_gigabytes=0.01)


def unpacked(tmp_path: Path, *members: tuple[str, bytes], inputs: Sequence[str] = ("sentinel-2",), **facts) -> dict:
    """Unpack these members to tmp_path/data/patches; the files that are there then, and their sums in SHA256SUMS."""
    archive.write(tmp_path / "archive", members)
    patches = tmp_path / "data" / "patches"
    datasets = {"tiny": entry(**{"layout": "ben-ge"} | facts)}
    options = {"dataset": "tiny", "datasets": datasets, "inputs": list(inputs), "bands": ["B02"], "unpack": LIMITS}
    unpack(tmp_path / "archive", patches, **options)
    sums = dict(reversed(line.split("  ")) for line in (patches / SUMS).read_text().splitlines())
    assert {str(p.relative_to(patches)) for p in patches.rglob("*") if p.is_file()} == {SUMS, *sums}
    return sums


def test_tables_and_split_files_are_unpacked_with_their_sums(tmp_path):
    needed = {META[0]: META[1], "tiny/tiny_era-5.csv": b"x", "tiny/splits/tiny_train.csv": b"y"}
    others = dict.fromkeys(("tiny/README", "README.md", "tiny/deep/splits/x.csv"), b"")
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in needed.items()}
    assert unpacked(tmp_path, *(needed | others).items()) == expected


TILES = {
    "sentinel-2": {f"tiny/sentinel-2/{PATCH}/{PATCH}_B02.tif"},
    "sentinel-1": {f"tiny/sentinel-1/{RADAR}/{RADAR}_VV.tif", f"tiny/sentinel-1/{RADAR}/{RADAR}_VH.tif"},
    "elevation": {f"tiny/dem/{PATCH}_dem.tif"},
}


@pytest.mark.parametrize("inputs", [["sentinel-2"], ["sentinel-1"], ["elevation", "season"], [*TILES, "weather"]])
def test_only_the_tiles_of_the_chosen_inputs_are_unpacked(tmp_path, inputs):
    others = {f"tiny/sentinel-2/{PATCH}/{PATCH}_B03.tif", f"tiny/sentinel-2/{PATCH}/{PATCH}_labels_metadata.json"}
    others |= {f"tiny/esaworldcover/{PATCH}_esaworldcover.tif", f"tiny/dem/{PATCH}.tif", f"tiny/dem/{PATCH}/x_dem.tif"}
    names = sorted(others.union(*TILES.values()))
    files = unpacked(tmp_path, META, *((name, b"x") for name in names), inputs=inputs)
    assert set(files) == {META[0]}.union(*(TILES.get(name, ()) for name in inputs))


@pytest.mark.parametrize(
    ("layout", "needed"),
    [("folders", "x/a/1.JPG x/b/2.tif"), ("table", "x/a/1.JPG x/b/2.tif x/t.csv x/m.parquet"), (None, "")],
)
def test_images_and_tables_are_unpacked_as_the_layout_needs_them(tmp_path, layout, needed):
    names = [META[0], "x/a/1.JPG", "x/b/2.tif", "x/t.csv", "x/m.parquet"]
    others = ["x/readme.txt", "x/a/Thumbs.db", "__MACOSX/x/a/1.jpg", "x/a/._1.jpg"]
    files = unpacked(tmp_path, *((name, b"x") for name in names + others), layout=layout)
    assert set(files) - {META[0]} == set(needed.split() or names[1:])


def test_images_of_a_kind_that_is_not_read_are_told(tmp_path, capfd):
    names = ["x/a/1.jpg", "x/a/2.bmp", "x/b/3.JP2", "x/b/._4.bmp"]
    unpacked(tmp_path, *((name, b"x") for name in names), layout="folders")
    assert "warning: tiny: 2 images, for example x/a/2.bmp, are of a kind that is not read; " in capfd.readouterr().err
    with pytest.raises(InputError, match=r"contains no image .*, but 1 files such as a/2.bmp; check the source"):
        unpacked(tmp_path, ("a/2.bmp", b""), layout="folders")


def test_bar_moves_with_the_bytes_of_the_archive(tmp_path, terminal):
    tiles = [(f"tiny/dem/{number}.tif", bytes(1 << 20)) for number in range(4)]  # passed over, and counted
    unpacked(tmp_path, META, *tiles)
    shares = [int(share) for share in re.findall(r"read: +(\d+)%", terminal.getvalue())]
    assert shares == sorted(shares)
    assert {0, 100} < set(shares)


FAULTS = {
    "empty": ("is another kind of file", []),
    "something else": ("contains no <name>/<name>_meta.csv", [("readme.txt", b"")]),
    "no root": ("contains no <name>/<name>_meta.csv", [("tiny_meta.csv", b"")]),
    "root too deep": ("contains no <name>/<name>_meta.csv", [("data/tiny/tiny_meta.csv", b"")]),
    "hostile at the end": ("unsafe archive: '../escaped.csv' points outside", [META, ("../escaped.csv", b"")]),
    "no image": ("contains no image", [("readme.txt", b"")], "folders"),
    "a bomb": ("unpack.max_gigabytes", [META, ("tiny/a.csv", bytes(10**7))]),
    "many members": ("unpack.max_members", [META, *((f"tiny/{i}.csv", b"") for i in range(100))]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_old_patches_stay_if_unpacking_fails(tmp_path, fault):
    reason, members, *layout = FAULTS[fault]
    unpacked(tmp_path, META)
    with pytest.raises(InputError, match=reason):
        unpacked(tmp_path, *members, layout=(layout or ["ben-ge"])[0])
    left = [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*")) if p.is_file()]
    assert left == ["archive", f"data/patches/{SUMS}", "data/patches/tiny/tiny_meta.csv"]

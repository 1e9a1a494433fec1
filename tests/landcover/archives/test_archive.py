import gzip
import io
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from landcover.archives import archive
from landcover.errors import InputError

MEMBERS = [("tiny/a.csv", b"1,2\n"), ("tiny/big.tif", bytes(range(256)) * 1000), ("tiny/empty", b"")]
END = bytes(1024)


def member(name: str, size: int = 1, **facts) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in ({"size": size} | facts).items():
        setattr(info, key, value)
    return info


def other(kind: bytes, target: str = "", name: str = "tiny/a.csv") -> tarfile.TarInfo:
    """A member that is no file."""
    return member(name, 0, type=kind, linkname=target)


def block(info: tarfile.TarInfo, content: bytes | None = None, form: int = tarfile.GNU_FORMAT) -> bytes:
    """A member as it stands in a tarball; its content need not be what its header says."""
    content = b"x" * info.size if content is None else content
    return info.tobuf(form) + content + bytes(-len(content) % 512)


def tar(*members: tarfile.TarInfo) -> bytes:
    return b"".join(map(block, members)) + END


def extract(
    tmp_path: Path,
    packed: bytes,
    wanted: Callable[[PurePosixPath], bool] = lambda path: True,
    max_members: int = 1000,
    max_gigabytes: float = 0.01,
) -> dict[str, bytes]:
    """Extract to tmp_path/deep/out and return the files by name, having checked that nothing else came to be."""
    path, out = tmp_path / "a.tar.gz", tmp_path / "deep" / "out"
    path.write_bytes(packed)
    try:
        count = archive.extract(path, out, wanted, max_members=max_members, max_gigabytes=max_gigabytes)
    finally:
        assert {p.name for p in tmp_path.iterdir()} <= {"a.tar.gz", "deep"}
        assert {p.name for p in (tmp_path / "deep").glob("*")} <= {"out"}
        paths = [p for p in out.rglob("*") if p.is_symlink() or not p.is_dir()]
        assert all(p.is_file() and not p.is_symlink() and p.stat().st_nlink == 1 for p in paths)
    assert count == len(paths)
    return {str(p.relative_to(out)): p.read_bytes() for p in paths}


def refused(tmp_path: Path, packed: bytes, **options) -> str:
    with pytest.raises(InputError) as error:
        extract(tmp_path, packed, **options)
    message = str(error.value).removeprefix(f"{tmp_path}/")
    assert message.isprintable()
    assert len(message) < 600
    return message


def test_what_is_written_can_be_read_by_others(tmp_path):
    archive.write(tmp_path / "a.tar.gz", MEMBERS)
    with gzip.open(tmp_path / "a.tar.gz") as plain, tarfile.open(fileobj=plain) as tar:
        assert [(m.name, tar.extractfile(m).read()) for m in tar] == MEMBERS


def test_the_same_members_give_the_same_bytes(tmp_path):
    for name in "ab":
        archive.write(tmp_path / f"{name}.tar.gz", iter(MEMBERS))
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


def test_a_failed_write_leaves_nothing(tmp_path):
    def members():
        yield MEMBERS[0]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        archive.write(tmp_path / "a.tar.gz", members())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_others_write_can_be_read(tmp_path, form):
    names = ["./tiny/a.csv", "tiny//b.csv", f"tiny/{'c' * 70}/{'d' * 70}.csv"]
    if form != tarfile.USTAR_FORMAT:
        names += [f"tiny/{'e' * 200}.csv", "tiny/\u017e.csv"]
    with tarfile.open(tmp_path / "others.tar.gz", "w:gz", format=form, pax_headers={"comment": "global"}) as others:
        others.addfile(member("tiny", 4096, type=tarfile.DIRTYPE))  # a size, but no content
        for name in names:
            info = member(name, 700, mtime=1.5, mode=0o6777, pax_headers={"SCHILY.xattr.user.x": "=\n" * 5000})
            others.addfile(info, io.BytesIO(b"x" * 700))
    packed = (tmp_path / "others.tar.gz").read_bytes()
    (tmp_path / "others.tar.gz").unlink()
    assert extract(tmp_path, packed) == {os.path.normpath(name): b"x" * 700 for name in names}


def test_a_pax_header_may_tell_the_size(tmp_path):
    info = member("tiny/a.csv", 0, pax_headers={"size": "600"})
    packed = block(info, b"x" * 600, tarfile.PAX_FORMAT) + tar(member("tiny/b.csv"))
    assert extract(tmp_path, gzip.compress(packed)) == {"tiny/a.csv": b"x" * 600, "tiny/b.csv": b"x"}


def test_only_the_wanted_members_are_written(tmp_path):
    archive.write(tmp_path / "a.tar.gz", MEMBERS)
    packed = (tmp_path / "a.tar.gz").read_bytes()
    assert extract(tmp_path, packed, wanted=lambda path: path.suffix == ".csv") == dict(MEMBERS[:1])


def test_a_gzip_file_may_be_in_pieces_and_padded(tmp_path):
    plain = tar(member("tiny/a.csv", 5000), member("tiny/b.csv"))
    packed = b"".join(gzip.compress(plain[start : start + 700]) for start in range(0, len(plain), 700))
    assert set(extract(tmp_path, packed + bytes(5000))) == {"tiny/a.csv", "tiny/b.csv"}


HOSTILE = {
    "parent": ("points outside", member("../escaped.csv")),
    "parent within": ("points outside", member("tiny/../../escaped.csv")),
    "parent folder": ("points outside", member("../escaped", 0, type=tarfile.DIRTYPE)),
    "absolute": ("points outside", member("/tmp/escaped.csv")),
    "two slashes": ("points outside", member("//tmp/escaped.csv")),
    "symlink out": ("is not a regular file", other(tarfile.SYMTYPE, "../../escaped.csv")),
    "symlink absolute": ("is not a regular file", other(tarfile.SYMTYPE, "/etc/passwd")),
    "symlink inside": ("is not a regular file", member("tiny/b.csv"), other(tarfile.SYMTYPE, "b.csv")),
    "through a symlink": (
        "is not a regular file",
        other(tarfile.SYMTYPE, "../..", name="tiny"),
        member("tiny/escaped.csv"),
    ),
    "hard link out": ("is not a regular file", other(tarfile.LNKTYPE, "../../a.tar.gz")),
    "hard link inside": ("is not a regular file", member("tiny/b.csv"), other(tarfile.LNKTYPE, "tiny/b.csv")),
    "character device": ("is not a regular file", other(tarfile.CHRTYPE)),
    "block device": ("is not a regular file", other(tarfile.BLKTYPE)),
    "pipe": ("is not a regular file", other(tarfile.FIFOTYPE)),
    "unknown type": ("is not a regular file", other(b"Z")),
    "sparse": ("is sparse", other(tarfile.GNUTYPE_SPARSE)),
    "twice": ("'tiny/a.csv' would overwrite 'tiny/a.csv'", member("tiny/a.csv"), member("./tiny//a.csv")),
    "case": ("'tiny/A.csv' would overwrite 'tiny/a.csv'", member("tiny/a.csv"), member("tiny/A.csv")),
    "folder's case": ("'tiny/A' would overwrite 'tiny/a'", member("tiny/a/1.csv"), member("tiny/A/2.csv")),
    "sharp s": ("would overwrite", member("tiny/stra\u00dfe.csv"), member("tiny/STRASSE.csv")),
    "normal form": ("would overwrite", member("tiny/\u00e9.csv"), member("tiny/e\u0301.csv")),
    "file, then folder": ("'tiny/a' would overwrite 'tiny/a'", member("tiny/a"), member("tiny/a/b.csv")),
    "folder, then file": ("'tiny/a' would overwrite 'tiny/a'", member("tiny/a/b.csv"), member("tiny/a")),
    "no name": ("is not a valid file name", member("./")),
    "newline": ("is not a valid file name", member("tiny/a\nb.csv")),
    "escape": ("is not a valid file name", member("tiny/\x1b[2Ja.csv")),
    "right to left": ("is not a valid file name", member("tiny/\u202evsc.csv")),
    "backslash": ("is not a valid file name", member("tiny/..\\..\\escaped.csv")),
    "not UTF-8": ("is not a valid file name", member("tiny/\udcff.csv")),
    "overlong": ("is not a valid file name", member("tiny/" + "a" * 247 + ".csv")),
    "overlong in UTF-8": ("is not a valid file name", member("tiny/" + "\u017e" * 126)),
    "many folders": ("is not a valid file name", member("a/" * 100_000 + "a.csv")),
}


@pytest.mark.parametrize(("reason", "members"), [(r, m) for r, *m in HOSTILE.values()], ids=HOSTILE)
def test_hostile_members_are_refused(tmp_path, reason, members):
    message = refused(tmp_path, gzip.compress(tar(member("tiny/good.csv"), *members)))
    assert message.startswith("a.tar.gz: unsafe archive: ")
    assert reason in message


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_sparse_members_of_pax_are_refused(tmp_path, version):
    records = {
        "0.0": {"GNU.sparse.size": "9999999999", "GNU.sparse.numblocks": "1"},
        "0.1": {"GNU.sparse.map": "0,512", "GNU.sparse.size": "9999999999"},
        "1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9999999999"},
    }
    packed = block(member("tiny/a.csv", pax_headers=records[version]), form=tarfile.PAX_FORMAT) + END
    assert "'tiny/a.csv' is sparse" in refused(tmp_path, gzip.compress(packed))


def test_what_is_not_wanted_may_be_anything_inside(tmp_path):
    packed = tar(
        other(tarfile.SYMTYPE, "/etc"),
        other(tarfile.LNKTYPE, "../../a.tar.gz"),
        other(tarfile.CHRTYPE),
        other(tarfile.FIFOTYPE),
        member("tiny/\udcff\n\\", 700, type=b"Z"),
        member("tiny/a.csv"),
        member("TINY/a.csv"),
        member("tiny/b.tif", mode=0o6777),
    )
    assert extract(tmp_path, gzip.compress(packed), wanted=lambda path: path.suffix == ".tif") == {"tiny/b.tif": b"x"}


def test_modes_are_not_taken_over(tmp_path):
    extract(tmp_path, gzip.compress(tar(member("tiny/a.csv", mode=0o6777), member("tiny/b.csv", mode=0))))
    modes = {p.stat().st_mode & 0o7111 for p in (tmp_path / "deep" / "out" / "tiny").iterdir()}
    assert modes == {0}


def test_members_are_bounded(tmp_path):
    plain = tar(*(member(f"tiny/{i}.csv", 0) for i in range(5)))
    assert "exceeds unpack.max_members" in refused(tmp_path, gzip.compress(plain), max_members=4)
    shutil.rmtree(tmp_path / "deep")
    assert len(extract(tmp_path, gzip.compress(plain), max_members=5)) == 5


def test_a_million_empty_members_are_bounded(tmp_path):
    packed = gzip.compress(block(member("tiny/a.csv", 0)) * 10_000) * 100
    message = refused(tmp_path, packed, wanted=lambda path: False, max_members=20_000, max_gigabytes=1)
    assert message == "a.tar.gz: exceeds unpack.max_members; if you trust it, raise that limit"


ZEROS = gzip.compress(bytes(10 * 10**6))
BOMBS = {
    "wanted member": block(member("tiny/a.csv", 10**10), b""),
    "unwanted member": block(member("tiny/a.tif", 10**10), b""),
    "many members": b"".join(block(member(f"tiny/{i}.csv", 10**6), bytes(10**6)) for i in range(11)),
    "unknown type": block(member("tiny/a.tif", 10**10, type=b"Z"), b""),
    "size of a pax header": block(member("tiny/a.csv", 0, pax_headers={"size": "9" * 18}), b"", tarfile.PAX_FORMAT),
    "padding after the end": END,
}


@pytest.mark.parametrize("plain", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_bounded(tmp_path, plain):
    message = refused(tmp_path, gzip.compress(plain) + ZEROS * 1000, wanted=lambda path: path.suffix == ".csv")
    assert message == "a.tar.gz: exceeds unpack.max_gigabytes; if you trust it, raise that limit"
    written = [p.stat().st_size for p in (tmp_path / "deep").rglob("*.csv")]
    assert sum(written) <= 10**7


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("size", [10**10, 2 << 20, -512])
def test_an_extension_of_absurd_size_is_refused(tmp_path, kind, size):
    packed = gzip.compress(block(member("tiny/a.csv", size, type=kind), b"")) + ZEROS
    message = refused(tmp_path, packed, max_gigabytes=100)
    assert message.startswith(f"a.tar.gz: damaged archive: an extended header has {size} bytes")


@pytest.mark.parametrize(
    "records",
    [
        b"x",
        b"5 a=b",
        b"5 a=b\n\n",
        b"0 a=b\n",
        b"6 a=b\n0 a=b\n",
        b"3 a=b\n",
        b"99999999 a=b\n",
        b"-6 a=b\n",
        b"\xb2 a=b\n",
        b"9" * 10**6,
    ],
)
def test_a_malformed_pax_header_is_refused(tmp_path, records):
    packed = block(member("x", len(records), type=tarfile.XHDTYPE), records) + tar(member("tiny/a.csv"))
    assert "damaged archive: a pax header is malformed" in refused(tmp_path, gzip.compress(packed))


@pytest.mark.parametrize("size", ["-1", "1e3", "", "0x10", "9" * 5000])
def test_a_size_that_is_no_number_is_refused(tmp_path, size):
    packed = block(member("tiny/a.csv", 0, pax_headers={"size": size}), b"", tarfile.PAX_FORMAT) + END
    assert "damaged archive: 'tiny/a.csv' has no valid size" in refused(tmp_path, gzip.compress(packed))


def test_a_negative_size_is_refused(tmp_path):
    assert "has no valid size" in refused(tmp_path, gzip.compress(block(member("tiny/a.csv", -512), b"") + END))


PLAIN = tar(member("tiny/a.csv", 3000), member("tiny/b.tif", 1000), member("tiny/c.csv", 10))
WITHOUT_END = PLAIN[: -len(END)]


def zipped() -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as other:
        other.writestr("tiny/a.csv", "x")
    return file.getvalue()


DAMAGED = {
    "an empty file": b"",
    "a gzip file of nothing": gzip.compress(b""),
    "a plain tarball": PLAIN,
    "a zip file": zipped(),
    "a page": b"<!DOCTYPE html><title>404</title>",
    "no tarball": gzip.compress(random.Random(0).randbytes(5000)),
    "a header cut": gzip.compress(PLAIN[:300]),
    "a member cut": gzip.compress(PLAIN[:1000]),
    "no end": gzip.compress(WITHOUT_END),
    "a header flipped": gzip.compress(PLAIN.replace(b"b.tif", b"b.tiff")),
    "another tarball after the end": gzip.compress(PLAIN) + gzip.compress(PLAIN),
    "garbage after the tarball": gzip.compress(PLAIN + b"x"),
    "garbage after gzip": gzip.compress(PLAIN) + b"garbage",
    "garbage after padding": gzip.compress(PLAIN) + bytes(100) + b"garbage",
    "a wrong checksum": gzip.compress(PLAIN)[:-8] + b"\0\0\0\0" + gzip.compress(PLAIN)[-4:],
    "a wrong length": gzip.compress(PLAIN)[:-4] + b"\0\0\0\0",
}


@pytest.mark.parametrize("packed", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_whole_tarball_is_refused(tmp_path, packed):
    assert refused(tmp_path, packed).startswith("a.tar.gz: damaged archive: ")


def noisy() -> bytes:
    """A packed tarball that hardly compresses, so that the damage is mostly to content."""
    content = random.Random(0).randbytes(20_000)
    return gzip.compress(block(member("tiny/a.tif", 20_000), content) + block(member("tiny/b.csv", 10)) + END)


@pytest.mark.parametrize("place", [0, 1, 5, 10, 15, 50, 500, 10_000, -300, -100, -20, -9, -8, -5, -4, -1])
def test_a_truncated_archive_is_refused(tmp_path, place):
    assert "damaged archive" in refused(tmp_path, noisy()[:place])


# Not of 3 ... 9, the time and system of packing, and not of -9, where bits may be padding.
@pytest.mark.parametrize("place", [0, 1, 2, 10, 15, 50, 500, 10_000, -300, -100, -20, -8, -5, -4, -1])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_is_found(tmp_path, place, bit):
    packed = bytearray(noisy())
    packed[place] ^= 1 << bit
    assert refused(tmp_path, bytes(packed))

import gzip
import hashlib
import io
import random
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from landcover.archives import archive
from landcover.errors import InputError

END = bytes(1024)


def member(name: str, size: int = 1, **facts) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in ({"size": size} | facts).items():
        setattr(info, key, value)
    return info


def block(info: tarfile.TarInfo, content: bytes | None = None, form: int = tarfile.GNU_FORMAT) -> bytes:
    """A member as it stands in a tar; its content need not be what its header says."""
    content = b"x" * info.size if content is None else content
    return info.tobuf(form) + content + bytes(-len(content) % 512)


def tar(*members: tarfile.TarInfo) -> bytes:
    return b"".join(map(block, members)) + END


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w", method) as packed, warnings.catch_warnings(action="ignore"):
        for name, content in members:
            # Not with the time of day, which pytest's names of cases would show.
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            packed.writestr(info, content, method)
    return file.getvalue()


def extract(
    tmp_path: Path,
    packed: bytes,
    needed: Callable[[PurePosixPath], bool] = lambda path: True,
    max_members: int = 1000,
    max_gigabytes: float = 0.01,
) -> dict[str, bytes]:
    """Extract to tmp_path/deep/out and return the files by name, having checked that nothing else came to be."""
    path, out = tmp_path / "archive", tmp_path / "deep" / "out"
    path.write_bytes(packed)
    sums = {}
    try:
        sums = archive.extract(path, out, needed, max_members=max_members, max_gigabytes=max_gigabytes)
    finally:
        assert {p.name for p in tmp_path.iterdir()} <= {"archive", "deep"}
        assert {p.name for p in (tmp_path / "deep").glob("*")} <= {"out"}
        paths = [p for p in out.rglob("*") if p.is_symlink() or not p.is_dir()]
        assert all(p.is_file() and not p.is_symlink() and p.stat().st_nlink == 1 for p in paths)
        assert all(p.stat().st_mode & 0o7111 == 0 for p in paths)  # modes are not taken over
    files = {str(p.relative_to(out)): p.read_bytes() for p in paths}
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return files


def refused(tmp_path: Path, packed: bytes, **options) -> str:
    with pytest.raises(InputError) as error:
        extract(tmp_path, packed, **options)
    message = str(error.value).removeprefix(f"{tmp_path}/")
    assert message.isprintable()
    assert len(message) < 600
    return message


def test_written_archive_has_the_same_bytes_and_can_be_read_by_others(tmp_path):
    members = [("tiny/a.csv", b"1,2\n"), (f"tiny/{'long' * 40}/é.tif", bytes(range(256)) * 1000), ("tiny/empty", b"")]
    for name in "ab":
        archive.write(tmp_path / name, iter(members))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with tarfile.open(tmp_path / "a") as tar:
        assert [(m.name, tar.extractfile(m).read()) for m in tar] == members


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tars_of_others_can_be_read(tmp_path, form, mode):
    names = ["./tiny/a.csv", "tiny//b.csv", f"tiny/{'c' * 70}/{'d' * 70}.csv", "tiny/._a.csv"]
    if form != tarfile.USTAR_FORMAT:
        names += [f"tiny/{'e' * 200}.csv", "tiny/\u017e.csv"]
    with tarfile.open(fileobj=(file := io.BytesIO()), mode=mode, format=form, pax_headers={"comment": "x"}) as others:
        others.addfile(member("tiny", 4096, type=tarfile.DIRTYPE))  # a size, but no content
        for name in names:
            info = member(name, 700, mtime=1.5, mode=0o6777, pax_headers={"SCHILY.xattr.user.x": "=\n" * 5000})
            others.addfile(info, io.BytesIO(b"x" * 700))
    expected = {str(PurePosixPath(name)) for name in names} - {"tiny/._a.csv"}  # which macOS adds
    assert extract(tmp_path, file.getvalue()) == dict.fromkeys(expected, b"x" * 700)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips_can_be_read(tmp_path, method):
    packed = zipped(("tiny/", b""), ("tiny/a.csv", b"1,2\n"), ("__MACOSX/tiny/._a.csv", b"x"), method=method)
    assert extract(tmp_path, packed) == {"tiny/a.csv": b"1,2\n"}


def test_names_in_a_zip_may_have_the_separators_of_windows(tmp_path):
    info = zipfile.ZipInfo("x")
    info.filename = "tiny\\a.csv"
    assert extract(tmp_path, zipped((info, b"1,2\n"))) == {"tiny/a.csv": b"1,2\n"}
    info.filename = "..\\a.csv"
    assert "points outside" in refused(tmp_path, zipped((info, b"")))


def test_only_the_needed_files_are_written_and_anything_else_is_passed_over(tmp_path):
    packed = tar(
        member("tiny/link", 0, type=tarfile.SYMTYPE, linkname="/etc"),
        member("tiny/hard", 0, type=tarfile.LNKTYPE, linkname="../../archive"),
        member("tiny/device", 0, type=tarfile.CHRTYPE),
        member("tiny/pipe", 0, type=tarfile.FIFOTYPE),
        member("tiny/sparse", 0, type=tarfile.GNUTYPE_SPARSE),
        member("tiny/\udcff\n\\", 700, type=b"Z"),
        member("tiny/a.csv"),
        member("tiny/a.csv"),
        member("tiny/b.tif", mode=0o6777),
    )
    assert extract(tmp_path, gzip.compress(packed), lambda path: path.suffix == ".tif") == {"tiny/b.tif": b"x"}


def test_gzip_file_may_be_in_pieces_and_padded(tmp_path):
    plain = tar(member("tiny/a.csv", 5000), member("tiny/b.csv"))
    packed = b"".join(gzip.compress(plain[start : start + 700]) for start in range(0, len(plain), 700))
    assert set(extract(tmp_path, packed + bytes(5000))) == {"tiny/a.csv", "tiny/b.csv"}


HOSTILE = {
    "parent": ("points outside", member("../escaped.csv")),
    "parent within": ("points outside", member("tiny/../../escaped.csv")),
    "parent folder": ("points outside", member("../escaped", 0, type=tarfile.DIRTYPE)),
    "absolute": ("points outside", member("/tmp/escaped.csv")),
    "two slashes": ("points outside", member("//tmp/escaped.csv")),
    "symlink": ("is a link", member("tiny/a.csv", 0, type=tarfile.SYMTYPE, linkname="../../escaped.csv")),
    "through a symlink": (
        "is a link", member("tiny", 0, type=tarfile.SYMTYPE, linkname="../.."), member("tiny/escaped.csv"),
    ),
    "hard link": ("is a link", member("tiny/a.csv", 0, type=tarfile.LNKTYPE, linkname="../../archive")),
    "device": ("is a link, a device", member("tiny/a.csv", 0, type=tarfile.BLKTYPE)),
    "sparse": ("is a link, a device or sparse", member("tiny/a.csv", 0, type=tarfile.GNUTYPE_SPARSE)),
    "twice": ("'tiny/a.csv' has the name of another member", member("tiny/a.csv"), member("./tiny//a.csv")),
    "file, then folder": ("has the name of another", member("tiny/a"), member("tiny/a/b.csv")),
    "file, then folders": ("has the name of another", member("tiny/a"), member("tiny/a/b/c.csv")),
    "folder, then file": ("has the name of another", member("tiny/a/b.csv"), member("tiny/a")),
    "newline": ("is not a valid file name", member("tiny/a\nb.csv")),
    "escape": ("is not a valid file name", member("tiny/\x1b[2Ja.csv")),
    "not UTF-8": ("is not a valid file name", member("tiny/\udcff.csv")),
}  # fmt: skip


@pytest.mark.parametrize(("reason", "members"), [(r, m) for r, *m in HOSTILE.values()], ids=HOSTILE)
def test_hostile_tars_are_refused(tmp_path, reason, members):
    message = refused(tmp_path, gzip.compress(tar(member("tiny/good.csv"), *members)))
    assert message.startswith("archive: unsafe archive: ")
    assert reason in message


@pytest.mark.parametrize("version", [{"size": "9"}, {"map": "0,512", "size": "9"}, {"major": "1", "minor": "0"}])
def test_sparse_files_of_pax_are_refused(tmp_path, version):
    records = {f"GNU.sparse.{key}": value for key, value in (version | {"realsize": "9" * 12}).items()}
    packed = block(member("tiny/a.csv", pax_headers=records), b"1\n0\n512\n".ljust(512, b"\0"), tarfile.PAX_FORMAT)
    with pytest.raises(InputError):
        extract(tmp_path, packed + END)


def linked(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def protected() -> bytes:
    packed = bytearray(zipped(("tiny/a.csv", b"x")))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + flags] |= 1
    return bytes(packed)


@pytest.mark.parametrize(
    ("reason", "packed"),
    [
        ("unsafe archive: '../escaped.csv' points outside", zipped(("../escaped.csv", b"x"))),
        ("unsafe archive: '/tmp/escaped.csv' points outside", zipped(("/tmp/escaped.csv", b"x"))),
        ("unsafe archive: 'tiny/a.csv' is a link", zipped((linked("tiny/a.csv"), b"/etc/passwd"))),
        ("'tiny/a.csv' has the name of another", zipped(("tiny/a.csv", b"x"), ("tiny/a.csv", b"y"))),
        ("is encrypted, password required for extraction", protected()),
        ("Bad CRC-32", zipped(("a", b"x" * 99), method=zipfile.ZIP_STORED).replace(b"xx", b"xy")),
        ("archive: cannot be read as an archive", zipped(("a", b"x" * 99))[:-30]),
        ("exceeds unpack.max_gigabytes", zipped(("a", bytes(6 * 10**6)), ("b", bytes(6 * 10**6)))),
        ("exceeds unpack.max_members", zipped(*((str(number), b"") for number in range(1001)))),
    ],
)
def test_hostile_and_damaged_zips_are_refused(tmp_path, reason, packed):
    assert reason in refused(tmp_path, packed)


ZEROS = gzip.compress(bytes(10 * 10**6))
BOMBS = {
    "needed": block(member("tiny/a.csv", 10**10), b""),
    "not needed": block(member("tiny/a.tif", 10**10), b""),
    "many members": b"".join(block(member(f"tiny/{i}.csv", 10**6), bytes(10**6)) for i in range(11)),
    "size of a pax header": block(member("tiny/a.csv", 0, pax_headers={"size": "9" * 18}), b"", tarfile.PAX_FORMAT),
    "padding after the end": END,
}


@pytest.mark.parametrize("plain", BOMBS.values(), ids=BOMBS)
def test_size_is_limited(tmp_path, plain):
    message = refused(tmp_path, gzip.compress(plain) + ZEROS * 100, needed=lambda path: path.suffix == ".csv")
    assert message == "archive: exceeds unpack.max_gigabytes; if you trust it, raise that limit"
    assert sum(path.stat().st_size for path in (tmp_path / "deep").rglob("*.csv")) <= 10**7


PLAIN = tar(member("tiny/a.csv", 3000), member("tiny/b.tif", 1000), member("tiny/c.csv", 10))
PACKED = gzip.compress(PLAIN)
DAMAGED = {
    "empty": b"",
    "a page": b"<!DOCTYPE html><title>404</title>",
    "gzip of nothing": gzip.compress(b""),
    "no tar": gzip.compress(random.Random(0).randbytes(5000)),
    "extensions without end": block(member("a", 0, type=tarfile.XGLTYPE)) * 2000,
    "a header cut": PLAIN[: 512 + 3072 + 300],
    "a member cut": PLAIN[:1000],
    "no end": PLAIN[: -len(END)],
    "a header flipped": PLAIN.replace(b"b.tif", b"b.tiff"),
    "another tar behind": PLAIN + PLAIN,
    "garbage behind": PLAIN + b"x",
    "another gzip file behind": PACKED + PACKED,
    "garbage behind gzip": PACKED + b"garbage",
    "a wrong checksum": PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:],
    "a wrong length": PACKED[:-4] + b"\0\0\0\0",
    **{f"cut at {place}": PACKED[:place] for place in (1, 10, 50, -20, -9, -8, -1)},
}


@pytest.mark.parametrize("packed", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_whole_archive_is_refused(tmp_path, packed):
    message = refused(tmp_path, packed)
    assert message.startswith(("archive: cannot be read as an archive: ", "archive: is "))
    with pytest.raises(InputError):
        archive.verify(tmp_path / "archive", "mine")

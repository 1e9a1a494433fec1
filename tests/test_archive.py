import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from stages import archive
from stages.cli import InputError

MEMBERS = [("tiny/a.csv", b"1,2\n"), ("tiny/big.tif", bytes(range(256)) * 1000), ("tiny/empty", b"")]


def tarball(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, **facts) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(info, key, value)
    return info


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


def test_only_the_wanted_members_are_written(tmp_path):
    archive.write(tmp_path / "a.tar.gz", MEMBERS)
    assert archive.extract(tmp_path / "a.tar.gz", tmp_path / "out", lambda name: name.endswith(".csv")) == 1
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["a.csv"]


@pytest.mark.parametrize(
    "bad",
    [
        member("../escaped.csv", size=1),
        member("tiny/link.csv", type=tarfile.SYMTYPE, linkname="../../escaped.csv"),
        member("tiny/hard.csv", type=tarfile.LNKTYPE, linkname="../../escaped.csv"),
        member("tiny/device.csv", type=tarfile.CHRTYPE),
    ],
    ids=lambda m: m.name,
)
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path, bad):
    path = tarball(tmp_path / "bad.tar.gz", member("tiny/good.csv", size=1), bad)
    with pytest.raises(InputError, match="unsafe archive"):
        archive.extract(path, tmp_path / "deep" / "out", lambda name: True)
    assert not (tmp_path / "deep" / "escaped.csv").exists()
    assert not (tmp_path / "escaped.csv").exists()


def test_an_absolute_name_stays_inside(tmp_path):
    path = tarball(tmp_path / "bad.tar.gz", member(f"{tmp_path}/absolute.csv", size=1))
    archive.extract(path, tmp_path / "out", lambda name: True)
    assert not (tmp_path / "absolute.csv").exists()


def test_links_are_never_written(tmp_path):
    path = tarball(
        tmp_path / "link.tar.gz",
        member("tiny/good.csv", size=1),
        member("tiny/link.csv", type=tarfile.SYMTYPE, linkname="good.csv"),
    )
    assert archive.extract(path, tmp_path / "out", lambda name: True) == 1
    assert not os.path.lexists(tmp_path / "out" / "tiny" / "link.csv")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not a tarball"])
def test_a_damaged_archive_is_named(tmp_path, damage):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(os.urandom(1 << 16)))
    if damage != "not a tarball":
        with tarfile.open(path, "w:gz") as tar:
            tar.addfile(member("tiny/a.tif", size=1 << 16), io.BytesIO(os.urandom(1 << 16)))
        content = bytearray(path.read_bytes())
        if damage == "flipped":
            content[len(content) // 2] ^= 0xFF
        path.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged archive"):
        archive.extract(path, tmp_path / "out", lambda name: True)

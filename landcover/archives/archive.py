"""Archives: plain tars, written with the same bytes on any machine; .tar.gz, .tar and .zip, read as untrusted input."""

import hashlib
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple

from isal import igzip, isal_zlib
from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from landcover.errors import InputError

HEAD = tarfile.BLOCKSIZE  # bytes by which the kind of a file is recognized
PIECE = 1 << 16  # bytes held in memory at a time
# What the libraries raise for damaged archives; RuntimeError for a zip with a password or in an unknown method.
DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, igzip.BadGzipFile, isal_zlib.error, zlib.error, EOFError, ValueError,
    RuntimeError,
)  # fmt: skip


def write(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, content) pairs as a tar, in the order given, without times and owners.

    It is not compressed: the noise of sensors hardly gets smaller, and the bytes would depend on the version of zlib.
    """
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))


def detect(head: bytes, what: str) -> str:
    """The kind of an archive by its first HEAD bytes: "zip", "tar.gz" or "tar".

    Args:
        what: the file's name, for the error.

    Raises:
        InputError: it is something else, for example the login page of a website.
    """
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "tar.gz"
    try:
        tarfile.TarInfo.frombuf(head[:HEAD], "utf-8", "surrogateescape")
        return "tar"
    except tarfile.HeaderError:
        kind = f"another kind of file, which starts with {head[:20]!r}" if head else "empty"
        if head.lstrip().startswith(b"<"):
            kind = "a page of HTML or XML, perhaps of a login or a proxy"
        raise InputError(f"{what}: is {kind}, not a .tar.gz, .tar or .zip; check the source") from None


class _Member(NamedTuple):
    name: str
    is_folder: bool
    is_file: bool  # a plain one, neither a link nor a device nor sparse
    open: Callable[[], IO[bytes]]


class _LimitError(Exception):
    """The archive exceeds the parameter of this name."""


class _Limited:
    """A file to read, of which there may be so many bytes at most."""

    def __init__(self, file: BinaryIO, size: float):
        self._file, self.left = file, size

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise _LimitError("max_gigabytes")
        return piece


class _Header(tarfile.TarInfo):
    """A tar's header. Only one of zeros is the end; tarfile takes a damaged one, or none, for it, too."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == HEAD and not any(buf):
                raise
            raise tarfile.ReadError(f"a header is damaged or cut ({error})") from None


def _tar_members(file: BinaryIO, max_bytes: float) -> Iterator[_Member]:
    """The members of a tar, read once from front to back."""
    limited = _Limited(file, max_bytes)
    with tarfile.open(fileobj=limited, mode="r|", bufsize=PIECE, tarinfo=_Header) as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # or tarfile would keep them all
            if info.size > limited.left + PIECE:
                raise _LimitError("max_gigabytes")
            is_file = info.isreg() and not info.issparse()
            yield _Member(info.name, info.isdir(), is_file, partial(tar.extractfile, info))
        # Only padding may follow; after the last byte gzip verifies its checksum.
        while piece := tar.fileobj.read(PIECE):
            if piece.strip(b"\0"):
                raise tarfile.ReadError("it has data after its end marker")


def _zip_members(file: BinaryIO, max_bytes: float) -> Iterator[_Member]:
    """The members of a zip. Each has a checksum, which zipfile verifies, and has no more bytes than it declares."""
    with zipfile.ZipFile(file) as archive:
        if sum(info.file_size for info in archive.infolist()) > max_bytes:
            raise _LimitError("max_gigabytes")
        for info in tqdm(archive.infolist(), desc="read", unit="file", disable=None):
            if info.header_offset < 0:
                raise zipfile.BadZipFile("bytes are missing before its first file")
            name = info.filename.replace("\\", "/")  # as old programs for Windows write it
            is_folder = name.endswith("/")
            is_file = not is_folder and stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            yield _Member(name, is_folder, is_file, partial(archive.open, info))


def _members(file: BinaryIO, what: object, max_bytes: float) -> Iterator[_Member]:
    kind, size = detect(file.read(HEAD), str(what)), file.seek(0, io.SEEK_END)
    file.seek(0)
    if kind == "zip":
        yield from _zip_members(file, max_bytes)
        return
    with tqdm(total=size, desc="read", unit="B", unit_scale=True, disable=None) as bar:
        packed = CallbackIOWrapper(bar.update, file, "read")
        yield from _tar_members(igzip.open(packed) if kind == "tar.gz" else packed, max_bytes)


@contextmanager
def _reading(path: Path, what: object) -> Iterator[BinaryIO]:
    """An open archive; what its damage raises becomes an InputError that names `what`."""
    try:
        with open(path, "rb") as file:
            yield file
    except DAMAGED as error:
        cause = str(error)[:300] or type(error).__name__
        remedy = "get it again, or unpack it and give the folder as source"
        raise InputError(f"{what}: cannot be read as an archive: {cause}; {remedy}") from None


def verify(path: Path, what: str) -> None:
    """Read an archive to its end; each file of a zip, too, which has a checksum of its own.

    Raises:
        InputError: it is no archive, or truncated or damaged; names it `what`.
    """
    with _reading(path, what) as file:
        for member in _members(file, what, max_bytes=float("inf")):
            if member.is_file:
                with member.open() as content:
                    while content.read(PIECE):
                        pass


def contents(path: Path, needed: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Path and content of each needed file of an archive, one by one; nothing is written.

    Raises:
        InputError: the archive is damaged.
    """
    with _reading(path, path) as file:
        for member in _members(file, path, max_bytes=float("inf")):
            if member.is_file and needed(member_path := PurePosixPath(member.name)):
                with member.open() as content:
                    yield member_path, content.read()


def _save(content: IO[bytes], path: Path) -> str:
    """Write a new file and return its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(path, "xb") as file:
        while piece := content.read(PIECE):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def extract(
    path: Path, directory: Path, needed: Callable[[PurePosixPath], bool], *, max_members: int, max_gigabytes: float
) -> dict[str, str]:
    """Write the needed files of an archive below `directory`; modes, owners and times are not taken over.

    The archive is refused if a name is absolute or has a `..`, or if a needed member is a link, a device or sparse, or
    has the name of another. Whatever else is in the archive is passed over, and so are files whose names start with
    `._`, which macOS adds.

    Args:
        directory: is empty or does not exist yet.
        needed: whether to write the file of this path.
        max_members: limit on the members of the archive, needed or not.
        max_gigabytes: limit on the unpacked archive, in 10^9 bytes, needed or not.

    Returns:
        The path of each file that was written, relative to `directory`, and its sha256.

    Raises:
        InputError: the archive is damaged, unsafe or too large.
    """

    def unsafe(problem: str, remedy: str = "get a sound one from its publisher") -> InputError:
        return InputError(f"{path}: unsafe archive: {name[:200]!r} {problem}; {remedy}")

    sums: dict[str, str] = {}
    try:
        with _reading(path, path) as file:
            for number, member in enumerate(_members(file, path, max_gigabytes * 10**9)):
                if number == max_members:
                    raise _LimitError("max_members")
                member_path = PurePosixPath(member.name)
                name = str(member_path)
                if member_path.is_absolute() or ".." in member_path.parts:
                    raise unsafe("points outside the folder")
                if member.is_folder or member_path.name.startswith("._") or not needed(member_path):
                    continue
                if not member.is_file:
                    raise unsafe("is a link, a device or sparse, not a plain file")
                if not name.isprintable():
                    raise unsafe("is not a valid file name", "rename it in the source")
                try:
                    with member.open() as content:
                        sums[name] = _save(content, directory / member_path)
                except (FileExistsError, NotADirectoryError):
                    raise unsafe("has the name of another member") from None
    except _LimitError as limit:
        raise InputError(f"{path}: exceeds unpack.{limit}; if you trust it, raise that limit") from None
    return sums

"""Tarballs: written with the same bytes on any machine, read as untrusted input."""

import hashlib
import io
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TextIO
from unicodedata import normalize

from isal import igzip, isal_zlib
from tqdm import tqdm

from landcover.data.bundles import Bundles
from landcover.errors import InputError
from landcover.files import replacing

PIECE = 1 << 20  # bytes held in memory at a time
MAX_EXTENSION = 1 << 20  # bytes of a pax header or a long name; real ones have hundreds
# Types of headers that extend the next one. Global pax headers and long link names are not used.
PAX, LONG_NAME, UNUSED = b"xX", b"L", b"gK"
PAX_RECORD = re.compile(rb"(\d{1,7}) ([^=]{1,255})=")  # <bytes of the record> <key>=<value>\n
SIZE = re.compile(rb"\d{1,18}")
MAX_NAME = 255  # bytes, the limit of common file systems for a single name; ben-ge's whole paths have 160


class _StoredGzip(io.RawIOBase):
    """A gzip stream of stored (uncompressed) deflate blocks.

    Compressed output differs between zlib implementations (zlib, zlib-ng, cloudflare); stored blocks do not. Sensor
    noise hardly compresses, and storing it is faster.
    """

    BLOCK = 0xFFFF

    def __init__(self, file: BinaryIO):
        self._file, self._pending, self._crc, self._size = file, bytearray(), 0, 0
        # magic, deflate, no flags, no time, no extra flags, unknown system
        file.write(b"\x1f\x8b\x08\x00" + b"\x00" * 4 + b"\x00\xff")

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._pending += data
        whole = len(self._pending) // self.BLOCK * self.BLOCK
        for start in range(0, whole, self.BLOCK):
            self._block(self._pending[start : start + self.BLOCK], last=False)
        del self._pending[:whole]
        return len(data)

    def _block(self, data: bytes, *, last: bool) -> None:
        self._file.write(struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF) + data)

    def close(self) -> None:
        if not self.closed:
            self._block(self._pending, last=True)
            self._file.write(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))
        super().close()


def write(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, content) pairs as a .tar.gz, in the order given, without times and owners."""
    with (
        replacing(path) as part,
        open(part, "wb") as file,
        _StoredGzip(file) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))


class _ExcessError(Exception):
    """The archive exceeds the parameter of this name."""


class _Unpacked:
    """The unpacked content of a gzip file: read once, front to back, and at most `limit` bytes."""

    def __init__(self, file: BinaryIO, limit: int):
        self._file, self._left = file, limit

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _ExcessError("max_gigabytes")

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes; nothing if they exceed the limit."""
        self._count(size)
        while size:
            piece = self._file.read(min(size, PIECE))
            if not piece:
                raise EOFError("it is truncated")
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))

    def finish(self) -> None:
        """Read to the end, where gzip verifies its checksum; only padding may follow a tarball's end marker."""
        while piece := self._file.read(PIECE):
            self._count(len(piece))
            if piece != bytes(len(piece)):
                raise tarfile.ReadError("it has data after its end marker")


class _UnsafeError(Exception):
    """A member has a forbidden path or type; tarfile's own error is newer than Python 3.11.2."""


def _unsafe(name: object, what: str) -> _UnsafeError:
    return _UnsafeError(f"{str(name)[:200]!r} {what}")


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    records, start = {}, 0
    while start < len(content):
        record = PAX_RECORD.match(content, start)
        end = start + int(record[1]) if record else 0
        if not record or end <= record.end() or content[end - 1 : end] != b"\n":
            raise tarfile.ReadError("a pax header is malformed")
        records[record[2]] = content[record.end() : end - 1]
        start = end
    return records


def _members(stream: _Unpacked, max_members: int) -> Iterator[tuple[tarfile.TarInfo, Iterator[bytes]]]:
    """Yield each member and its content.

    Crafted headers make tarfile's own reader use unlimited memory or time, stop silently as if there were no more
    members, or raise arbitrary errors.
    """
    extension = {}
    for number in count():
        header = stream.read(tarfile.BLOCKSIZE)
        if not any(header):
            stream.finish()
            return
        if number == max_members:
            raise _ExcessError("max_members")
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        if member.type in PAX + LONG_NAME + UNUSED:
            if not 0 <= member.size <= MAX_EXTENSION:
                raise tarfile.ReadError(f"an extended header has {member.size} bytes")
            content = stream.read(member.size)
            stream.read(-member.size % tarfile.BLOCKSIZE)
            if member.type in PAX:
                extension |= _pax_records(content)
            elif member.type in LONG_NAME:
                extension[b"path"] = content.rstrip(b"\0")
            continue
        if b"path" in extension:
            member.name = extension[b"path"].decode("utf-8", "surrogateescape")
        if member.type == tarfile.GNUTYPE_SPARSE or any(key.startswith(b"GNU.sparse") for key in extension):
            raise _unsafe(member.name, "is sparse")
        size = extension.get(b"size", b"%d" % member.size)
        if not SIZE.fullmatch(size):
            raise tarfile.ReadError(f"{member.name[:200]!r} has no valid size")
        # Folders, links and devices have no content, regardless of their size field.
        has_content = member.isreg() or member.type not in tarfile.SUPPORTED_TYPES
        size = int(size) if has_content else 0
        content = stream.pieces(size)
        yield member, content
        for _ in content:  # what the caller did not read
            pass
        stream.read(-size % tarfile.BLOCKSIZE)
        extension = {}


def _fold(path: PurePosixPath) -> str:
    """`path` as seen by a file system that ignores case and Unicode normalization."""
    return normalize("NFD", normalize("NFD", str(path)).casefold())


class _Folder:
    """A folder to write files to without overwriting any, on any file system."""

    def __init__(self, directory: Path, bundles: Bundles | None, sums: TextIO | None):
        self._directory, self._bundles, self._sums = directory, bundles, sums
        self._folders: set[PurePosixPath] = set()
        self._taken: dict[str, PurePosixPath] = {}

    def write(self, path: PurePosixPath, content: Iterable[bytes]) -> None:
        name = str(path)
        if not path.name or not name.isprintable() or "\\" in name or len(name.encode()) > MAX_NAME:
            raise _unsafe(path, "is not a valid file name")
        new_folders = [folder for folder in path.parents if folder not in self._folders]
        for new in (path, *new_folders):
            if (other := self._taken.setdefault(_fold(new), new)) is not new:
                raise _unsafe(new, f"would overwrite {str(other)!r}")
        self._folders.update(new_folders)
        digest = hashlib.sha256()

        def hashed() -> Iterator[bytes]:
            for piece in content:
                digest.update(piece)
                yield piece

        if self._bundles and self._bundles.takes(path):
            self._bundles.write(path, hashed())
        else:
            if new_folders:
                (self._directory / path.parent).mkdir(parents=True, exist_ok=True)
            with open(self._directory / path, "xb") as file:
                file.writelines(hashed())
        if self._sums:
            self._sums.write(f"{digest.hexdigest()}  {path}\n")


def extract(
    path: Path,
    directory: Path,
    wanted: Callable[[PurePosixPath], bool],
    *,
    max_members: int,
    max_gigabytes: float,
    bundles: Bundles | None = None,
    sums: TextIO | None = None,
) -> int:
    """Stream the tarball once and write its wanted files below `directory`.

    The archive is refused if any member is sparse or has a name that points outside `directory`, or if a wanted member
    is a link or a device, has an invalid file name, or would overwrite another, even if only on a file system that
    ignores case. Other links and devices are skipped. Modes, owners and times are ignored.

    Args:
        directory: is empty or does not exist yet.
        wanted: whether to write the file of this path.
        max_members: limit on the headers in the tarball, wanted or not.
        max_gigabytes: limit on the unpacked tarball, in 10^9 bytes, wanted or not.
        bundles: receives the wanted files that it takes.
        sums: receives a line per written file, in the format of sha256sum.

    Returns:
        The number of files written.

    Raises:
        InputError: the archive is damaged, unsafe or too large.
    """
    folder = _Folder(directory, bundles, sums)
    written = 0
    try:
        with (
            open(path, "rb") as packed,
            tqdm(total=path.stat().st_size, desc="unpack", unit="B", unit_scale=True, disable=None) as progress,
            igzip.open(packed) as plain,
        ):
            for member, content in _members(_Unpacked(plain, int(max_gigabytes * 10**9)), max_members):
                progress.update(packed.tell() - progress.n)
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise _unsafe(name, "points outside the folder")
                if member.isdir() or not wanted(name):
                    continue
                if not member.isreg():
                    raise _unsafe(name, "is not a regular file")
                folder.write(name, content)
                written += 1
            progress.update(packed.tell() - progress.n)
    except _ExcessError as bound:
        raise InputError(f"{path}: exceeds unpack.{bound}; if you trust it, raise that limit") from None
    except _UnsafeError as error:
        raise InputError(f"{path}: unsafe archive: {error}; get a sound one from its publisher") from None
    except (tarfile.TarError, EOFError, isal_zlib.error, igzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged archive: {error}; delete it and run again") from None
    return written

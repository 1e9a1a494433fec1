"""A tarball: written the same to the byte on any machine, read without trust."""

import io
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from unicodedata import normalize

from isal import igzip, isal_zlib
from tqdm import tqdm

from landcover.dataset.bundles import Bundles
from landcover.ground.errors import InputError
from landcover.ground.files import replacing

PIECE = 1 << 20  # bytes held in memory at a time
MAX_EXTENSION = 1 << 20  # bytes of a pax header or a long name; real ones have hundreds
# Types of headers that extend the next one. Of global pax headers and of links nothing is used.
PAX, LONG_NAME, UNUSED = b"xX", b"L", b"gK"
PAX_RECORD = re.compile(rb"(\d{1,7}) ([^=]{1,255})=")  # <bytes of the record> <key>=<value>\n
SIZE = re.compile(rb"\d{1,18}")
MAX_NAME = 255  # bytes, which common file systems allow without the folders; ben-ge's have 160 with them


class _StoredGzip(io.RawIOBase):
    """A gzip stream of stored (uncompressed) deflate blocks.

    What a compressor makes of the same input differs from one zlib to the next (zlib, zlib-ng, cloudflare); stored
    blocks cannot. Sensor noise hardly compresses, and storing it is faster.
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
    """Write (name, content) pairs as a .tar.gz, in the order given, with no times and no owners."""
    with (
        replacing(path) as part,
        open(part, "wb") as file,
        _StoredGzip(file) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT, bufsize=1 << 20) as tar,
    ):
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))


class _ExcessError(Exception):
    """The archive holds more than the parameter of this name allows."""


class _Unpacked:
    """What a gzip file unpacks to: read once, front to back, and no more than `limit` bytes of it."""

    def __init__(self, file: BinaryIO, limit: int):
        self._file, self._left = file, limit

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _ExcessError("max_gigabytes")

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes; none at all if they are too many."""
        self._count(size)
        while size:
            piece = self._file.read(min(size, PIECE))
            if not piece:
                raise EOFError("it ends too early")
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))

    def finish(self) -> None:
        """Read to the end, where gzip's checksum stands; after a tarball's end mark there is nothing but padding."""
        while piece := self._file.read(PIECE):
            self._count(len(piece))
            if piece != bytes(len(piece)):
                raise tarfile.ReadError("it goes on after its end mark")


class _UnsafeError(Exception):
    """A member would be written where, or as what, nothing may be; tarfile's own is newer than Python 3.11.2."""


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

    A crafted header makes tarfile's own reader take any amount of memory or time, end without a word as if there were
    no more members, or raise errors of any kind.
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
                raise tarfile.ReadError(f"a header is extended by {member.size} bytes")
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
        # Folders, links and devices have no content, whatever their size says.
        has_content = member.isreg() or member.type not in tarfile.SUPPORTED_TYPES
        size = int(size) if has_content else 0
        content = stream.pieces(size)
        yield member, content
        for _ in content:  # what the caller left
            pass
        stream.read(-size % tarfile.BLOCKSIZE)
        extension = {}


def _fold(path: PurePosixPath) -> str:
    """What a file system that ignores case and Unicode's normalization forms takes `path` for."""
    return normalize("NFD", normalize("NFD", str(path)).casefold())


class _Folder:
    """A folder to write files to, none over another, on any file system."""

    def __init__(self, directory: Path, bundles: Bundles | None):
        self._directory, self._bundles = directory, bundles
        self._folders: set[PurePosixPath] = set()
        self._taken: dict[str, PurePosixPath] = {}

    def write(self, path: PurePosixPath, content: Iterable[bytes]) -> None:
        name = str(path)
        if not path.name or not name.isprintable() or "\\" in name or len(name.encode()) > MAX_NAME:
            raise _unsafe(path, "is no fit name for a file")
        new_folders = [folder for folder in path.parents if folder not in self._folders]
        for new in (path, *new_folders):
            if (other := self._taken.setdefault(_fold(new), new)) is not new:
                raise _unsafe(new, f"would overwrite {str(other)!r}")
        self._folders.update(new_folders)
        if self._bundles and self._bundles.takes(path):
            self._bundles.write(path, content)
            return
        if new_folders:
            (self._directory / path.parent).mkdir(parents=True, exist_ok=True)
        with open(self._directory / path, "xb") as file:
            file.writelines(content)


def extract(
    path: Path,
    directory: Path,
    wanted: Callable[[str], bool],
    *,
    max_members: int,
    max_gigabytes: float,
    bundles: Bundles | None = None,
) -> int:
    """Stream the tarball once and write its wanted files below `directory`.

    Any member that is sparse, or whose name leads out of `directory`, condemns the archive; so does a wanted one that
    is a link or a device, that has a name unfit for a file, or that would overwrite another, be it on a file system
    that ignores case. Links and devices elsewhere are passed over. Modes, owners and times are not taken over.

    Args:
        directory: is empty or not there yet.
        wanted: says of a file's name whether to write it.
        max_members: headers in the tarball, of members wanted or not.
        max_gigabytes: of the unpacked tarball, in 10^9 bytes, wanted or not.

        bundles: is given those of the wanted files that it takes.

    Returns:
        The number of files written.

    Raises:
        InputError: the archive is damaged, unsafe, or holds more than it may.
    """
    folder = _Folder(directory, bundles)
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
                    raise _unsafe(name, "leads out of the folder")
                if member.isdir() or not wanted(str(name)):
                    continue
                if not member.isreg():
                    raise _unsafe(name, "is no plain file")
                folder.write(name, content)
                written += 1
            progress.update(packed.tell() - progress.n)
    except _ExcessError as bound:
        raise InputError(f"{path}: holds more than unpack.{bound} allows; if you trust it, raise that") from None
    except _UnsafeError as error:
        raise InputError(f"{path}: unsafe archive: {error}; do not use it, fetch it anew from its publisher") from None
    except (tarfile.TarError, EOFError, isal_zlib.error, igzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged archive: {error}; delete it and run again to fetch it anew") from None
    return written

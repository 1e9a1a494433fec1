"""A tarball: written the same to the byte on any machine, read without trust."""

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from stages.cli import InputError
from stages.files import replacing


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


def extract(path: Path, directory: Path, wanted: Callable[[str], bool]) -> int:
    """Stream the tarball once and write its wanted files below `directory`.

    Members pass tarfile's `data` filter, which refuses absolute names, `..`, links that lead out and devices, and
    clears setuid bits. Links and other specials are never wanted: the dataset has none.

    Args:
        wanted: says of a member's name whether to write it.

    Returns:
        The number of files written.

    Raises:
        InputError: the archive is damaged, or a member would leave `directory`.
    """
    count = 0
    try:
        # Not mode "r|gz": tarfile's own gzip reader leaves the checksum at the end unread.
        with (
            open(path, "rb") as packed,
            tqdm.wrapattr(packed, "read", path.stat().st_size, desc="unpack", disable=None) as watched,
            gzip.open(watched) as plain,
            tarfile.open(fileobj=plain, mode="r|", bufsize=1 << 20) as tar,
        ):
            for member in tar:
                tarfile.data_filter(member, str(directory))
                if member.isfile() and wanted(member.name):
                    tar.extract(member, directory, filter="data")
                    count += 1
            while plain.read(1 << 20):
                pass
    except tarfile.FilterError as error:
        raise InputError(f"{path}: unsafe archive: {error}; do not use it, fetch it anew from its publisher") from None
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged archive: {error}; delete it and run again to fetch it anew") from None
    return count

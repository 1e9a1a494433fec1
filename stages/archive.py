"""A tarball: written the same to the byte on any machine, read without trust."""

import io
import os
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, moved over `path` when all went well and removed when it did not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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

"""Tiles in bundles: uncompressed tar files of many tiles, and an index of their positions.

DVC tracks the files of an output one by one and becomes impractical long before the 2.4 million tiles of the full
ben-ge. With bundles, it tracks one file for thousands of tiles. GDAL and QGIS open tiles in them through /vsitar/.
"""

import csv
import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from landcover.ground.benge import MAX_TILE_BYTES, TILES_FOLDER

TILES_PER_BUNDLE = 4000  # about 120 MB
INDEX = f"{TILES_FOLDER}.csv"


class Bundles:
    """Writes tiles to bundles in the dataset's root folder and finally their index beside them.

    Args:
        directory: the parent of the root folder.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._root: Path | None = None
        self._tar: tarfile.TarFile | None = None
        self._rows: list[tuple[str, str, int, int]] = []

    def __enter__(self) -> Self:
        return self

    def takes(self, path: PurePosixPath) -> bool:
        return len(path.parts) == 4 and path.parts[1] == TILES_FOLDER

    def write(self, path: PurePosixPath, content: Iterable[bytes]) -> None:
        """Add a tile.

        Raises:
            TarError: it is too large for a tile, or belongs to another dataset than the tiles before it.
        """
        root = self._directory / path.parts[0]
        if self._root not in (None, root):
            raise tarfile.ReadError(f"it has tiles from {self._root.name} and {root.name}")
        tile = b""
        for piece in content:
            tile += piece
            if len(tile) > MAX_TILE_BYTES:
                raise tarfile.ReadError(f"{path.name} has more than {MAX_TILE_BYTES} bytes")
        self._root = root
        bundle = f"{TILES_FOLDER}-{len(self._rows) // TILES_PER_BUNDLE:05d}.tar"
        if len(self._rows) % TILES_PER_BUNDLE == 0:
            self._close()
            root.mkdir(exist_ok=True)
            self._tar = tarfile.open(root / bundle, "x", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        member = tarfile.TarInfo("/".join(path.parts[2:]))
        member.size, member.mode = len(tile), 0o644
        self._tar.addfile(member, BytesIO(tile))
        self._tar.members.clear()  # kept only for reading
        padded = -(-len(tile) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        self._rows.append((path.name, bundle, self._tar.offset - padded, len(tile)))

    def _close(self) -> None:
        if self._tar is not None:
            self._tar.close()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()
        if kind is None and self._root is not None:
            with open(self._root / INDEX, "x", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([("tile", "bundle", "offset", "size"), *self._rows])

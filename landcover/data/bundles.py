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

MAX_TILE_BYTES, TILES_FOLDERS = 1 << 24, ("sentinel-2", "sentinel-1", "dem")
TILES_PER_BUNDLE = 4000  # about 120 MB
INDICES = [f"{folder}.csv" for folder in TILES_FOLDERS]


class _Series:
    """The bundles of one folder of tiles, and their index."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._tar: tarfile.TarFile | None = None
        self._rows: list[tuple[str, str, int, int]] = []

    def write(self, name: str, tile: bytes) -> None:
        bundle = f"{self._folder.name}-{len(self._rows) // TILES_PER_BUNDLE:05d}.tar"
        if len(self._rows) % TILES_PER_BUNDLE == 0:
            self.close()
            self._folder.parent.mkdir(exist_ok=True)
            self._tar = tarfile.open(self._folder.with_name(bundle), "x", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(tile), 0o644
        self._tar.addfile(member, BytesIO(tile))
        self._tar.members.clear()  # kept only for reading
        padded = -(-len(tile) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        self._rows.append((PurePosixPath(name).name, bundle, self._tar.offset - padded, len(tile)))

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()

    def write_index(self) -> None:
        with open(self._folder.with_name(f"{self._folder.name}.csv"), "x", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("tile", "bundle", "offset", "size"), *self._rows])


class Bundles:
    """Writes tiles to bundles in the dataset's root folder, and finally an index for each folder of tiles.

    Args:
        directory: the parent of the root folder.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._root: str | None = None
        self._series: dict[str, _Series] = {}

    def __enter__(self) -> Self:
        return self

    def takes(self, path: PurePosixPath) -> bool:
        return len(path.parts) > 2 and path.parts[1] in TILES_FOLDERS

    def write(self, path: PurePosixPath, content: Iterable[bytes]) -> None:
        """Add a tile.

        Raises:
            TarError: it is too large for a tile, or belongs to another dataset than the tiles before it.
        """
        root, folder, *rest = path.parts
        if self._root not in (None, root):
            raise tarfile.ReadError(f"it has tiles from {self._root} and {root}")
        self._root = root
        tile = b""
        for piece in content:
            tile += piece
            if len(tile) > MAX_TILE_BYTES:
                raise tarfile.ReadError(f"{path.name} has more than {MAX_TILE_BYTES} bytes")
        series = self._series.setdefault(folder, _Series(self._directory / root / folder))
        series.write("/".join(rest), tile)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for series in self._series.values():
            series.close()
            if kind is None:
                series.write_index()

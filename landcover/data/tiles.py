"""The bytes of a dataset's tiles, stored as separate files or in bundles."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self

import pandas as pd

from landcover import checkpoints, constants
from landcover.data.bundles import INDICES
from landcover.errors import InputError


class Tiles(NamedTuple):
    """The tiles of a dataset, by patch id and image channel; for radar, the patch's patch_id_s1."""

    root: Path
    bundled: pd.DataFrame | None = None  # by file name: bundle, offset, size

    @classmethod
    def find(cls, root: Path) -> Self:
        """The tiles below a dataset's root folder, in bundles if it has an index.

        Raises:
            InputError: an index was not written by `Bundles`.
        """
        indices = [root / name for name in INDICES if (root / name).is_file()]
        return cls(root, pd.concat(map(_read_index, indices)) if indices else None)

    def select(self, wanted: Iterable[tuple[str, str]]) -> Self:
        """Only the tiles of some patch ids and channels, to send to another process."""
        if self.bundled is None:
            return self
        names = pd.Index([_file_name(patch_id, channel) for patch_id, channel in wanted])
        return self._replace(bundled=self.bundled.loc[self.bundled.index.intersection(names)])

    def read(self, patch_id: str, channel: str) -> bytes | None:
        """The bytes of a tile's GeoTIFF, None if there is none.

        Raises:
            ValueError: it is too large for a tile.
        """
        if self.bundled is None:
            path, offset, size = self.root / constants.tile_path(patch_id, channel), 0, None
            if not path.is_file():
                return None
        else:
            name = _file_name(patch_id, channel)
            if name not in self.bundled.index:
                return None
            bundle, offset, size = self.bundled.loc[name]
            path = self.root / bundle
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read(constants.MAX_TILE_BYTES + 1 if size is None else size)
        if len(content) > constants.MAX_TILE_BYTES:
            raise ValueError(f"{channel} has more than {constants.MAX_TILE_BYTES} bytes")
        return content

    def identity(self, wanted: Iterable[tuple[str, str]]) -> list[Any]:
        """A value that changes when one of the tiles of some patch ids and channels is written to or replaced."""
        if self.bundled is None:
            return [checkpoints.identity(self.root / constants.tile_path(*tile)) for tile in wanted]
        mine = self.select(wanted).bundled
        places = [[name, *map(str, place)] for name, *place in mine.itertuples()]
        return [places, *(checkpoints.identity(self.root / bundle) for bundle in mine["bundle"].unique())]


def _file_name(patch_id: str, channel: str) -> str:
    return PurePosixPath(constants.tile_path(patch_id, channel)).name


def _read_index(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"tile": str, "bundle": str, "offset": int, "size": int}).set_index("tile")
        bundle, offset, size = (table[column] for column in ("bundle", "offset", "size"))
        sound = bundle.str.fullmatch(rf"{path.stem}-\d+\.tar") & (offset >= 0) & (size >= 0)
        if not (sound & (size <= constants.MAX_TILE_BYTES)).all() or not table.index.is_unique:
            raise ValueError("it names other files, or impossible offsets or sizes")
    except (ValueError, KeyError) as error:  # pandas' own are ValueErrors
        raise InputError(f"{path}: is not an index of bundles ({error}); run dvc repro -f unpack") from None
    return table

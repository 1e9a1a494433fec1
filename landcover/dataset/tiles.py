"""The bytes of a dataset's tiles, stored as separate files or in bundles."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd

from landcover.dataset.bundles import INDEX
from landcover.ground import benge, partial
from landcover.ground.errors import InputError


class Tiles(NamedTuple):
    """The tiles of a dataset, by patch and band."""

    root: Path
    bundled: pd.DataFrame | None = None  # by file name: bundle, offset, size

    @classmethod
    def find(cls, root: Path) -> Self:
        """The tiles below a dataset's root folder, in bundles if it has an index.

        Raises:
            InputError: the index was not written by `Bundles`.
        """
        index = root / INDEX
        if not index.is_file():
            return cls(root)
        try:
            table = pd.read_csv(index, dtype={"tile": str, "bundle": str, "offset": int, "size": int}).set_index("tile")
            bundle, offset, size = (table[column] for column in ("bundle", "offset", "size"))
            sound = bundle.str.fullmatch(rf"{benge.TILES_FOLDER}-\d+\.tar") & (offset >= 0) & (size >= 0)
            if not (sound & (size <= benge.MAX_TILE_BYTES)).all() or not table.index.is_unique:
                raise ValueError("it names other files, or impossible offsets or sizes")
        except (ValueError, KeyError) as error:  # pandas' own are ValueErrors
            raise InputError(f"{index}: is not an index of bundles ({error}); run dvc repro -f unpack") from None
        return cls(root, table)

    def select(self, patch_ids: Iterable[str], bands: Collection[str]) -> Self:
        """Only the tiles of some patches, to send to another process."""
        if self.bundled is None:
            return self
        names = pd.Index([_file_name(patch_id, band) for patch_id in patch_ids for band in bands])
        return self._replace(bundled=self.bundled.loc[self.bundled.index.intersection(names)])

    def read(self, patch_id: str, band: str) -> bytes | None:
        """The bytes of a tile's GeoTIFF, None if there is none.

        Raises:
            ValueError: it is too large for a tile.
        """
        name = _file_name(patch_id, band)
        if self.bundled is None:
            path, offset, size = self.root / benge.TILES_FOLDER / patch_id / name, 0, None
            if not path.is_file():
                return None
        else:
            if name not in self.bundled.index:
                return None
            bundle, offset, size = self.bundled.loc[name]
            path = self.root / bundle
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read(benge.MAX_TILE_BYTES + 1 if size is None else size)
        if len(content) > benge.MAX_TILE_BYTES:
            raise ValueError(f"{band} has more than {benge.MAX_TILE_BYTES} bytes")
        return content

    def identity(self, patch_id: str) -> list[Any]:
        """A value that changes when a tile of the patch is written to or replaced."""
        if self.bundled is None:
            return partial.identity(self.root / benge.TILES_FOLDER / patch_id)
        mine = self.bundled[self.bundled.index.str.startswith(f"{patch_id}_")]
        places = [[name, *map(str, place)] for name, *place in mine.itertuples()]
        return [places, *(partial.identity(self.root / bundle) for bundle in mine["bundle"].unique())]


def _file_name(patch_id: str, band: str) -> str:
    return f"{patch_id}_{band}.tif"

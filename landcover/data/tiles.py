"""The bytes of a dataset's tiles."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

from landcover import checkpoints, constants


class Tiles(NamedTuple):
    """The tiles of a dataset, by patch id and image channel; for radar, the patch's patch_id_s1."""

    root: Path

    @classmethod
    def find(cls, root: Path) -> Self:
        """The tiles below a dataset's root folder."""
        return cls(root)

    def select(self, wanted: Iterable[tuple[str, str]]) -> Self:
        """Only the tiles of some patch ids and channels, to send to another process."""
        return self

    def read(self, patch_id: str, channel: str) -> bytes | None:
        """The bytes of a tile's GeoTIFF, None if there is none.

        Raises:
            ValueError: it is too large for a tile.
        """
        path = self.root / constants.tile_path(patch_id, channel)
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            content = file.read(constants.MAX_TILE_BYTES + 1)
        if len(content) > constants.MAX_TILE_BYTES:
            raise ValueError(f"{channel} has more than {constants.MAX_TILE_BYTES} bytes")
        return content

    def identity(self, wanted: Iterable[tuple[str, str]]) -> list[Any]:
        """A value that changes when one of the tiles of some patch ids and channels is written to or replaced."""
        return [checkpoints.identity(self.root / constants.tile_path(*tile)) for tile in wanted]

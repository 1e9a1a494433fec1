"""A small picture of a scene, accumulated from strips of its rows."""

import numpy as np

SIDE = 400  # pixels of the longer side, at most


def _places(pixels: range, size: int, shrunk: int) -> np.ndarray:
    """For some of an axis's `size` pixels, which of the `shrunk` pixels each falls into."""
    return np.arange(pixels.start, pixels.stop) * shrunk // size


class Thumbnail:
    """The mean of the pixels of a scene that fall into each pixel of its picture.

    Args:
        height, width: of the scene, in pixels.
    """

    def __init__(self, bands: int, height: int, width: int):
        self.size = (height, width)
        factor = max(1, max(height, width) / SIDE)
        self.shrunk = tuple(max(1, round(length / factor)) for length in self.size)
        self._sums = np.zeros((bands, *self.shrunk), np.float32)

    def sums(self, pixels: np.ndarray, rows: range) -> np.ndarray:
        """The contribution of some rows, (C, rows, width), to the picture, for `add`; (C, n, w)."""
        down, across = (
            np.unique(_places(part, size, shrunk), return_index=True)[1]
            for part, size, shrunk in zip((rows, range(self.size[1])), self.size, self.shrunk, strict=True)
        )
        # For whole rows, this is three times as fast as np.add.reduceat.
        summed = np.stack([some.sum(1, dtype=np.float32) for some in np.split(pixels, down[1:], 1)], 1)
        return np.add.reduceat(summed, across, 2)

    def add(self, sums: np.ndarray, rows: range) -> None:
        top = rows.start * self.shrunk[0] // self.size[0]
        self._sums[:, top : top + sums.shape[1]] += sums

    def means(self) -> np.ndarray:
        """The picture, float32 (C, h, w), once all rows have been added."""
        down, across = (
            np.bincount(_places(range(size), size, shrunk)) for size, shrunk in zip(self.size, self.shrunk, strict=True)
        )
        return self._sums / np.outer(down, across).astype(np.float32)

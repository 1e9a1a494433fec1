import numpy as np

from landcover.mapping import thumbnails
from landcover.mapping.thumbnails import Thumbnail


def gathered(pixels: np.ndarray, *starts: int) -> np.ndarray:
    found = Thumbnail(*pixels.shape)
    for start, stop in zip(starts, [*starts[1:], pixels.shape[1]], strict=True):
        rows = range(start, stop)
        found.add(found.sums(pixels[:, start:stop], rows), rows)
    return found.means()


def test_it_is_the_mean_of_the_pixels_wherever_the_strips_end(monkeypatch):
    monkeypatch.setattr(thumbnails, "SIDE", 2)
    pixels = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    # The longer side is shrunk to 2 pixels, the other by the same factor to 1.
    np.testing.assert_array_equal(gathered(pixels, 0), [[[10, 13]]])
    np.testing.assert_array_equal(gathered(pixels, 0, 1, 3), [[[10, 13]]])
    monkeypatch.setattr(thumbnails, "SIDE", 3)
    np.testing.assert_array_equal(gathered(pixels, 0), [[[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]])
    np.testing.assert_array_equal(gathered(pixels, 0, 3), gathered(pixels, 0))


def test_a_small_scene_is_its_own_thumbnail():
    pixels = np.random.default_rng(0).random((2, 5, 7), np.float32)
    np.testing.assert_array_equal(gathered(pixels, 0, 4), pixels)

import numpy as np
import pytest

from landcover.data.contract import band_statistics


def test_statistics_of_a_histogram_are_those_of_its_pixels():
    pixels = np.random.default_rng(0).integers(1, 12_000, 1001)
    values = np.clip(pixels / 10_000, 0, 1)
    found = band_statistics(np.bincount(pixels, minlength=1 << 16), "B02")
    assert found["mean"] == pytest.approx(values.mean())
    assert found["std"] == pytest.approx(values.std())
    for p in (1, 50, 99):
        assert found[f"p{p}"] == pytest.approx(np.percentile(values, p, method="inverted_cdf"))

import numpy as np
import pytest

from landcover.data import tensors
from landcover.errors import InputError
from landcover.evaluation import applicability
from landcover.evaluation.applicability import Applicability, describe, steps


def split(*levels: float) -> tensors.Split:
    """Constant patches of one band, and of one that is no Sentinel-2 band."""
    images = np.ones((len(levels), 2, 4, 4), np.float32)
    images[:, 1] = np.reshape(levels, (-1, 1, 1))
    return tensors.Split(
        images, np.zeros(len(levels), np.int64), ["VV", "B02"], ["a"], {"divisor": 10_000, "offset": 0}
    )


def test_predictors_are_logarithms_of_mean_deviation_and_step():
    pixels = np.zeros((1, 2, 2))
    pixels[0] = [[0.1, 0.3], [0.3, 0.199]]
    assert steps(pixels).tolist() == [[[pytest.approx(0.099)]]]
    found = describe(np.array([0.09]), np.array([0.09**2 + 0.009**2]), np.array([0.099]))
    np.testing.assert_allclose(found, np.log([0.1, 0.01, 0.1]))


def test_the_index_is_the_distance_to_the_nearest_train_patch():
    known = Applicability("d", ["B02"], 4, 1, 0, np.float32([1, 0, 0.5]), np.float32([[0, 0, 0], [3, 0, 0]]))
    assert known.index(np.array([[3, 7, 8], [-2, 7, 0]])).tolist() == [4, 2]


def test_distances_are_divided_by_the_mean_one_and_the_threshold_is_a_quantile_of_val(tmp_path):
    """With two train patches, whose levels are 0.1 and 1 once DARK is added, so that log10 is their distance."""
    train = split(0.09, 0.99, 0.5)
    train.images[2, 1, 0, 0] = 0  # so that it has nodata, and does not count
    known = Applicability.of(train, split(0.09, 0.1 * 10**0.25 - 0.01), "tiny")
    assert known.bands == ["B02"]
    assert len(known.references) == 2
    assert (known.threshold, known.share_of_val) == (pytest.approx(0.25, abs=1e-4), 0)
    assert known.fits("tiny", ["B02"], 4)
    assert not known.fits("tiny", ["B02", "B03"], 4)
    applicability.save(tmp_path / "a", known)
    loaded = applicability.load(tmp_path / "a")
    assert loaded[:5] == known[:5]
    np.testing.assert_array_equal(loaded.references, known.references)


def test_without_patches_to_compare_the_file_is_empty(tmp_path):
    assert Applicability.of(split(0.1, 0.2), split(0), "tiny") is None
    applicability.save(tmp_path / "a", None)
    assert applicability.load(tmp_path / "a") is None
    (tmp_path / "a").write_text("x")
    with pytest.raises(InputError, match="is not a safetensors file"):
        applicability.load(tmp_path / "a")


def test_of_many_patches_some_are_kept(monkeypatch):
    monkeypatch.setattr(applicability, "REFERENCES", 3)
    known = Applicability.of(split(0.1, 0.2, 0.3, 0.4, 0.5), split(0.2), "tiny")
    assert len(known.references) == 3

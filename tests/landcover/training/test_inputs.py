import numpy as np
import pytest
import torch
from tiny import architecture

from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.metadata import Inputs
from landcover.training.inputs import describe, make_network, moments, patch_means, quantiles, standardization

CONTEXT = ["climate_zone_8", "climate_zone_9", "season"]


def test_nodata_is_in_neither_moments_nor_quantiles():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.1, 0.9, (3, 2, 20, 20)).astype(np.float32)
    images[0, 0, :5] = images[2, 1, 3:] = 0
    bands = [images[:, i][images[:, i] > 0].astype(float) for i in range(2)]
    mean, deviation = moments(images)
    assert mean == pytest.approx([band.mean() for band in bands])
    assert deviation == pytest.approx([band.std() for band in bands])
    median, spread = quantiles(images)
    low, middle, high = np.transpose([np.percentile(band, (16, 50, 84)) for band in bands])
    assert median == pytest.approx(middle, abs=2e-3)
    assert spread == pytest.approx((high - low) / 2, abs=2e-3)


def test_moments_by_hand():
    images = np.zeros((2, 2, 1, 2), np.float32)
    images[0, 0], images[1, 0] = 1, 3
    images[:, 1] = [[0.5, 1.5]]
    mean, std = moments(images)
    assert mean.tolist() == [2, 1]
    assert std.tolist() == [1, 0.5]


def test_patch_means_are_of_valid_pixels():
    images = np.zeros((3, 2, 1, 2), np.float32)
    images[0, 0], images[1, 0] = [[0, 0.25]], [[0.5, 1]]  # the third patch has no valid pixel
    images[:, 1] = 0.125
    split = tensors.Split(images, np.zeros(3, int), ["B02", "B08"], [], {})
    assert patch_means(split) == {"B02": [0.25, 0.75], "B08": [0.125, 0.125]}


def test_quantiles_by_hand_are_not_moved_by_snow():
    """A hundred pixels from 0.01 to 1.00, and the same with the ten brightest as bright as can be."""
    ramp = np.arange(1, 101, dtype=np.float32).reshape(1, 10, 10) / 100
    median, spread = quantiles([ramp])
    assert (median, spread) == (pytest.approx([0.5]), pytest.approx([(0.84 - 0.16) / 2]))
    snow = np.where(ramp > 0.9, np.float32(1), ramp)
    assert [part.tolist() for part in quantiles([snow])] == [median.tolist(), spread.tolist()]


@pytest.mark.parametrize("method", ["moments", "quantiles"])
def test_context_is_scaled_by_its_moments(method):
    images = np.random.default_rng(0).uniform(0.1, 0.9, (4, 1, 8, 8)).astype(np.float32)
    context = np.array([[0, 1, 0.25], [0, 1, 0.75], [0, 0, 0.25], [0, 0, 0.75]], np.float32)
    center, spread = standardization(tensors.Split(images, np.zeros(4, int), ["VV"], [], {}, context, CONTEXT), method)
    assert center[1:].tolist() == [0, 0.5, 0.5]
    assert spread[1:].tolist() == [1, 0.5, 0.25]  # the first feature is constant
    assert (center.dtype, spread.dtype) == (np.float32, np.float32)


def test_a_constant_channel_is_refused():
    constant = np.ones((2, 3, 4, 4), np.float32)
    constant[0, 0, 0, 0] = constant[0, 2, 0, 0] = 2
    split = tensors.Split(constant, np.zeros(2, int), ["B02", "B08", "VV"], [], {})
    with pytest.raises(InputError, match="nearly constant over the train split: B08; leave out of bands or inputs"):
        standardization(split, "moments")


def test_patches_that_are_too_small_for_the_network_are_told():
    split = tensors.Split(np.ones((2, 1, 20, 20), np.float32), np.zeros(2, np.int64), ["B02"], ["a", "b"], {})
    with pytest.raises(InputError, match=r"model.cnn: patches have 20 x 20 pixels: .*; use fewer layers"):
        make_network(split, architecture(), 42, torch.device("cpu"))


def test_a_network_is_made_for_the_train_split_and_described_by_it():
    images = np.random.default_rng(0).uniform(0.25, 0.75, (4, 2, 64, 64)).astype(np.float32)
    context = np.zeros((4, 3), np.float32)
    split = tensors.Split(images, np.zeros(4, int), ["B02", "VV"], ["a", "b"], {"divisor": 10_000}, context, CONTEXT)
    chosen = architecture(standardize="moments")
    network, same = (make_network(split, chosen, seed, torch.device("cpu")) for seed in (42, 42))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), same.parameters(), strict=True))
    assert network.inputs == Inputs(("B02", "VV"), ("a", "b"), 64, tuple(CONTEXT))
    assert network.center.flatten().tolist() == pytest.approx(images.mean((0, 2, 3), dtype=float).tolist())
    metadata = describe(network, chosen, split, epochs=3, modality_dropout=0.1)
    assert (metadata.inputs, metadata.architecture, metadata.scale) == (network.inputs, chosen, {"divisor": 10_000})
    assert (metadata.epochs, metadata.modality_dropout) == (3, 0.1)
    assert metadata.parameters == network.parameter_count
    assert metadata.patch_means.keys() == {"B02", "VV"}

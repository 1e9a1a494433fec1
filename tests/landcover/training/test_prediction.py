import numpy as np
import pytest
import torch
from tiny import architecture

from landcover.modalities import PERMUTATIONS
from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import build
from landcover.training.distributed import Group
from landcover.training.loader import Patches
from landcover.training.prediction import SEED, infer, predict_permuted


@pytest.fixture
def sums() -> Model:
    """The logits are 0, and the mean of B02 + 10 x the mean of VV + 100 x the season."""
    means = architecture(convolutions=[2], kernel=1, stride=1, pool=1, global_pooling=True, linear=[])
    network = build(means, Inputs(("B02", "VV"), ("a", "b"), 17, ("season",)))
    weights = {"features.0.weight": torch.eye(2)[:, :, None, None], "features.0.bias": torch.zeros(2)}
    weights |= {"classifier.1.weight": torch.tensor([[0, 0, 0], [1.0, 10, 100]]), "classifier.1.bias": torch.zeros(2)}
    network.load_state_dict(weights)
    return network


def test_each_process_predicts_its_share_of_the_patches():
    network = build(architecture(normalization="batch"), Inputs(("B02", "B08"), ("a", "b"), 64))
    patches = Patches(torch.rand(7, 2, 64, 64), torch.zeros(7, dtype=torch.int64))
    every = infer(network, patches, 7)
    assert torch.allclose(infer(network, patches, 2), every, atol=1e-6)
    halves = [infer(network, patches, 2, Group(rank, 2)) for rank in (0, 1)]
    assert [len(half) for half in halves] == [4, 3]
    assert torch.allclose(halves[1], every[1::2], atol=1e-6)


@pytest.mark.parametrize("resident", [True, False])
def test_a_permuted_modality_has_the_values_of_other_patches_and_the_rest_its_own(sums, resident):
    values = np.random.default_rng(0).uniform(0, 0.1, (5, 3)).astype(np.float32)
    images = np.broadcast_to(values[:, :2, None, None], (5, 2, 17, 17)).copy()
    held = torch.from_numpy(images) if resident else images
    permuted = predict_permuted(sums, Patches(held, torch.zeros(5, dtype=int), torch.from_numpy(values[:, 2:])), 2)
    generator = torch.Generator().manual_seed(SEED)
    orders = [torch.randperm(5, generator=generator).numpy() for _ in range(PERMUTATIONS)]
    for column, name in enumerate(("sentinel-2", "sentinel-1", "season")):
        for order, predicted in zip(orders, permuted[name], strict=True):
            exchanged = values.copy()
            exchanged[:, column] = values[order, column]
            assert predicted[:, 1] - predicted[:, 0] == pytest.approx(exchanged @ [1, 10, 100], abs=1e-4), name
    assert permuted.keys() == {"sentinel-2", "sentinel-1", "season"}
    assert permuted["season"].dtype == np.float64


def test_with_one_modality_there_is_nothing_to_permute():
    network = build(architecture(), Inputs(("B02", "B08"), ("a", "b", "c"), 120))
    assert predict_permuted(network, Patches(torch.rand(2, 2, 120, 120), torch.zeros(2, dtype=int)), 2) == {}

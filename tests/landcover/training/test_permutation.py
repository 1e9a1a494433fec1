import numpy as np
import pytest
import torch

from landcover.config import Architecture
from landcover.modalities import PERMUTATIONS
from landcover.models.cnn import Network
from landcover.training.loader import Patches
from landcover.training.permutation import SEED, predict_without

BANDS, CONTEXT = ["B02", "VV"], ["season"]


@pytest.fixture
def sums(default_params) -> Network:
    """The logits are 0, and the mean of B02 + 10 x the mean of VV + 100 x the season."""
    changes = {"convolutions": [2], "kernel": 1, "stride": 1, "pool": 1, "global_pooling": True, "linear": []}
    architecture = Architecture.model_validate(default_params["model"] | changes)
    network = Network(architecture, BANDS, 2, patch_size=17, context=CONTEXT)
    weights = {"features.0.weight": torch.eye(2)[:, :, None, None], "features.0.bias": torch.zeros(2)}
    weights |= {"classifier.1.weight": torch.tensor([[0, 0, 0], [1.0, 10, 100]]), "classifier.1.bias": torch.zeros(2)}
    network.load_state_dict(weights)
    return network


@pytest.mark.parametrize("resident", [True, False])
def test_a_modality_has_the_values_of_other_patches_and_the_rest_its_own(sums, resident):
    values = np.random.default_rng(0).uniform(0, 0.1, (5, 3)).astype(np.float32)
    images = np.broadcast_to(values[:, :2, None, None], (5, 2, 17, 17)).copy()
    held = torch.from_numpy(images) if resident else images
    found = predict_without(sums, Patches(held, torch.zeros(5, dtype=int), torch.from_numpy(values[:, 2:])), 2)
    generator = torch.Generator().manual_seed(SEED)
    orders = [torch.randperm(5, generator=generator).numpy() for _ in range(PERMUTATIONS)]
    for column, name in enumerate(("sentinel-2", "sentinel-1", "season")):
        for order, predicted in zip(orders, found[name], strict=True):
            exchanged = values.copy()
            exchanged[:, column] = values[order, column]
            logits = exchanged @ [1, 10, 100]
            assert predicted[:, 1] - predicted[:, 0] == pytest.approx(logits, abs=1e-4), name
    assert found.keys() == {"sentinel-2", "sentinel-1", "season"}
    assert found["season"].dtype == np.float64


def test_with_one_modality_there_is_nothing_to_exchange(default_params):
    network = Network(Architecture.model_validate(default_params["model"]), ["B02", "B08"], 3)
    assert predict_without(network, Patches(torch.rand(2, 2, 120, 120), torch.zeros(2, dtype=int)), 2) == {}

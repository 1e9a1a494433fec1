import numpy as np
import pytest
import torch

from landcover.dataset import tensors
from landcover.ground.errors import InputError
from landcover.network import model
from landcover.network.distributed import Group
from landcover.network.loader import Patches

BANDS = ["B02", "B03", "B04", "B08"]
NOTEBOOK = {
    "convolutions": [8, 16],
    "kernel": 5,
    "stride": 2,
    "padding": "valid",
    "pool": 2,
    "residual": False,
    "normalization": "none",
    "global_pooling": False,
    "linear": [100],
    "dropout": 0.0,
    "standardize": "none",
}


def architecture(**changes) -> model.Architecture:
    return model.Architecture.model_validate(NOTEBOOK | changes)


def build(**changes) -> model.Network:
    torch.manual_seed(0)
    return model.Network(architecture(**changes), 4, 11)


def test_the_default_is_the_notebooks_network():
    network = build()
    shapes = [tuple(weights.shape) for weights in network.parameters()]
    assert shapes == [(8, 4, 5, 5), (8,), (16, 8, 5, 5), (16,), (100, 576), (100,), (11, 100), (11,)]
    assert model.parameter_count(network) == 808 + 3216 + 57_700 + 1111


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"convolutions": [8, 16, 32, 32], "kernel": 3, "stride": 1, "padding": "same"},
        {"normalization": "batch", "global_pooling": True, "linear": []},
        {"residual": True, "padding": "same", "kernel": 3, "stride": 1, "convolutions": [8, 8, 16]},
        {"residual": True, "padding": "same", "kernel": 3, "normalization": "batch", "pool": 1},
        {"normalization": "group", "convolutions": [6, 16], "standardize": "quantiles"},
        {"linear": [50, 20], "dropout": 0.5},
        {"linear": [], "dropout": 0.5, "standardize": "moments"},
    ],
)
def test_each_architecture_gives_logits_and_learns(changes):
    network = build(**changes).train()
    logits = network(torch.rand(3, 4, 120, 120))
    assert logits.shape == (3, 11)
    logits.sum().backward()
    assert all(weights.grad is not None and weights.grad.isfinite().all() for weights in network.parameters())


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [({}, [29, 6]), ({"padding": "same", "stride": 1}, [60, 30]), ({"kernel": 3, "pool": 1}, [59, 29])],
)
def test_feature_sizes_are_those_of_the_network(changes, sizes):
    assert architecture(**changes).feature_sizes(120) == sizes
    assert build(**changes).features(torch.zeros(1, 4, 120, 120)).shape[-1] == sizes[-1]


def test_an_architecture_that_runs_out_of_pixels_is_refused():
    deep = architecture(convolutions=[8, 16, 32])
    with pytest.raises(ValueError, match="convolutional layer 3 gets only 6 x 6 pixels"):
        deep.feature_sizes(120)
    assert deep.feature_sizes(256)[-1] == 3


@pytest.mark.parametrize("global_pooling", [False, True])
def test_a_network_of_smaller_patches_is_rebuilt_from_its_metadata(tmp_path, global_pooling):
    network = model.Network(architecture(global_pooling=global_pooling), 4, 3, patch_size=64).eval()
    images = torch.rand(2, 4, 64, 64)
    facts = {"architecture": architecture(global_pooling=global_pooling).model_dump(), "bands": BANDS}
    facts |= {"classes": ["x", "y", "z"], "scale": {}, "parameters": 1, "epochs": 1, "patch_size": 64}
    model.save(tmp_path / "m", network, facts)
    assert torch.equal(model.load(tmp_path / "m")[0].eval()(images), network(images))


def test_input_is_standardized_by_the_moments_that_travel_with_the_model(tmp_path):
    mean, std = np.array([1, 2, 3, 4], np.float32), np.array([1, 2, 1, 2], np.float32)
    torch.manual_seed(0)
    network = model.Network(architecture(standardize="moments"), 4, 11, mean, std)
    images = torch.rand(2, 4, 120, 120)
    plain = build()
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if k not in ("center", "spread")})
    scaled = (images - torch.from_numpy(mean).view(1, 4, 1, 1)) / torch.from_numpy(std).view(1, 4, 1, 1)
    assert torch.equal(network(images), plain(scaled))

    facts = {
        "architecture": NOTEBOOK | {"standardize": "moments"},
        "bands": BANDS,
        "classes": list("abcdefghijk"),
    }
    facts |= {"scale": {}, "parameters": 1, "epochs": 1}
    model.save(tmp_path / "m.safetensors", network, facts)
    loaded, metadata = model.load(tmp_path / "m.safetensors")
    assert torch.equal(loaded(images), network(images))
    assert metadata == model.DEFAULTS | facts


def test_an_ensemble_is_rebuilt_network_by_network(tmp_path):
    path, facts = tmp_path / "e.safetensors", {"architecture": NOTEBOOK, "bands": BANDS}
    facts |= {"classes": list("abcdefghijk"), "scale": {}, "parameters": 1, "epochs": [1, 1]}
    networks = {seed: build() for seed in (9, 10)}
    torch.nn.init.ones_(networks[10].classifier[-1].bias)
    model.save_ensemble(path, networks, facts)
    loaded, metadata = model.load_ensemble(path)
    assert metadata == model.DEFAULTS | facts | {"seeds": [9, 10]}
    images = torch.rand(2, 4, 120, 120)
    for network, expected in zip(loaded, networks.values(), strict=True):
        assert torch.equal(network(images), expected(images))
    with pytest.raises(InputError, match="is not a model from this pipeline"):
        model.load(path)
    model.save(path, networks[9], facts)
    with pytest.raises(InputError, match="is not a model from this pipeline"):
        model.load_ensemble(path)


def test_quantiles_scale_the_middle_and_cut_off_what_lies_far_out():
    center, spread = np.full(4, 0.2, np.float32), np.full(4, 0.1, np.float32)
    torch.manual_seed(0)
    network = model.Network(architecture(standardize="quantiles"), 4, 11, center, spread)
    images = torch.full((1, 4, 120, 120), 0.3)
    images[..., 0] = 0.9  # seven spreads above
    plain = build()
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if k not in ("center", "spread")})
    scaled = torch.ones(1, 4, 120, 120)
    scaled[..., 0] = 5
    assert torch.allclose(network(images), plain(scaled), atol=1e-5)


def test_group_norm_takes_each_patch_by_itself_while_it_trains():
    images = torch.rand(4, 4, 120, 120)
    by_group, by_batch = (build(normalization=name).train() for name in ("group", "batch"))
    assert torch.allclose(by_group(images)[:1], by_group(images[:1]), atol=1e-5)
    assert not torch.allclose(by_batch(images)[:1], by_batch(images[:1]), atol=1e-2)


def test_predictions_do_not_depend_on_the_batch():
    network = build(normalization="batch")
    images = torch.rand(7, 4, 120, 120)
    patches = Patches(images, torch.zeros(7, dtype=torch.int64))
    assert torch.allclose(model.infer(network, patches, 2), model.infer(network, patches, 7), atol=1e-6)
    halves = [model.infer(network, patches, 2, Group(rank, 2)) for rank in (0, 1)]
    assert [len(half) for half in halves] == [4, 3]
    assert torch.allclose(halves[1], model.infer(network, patches, 7)[1::2], atol=1e-6)


def test_a_model_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    facts = {"architecture": NOTEBOOK, "bands": ["B02"], "classes": list("abcdefghijk")}
    model.save(path, build(), facts)  # its weights are for four bands
    with pytest.raises(InputError, match="is not a model from this pipeline"):
        model.load(path)
    tensors.save(path, {"weights": np.zeros(3)}, {})
    with pytest.raises(InputError, match="is not a model from this pipeline"):
        model.load(path)
    with pytest.raises(InputError, match="not found"):
        model.load(tmp_path / "none")

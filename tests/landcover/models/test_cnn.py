import numpy as np
import pytest
import torch

from landcover.data import tensors
from landcover.errors import InputError
from landcover.modalities import modalities
from landcover.models import cnn
from landcover.training.distributed import Group
from landcover.training.loader import Patches

BANDS = ["B02", "B03", "B04", "B08"]
ALL_BANDS = [*BANDS, "VV", "VH", "elevation"]
CONTEXT = ["climate_zone_8", "climate_zone_9", "season", "temperature"]
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


def architecture(**changes) -> cnn.Architecture:
    return cnn.Architecture.model_validate(NOTEBOOK | changes)


def build(bands=BANDS, context=(), **changes) -> cnn.Network:
    torch.manual_seed(0)
    return cnn.Network(architecture(**changes), bands, 11, context=context)


def test_the_default_is_the_notebooks_network():
    network = build()
    shapes = [tuple(weights.shape) for weights in network.parameters()]
    assert shapes == [(8, 4, 5, 5), (8,), (16, 8, 5, 5), (16,), (100, 576), (100,), (11, 100), (11,)]
    assert cnn.parameter_count(network) == 808 + 3216 + 57_700 + 1111


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
    network = cnn.Network(architecture(global_pooling=global_pooling), BANDS, 3, patch_size=64).eval()
    images = torch.rand(2, 4, 64, 64)
    facts = {"architecture": architecture(global_pooling=global_pooling).model_dump(), "bands": BANDS}
    facts |= {"classes": ["x", "y", "z"], "scale": {}, "parameters": 1, "epochs": 1, "patch_size": 64}
    cnn.save(tmp_path / "m", network, facts)
    assert torch.equal(cnn.load(tmp_path / "m")[0].eval()(images), network(images))


def test_input_is_standardized_by_the_moments_that_travel_with_the_model(tmp_path):
    mean, std = np.array([1, 2, 3, 4], np.float32), np.array([1, 2, 1, 2], np.float32)
    torch.manual_seed(0)
    network = cnn.Network(architecture(standardize="moments"), BANDS, 11, mean, std)
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
    cnn.save(tmp_path / "m.safetensors", network, facts)
    loaded, metadata = cnn.load(tmp_path / "m.safetensors")
    assert torch.equal(loaded(images), network(images))
    assert metadata == cnn.DEFAULTS | facts


def test_an_ensemble_is_rebuilt_network_by_network(tmp_path):
    path, facts = tmp_path / "e.safetensors", {"architecture": NOTEBOOK, "bands": BANDS}
    facts |= {"classes": list("abcdefghijk"), "scale": {}, "parameters": 1, "epochs": [1, 1]}
    networks = {seed: build() for seed in (9, 10)}
    torch.nn.init.ones_(networks[10].classifier[-1].bias)
    cnn.save_ensemble(path, networks, facts)
    loaded, metadata = cnn.load_ensemble(path)
    assert metadata == cnn.DEFAULTS | facts | {"seeds": [9, 10]}
    images = torch.rand(2, 4, 120, 120)
    for network, expected in zip(loaded, networks.values(), strict=True):
        assert torch.equal(network(images), expected(images))
    with pytest.raises(InputError, match="holds an ensemble, not a single network; add --ensemble"):
        cnn.load(path)
    cnn.save(path, networks[9], facts)
    with pytest.raises(InputError, match="holds a single network, not an ensemble; leave out --ensemble"):
        cnn.load_ensemble(path)
    tensors.save(path, {"a": np.zeros(1)}, {"seeds": [1]})  # as the seeds' log-probabilities
    for load in (cnn.load, cnn.load_ensemble):
        with pytest.raises(InputError, match="is not a model from this pipeline"):
            load(path)


def test_quantiles_scale_the_middle_and_cut_off_what_lies_far_out():
    center, spread = np.full(4, 0.2, np.float32), np.full(4, 0.1, np.float32)
    torch.manual_seed(0)
    network = cnn.Network(architecture(standardize="quantiles"), BANDS, 11, center, spread)
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
    assert torch.allclose(cnn.infer(network, patches, 2), cnn.infer(network, patches, 7), atol=1e-6)
    halves = [cnn.infer(network, patches, 2, Group(rank, 2)) for rank in (0, 1)]
    assert [len(half) for half in halves] == [4, 3]
    assert torch.allclose(halves[1], cnn.infer(network, patches, 7)[1::2], atol=1e-6)


def test_a_model_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    facts = {"architecture": NOTEBOOK, "bands": ["B02"], "classes": list("abcdefghijk")}
    cnn.save(path, build(), facts)  # its weights are for four bands
    with pytest.raises(InputError, match="is not a model from this pipeline"):
        cnn.load(path)
    tensors.save(path, {"weights": np.zeros(3)}, {})
    with pytest.raises(InputError, match="is not a model from this pipeline"):
        cnn.load(path)
    with pytest.raises(InputError, match="not found"):
        cnn.load(tmp_path / "none")


# -- several modalities


@pytest.mark.parametrize("bands", [ALL_BANDS, ["B02", "B08", "VV", "VH"]], ids=["unequal groups", "equal groups"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"convolutions": [8]},
        {"normalization": "group", "convolutions": [6, 16]},
        {"normalization": "batch", "kernel": 1},
        {"residual": True, "padding": "same", "normalization": "batch", "global_pooling": True},
        {"residual": True, "padding": "same", "kernel": 3, "stride": 1, "convolutions": [3, 3, 6]},
    ],
    ids=str,
)
def test_late_fusion_joins_an_encoder_of_each_image_modality(bands, changes):
    """An encoder alone, with the weights of its group, gives the group's part of the feature map."""
    images = torch.rand(2, len(bands), 120, 120)
    joined = build(bands, fusion="late", **changes).eval()
    found = joined.features(images)
    assert joined.feature_shape == found.shape[1:]
    groups = modalities(bands)
    for number, channels in enumerate(groups.values()):
        alone = build([bands[channel] for channel in channels], **changes).eval()
        ours = dict(alone.features.state_dict())
        for name, weights in joined.features.state_dict().items():
            prefix, _, rest = name.partition("convolutions.")
            if not rest:
                ours[name] = weights.chunk(len(groups))[number] if weights.ndim else weights
            elif rest.startswith(f"{number}."):
                ours[prefix + rest[2:]] = weights
        alone.features.load_state_dict(ours)
        torch.testing.assert_close(alone.features(images[:, channels]), found.chunk(len(groups), 1)[number])


def test_late_fusion_of_one_image_modality_is_early_fusion():
    early, late = (build(["VV", "VH"], CONTEXT, fusion=fusion).state_dict() for fusion in ("early", "late"))
    assert early.keys() == late.keys()
    assert all(torch.equal(early[name], late[name]) for name in early)


def test_late_fusion_learns_and_counts_its_weights():
    network = build(ALL_BANDS, CONTEXT, fusion="late")
    first, second = (4 + 2 + 1) * 8 * 25 + 3 * 8, 3 * (8 * 16 * 25 + 16)
    assert cnn.parameter_count(network) == first + second + (3 * 576 + 4) * 100 + 100 + 1111
    network(torch.rand(3, 7, 120, 120), torch.rand(3, 4)).sum().backward()
    assert all(weights.grad.isfinite().all() for weights in network.parameters())


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_context_joins_the_features_before_the_first_linear_layer(fusion):
    network = build(ALL_BANDS, CONTEXT, fusion=fusion, linear=[])
    last = network.classifier[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.weight[:4, -4:] = torch.eye(4)
    context = torch.tensor([[0, 1, 0.25, 0.5], [1, 0, 0.75, 0]])
    assert network(torch.rand(2, 7, 120, 120), context)[:, :4].tolist() == context.tolist()


@pytest.mark.parametrize("standardize", ["none", "moments", "quantiles"])
def test_a_hidden_modality_is_at_the_center(standardize):
    scaling = (np.linspace(0.2, 0.7, 11, dtype=np.float32), np.full(11, 0.1, np.float32))
    torch.manual_seed(0)
    network = cnn.Network(architecture(standardize=standardize), ALL_BANDS, 11, *scaling, context=CONTEXT).eval()
    assert network.modalities == ["sentinel-2", "sentinel-1", "elevation", "climate_zone", "season", "weather"]
    images, context = torch.rand(2, 7, 120, 120), torch.rand(2, 4)
    central = torch.zeros(11) if standardize == "none" else torch.from_numpy(scaling[0])
    without = images.clone(), context.clone()
    without[0][:, 4:6] = central[4:6].view(2, 1, 1)
    without[1][:, :2] = central[7:9]
    present = torch.tensor([True, False, True, False, True, True])
    expected = network(*without)
    assert torch.equal(network(images, context, present), expected)
    assert not torch.equal(network(images, context), expected)
    # The second patch alone lacks them. What stands in place of a missing value does not matter.
    images[1, 4:6] = torch.nan
    found = network(images, context, torch.stack([torch.ones(6, dtype=torch.bool), present]))
    torch.testing.assert_close(found[1], expected[1])
    torch.testing.assert_close(found[0], network(images[:1], context[:1])[0])


def test_the_context_is_standardized_as_it_travels_with_the_model(tmp_path):
    scaling = (np.array([*[0] * 7, 0, 0.5, 0.25, 0], np.float32), np.array([*[1] * 7, 1, 2, 0.5, 0.01], np.float32))
    network = cnn.Network(architecture(standardize="quantiles"), ALL_BANDS, 11, *scaling, context=CONTEXT).eval()
    context = torch.tensor([[1, 0, 0.5, 1]])
    assert network.standardized_context(context).tolist() == [[1, -0.25, 0.5, 5]]  # the last one is cut off
    facts = {"architecture": NOTEBOOK | {"standardize": "quantiles"}, "bands": ALL_BANDS, "context": CONTEXT}
    facts |= {"classes": list("abcdefghijk"), "scale": {}, "parameters": 1, "epochs": 1}
    cnn.save(tmp_path / "m", network, facts)
    images = torch.rand(1, 7, 120, 120)
    loaded = cnn.load(tmp_path / "m")[0].eval()
    assert torch.equal(loaded(images, context), network(images, context))
    cnn.save(tmp_path / "m", network, facts | {"context": [*CONTEXT[:3], "B99"]})
    with pytest.raises(InputError, match="is not a model from this pipeline"):
        cnn.load(tmp_path / "m")


@pytest.mark.parametrize("linear", [[], [5]])
@pytest.mark.parametrize("present", [None, torch.tensor([True, True, True, True, False, True])])
def test_a_context_that_is_the_same_everywhere_is_part_of_the_classifier(linear, present):
    scaling = (np.full(11, 0.5, np.float32), np.full(11, 0.2, np.float32))
    standard = architecture(standardize="moments", fusion="late", linear=linear, dropout=0.5)
    network = cnn.Network(standard, ALL_BANDS, 11, *scaling, context=CONTEXT).eval()
    images, context = torch.rand(3, 7, 120, 120), torch.rand(4)
    features = network.features(network.standardized(images, present))
    found = network.classifier_for(context, present).eval()(features)
    torch.testing.assert_close(found, network(images, context.expand(3, 4), present))
    plain = build()
    assert plain.classifier_for(None) is plain.classifier

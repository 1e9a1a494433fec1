import pytest
import torch
from tiny import architecture
from torch import nn

from landcover.modalities import modalities
from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import build

BANDS = ("B02", "B03", "B04", "B08")
CHANNELS = (*BANDS, "VV", "VH", "elevation")
CONTEXT = ("climate_zone_8", "climate_zone_9", "season", "temperature")


def cnn(channels=BANDS, context=(), size=120, **changes) -> Model:
    torch.manual_seed(0)
    return build(architecture(**changes), Inputs(tuple(channels), tuple("abcdefghijk"), size, context))


def test_the_default_is_the_notebooks_network():
    network = cnn()
    shapes = [tuple(weights.shape) for weights in network.parameters()]
    assert shapes == [(8, 4, 5, 5), (8,), (16, 8, 5, 5), (16,), (100, 576), (100,), (11, 100), (11,)]
    assert network.parameter_count == 808 + 3216 + 57_700 + 1111


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"convolutions": [8, 16, 32, 32], "kernel": 3, "stride": 1, "padding": "same"},
        {"normalization": "batch", "global_pooling": True, "linear": []},
        {"residual": True, "padding": "same", "kernel": 3, "stride": 1, "convolutions": [8, 8, 16]},
        {"residual": True, "padding": "same", "kernel": 3, "normalization": "batch", "pool": 1},
        {"normalization": "group", "convolutions": [6, 16]},
        {"linear": [50, 20], "dropout": 0.5},
        {"linear": [], "dropout": 0.5},
    ],
    ids=str,
)
def test_each_architecture_gives_logits_and_learns(changes):
    network = cnn(**changes).train()
    logits = network(torch.rand(3, 4, 120, 120))
    assert logits.shape == (3, 11)
    logits.sum().backward()
    assert all(weights.grad is not None and weights.grad.isfinite().all() for weights in network.parameters())


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [({}, [29, 6]), ({"padding": "same", "stride": 1}, [60, 30]), ({"kernel": 3, "pool": 1}, [59, 29])],
)
def test_feature_sizes_are_those_of_the_network(changes, sizes):
    assert architecture(**changes).parameters.feature_sizes(120) == sizes
    assert cnn(**changes).features(torch.zeros(1, 4, 120, 120)).shape[-1] == sizes[-1]


@pytest.mark.parametrize("changes", [{"residual": True, "padding": "same"}, {"kernel": 1}], ids=str)
def test_no_convolution_of_one_pixel_has_a_stride(changes):
    """In torch 2.13 the backward pass of such a one writes out of bounds, channels last, on the CPU."""
    layers = [layer for layer in cnn(**changes).modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.stride == (1, 1) for layer in layers if layer.kernel_size == (1, 1))


def test_group_norm_takes_each_patch_by_itself_while_it_trains():
    images = torch.rand(4, 4, 120, 120)
    by_group, by_batch = (cnn(normalization=name).train() for name in ("group", "batch"))
    assert torch.allclose(by_group(images)[:1], by_group(images[:1]), atol=1e-5)
    assert not torch.allclose(by_batch(images)[:1], by_batch(images[:1]), atol=1e-2)


@pytest.mark.parametrize("channels", [CHANNELS, ("B02", "B08", "VV", "VH")], ids=["unequal groups", "equal groups"])
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
def test_late_fusion_joins_an_encoder_of_each_image_modality(channels, changes):
    """An encoder alone, with the weights of its group, gives the group's part of the feature map."""
    images = torch.rand(2, len(channels), 120, 120)
    fused = cnn(channels, fusion="late", **changes).eval()
    features = fused.features(images)
    groups = modalities(channels)
    for number, positions in enumerate(groups.values()):
        alone = cnn([channels[position] for position in positions], **changes).eval()
        own = dict(alone.features.state_dict())
        for name, weights in fused.features.state_dict().items():
            prefix, _, rest = name.partition("convolutions.")
            if not rest:
                own[name] = weights.chunk(len(groups))[number] if weights.ndim else weights
            elif rest.startswith(f"{number}."):
                own[prefix + rest[2:]] = weights
        alone.features.load_state_dict(own)
        torch.testing.assert_close(alone.features(images[:, positions]), features.chunk(len(groups), 1)[number])


def test_late_fusion_of_one_image_modality_is_early_fusion():
    early, late = (cnn(["VV", "VH"], CONTEXT, fusion=fusion).state_dict() for fusion in ("early", "late"))
    assert early.keys() == late.keys()
    assert all(torch.equal(early[name], late[name]) for name in early)


def test_late_fusion_counts_its_weights():
    first, second = (4 + 2 + 1) * 8 * 25 + 3 * 8, 3 * (8 * 16 * 25 + 16)
    network = cnn(CHANNELS, CONTEXT, fusion="late")
    assert network.parameter_count == first + second + (3 * 576 + 4) * 100 + 100 + 1111


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_context_joins_the_features_before_the_first_linear_layer(fusion):
    network = cnn(CHANNELS, CONTEXT, fusion=fusion, linear=[])
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.zero_()
        network.head.weight[:4, -4:] = torch.eye(4)
    context = torch.tensor([[0, 1, 0.25, 0.5], [1, 0, 0.75, 0]])
    assert network(torch.rand(2, 7, 120, 120), context)[:, :4].tolist() == context.tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"normalization": "batch", "global_pooling": True, "linear": []},
        {"linear": [50, 20], "dropout": 0.5, "padding": "same", "kernel": 1},
        {"fusion": "late"},
    ],
    ids=str,
)
def test_unpadded_layers_slide_over_a_scene(changes):
    """Over a scene of 72 x 56 pixels, whose two windows are as far apart as all strides together, 16 pixels."""
    network = cnn(("B02", "VV"), CONTEXT, size=56, standardize="moments", **changes).eval()
    present = torch.tensor([True, True, False, False, False])
    scene, context = torch.rand(1, 2, 72, 56), torch.rand(1, 4)
    chain = nn.Sequential(*network.as_layers(present))
    logits = chain(network.normalize(scene, present))
    for row, window in ((0, scene[:, :, :56]), (1, scene[:, :, 16:])):
        alone = network(window, context, present)
        torch.testing.assert_close(chain(network.normalize(window, present)).flatten(1), alone)
        if not changes.get("global_pooling"):  # whose stride is as wide as a window
            torch.testing.assert_close(logits[:, :, row, 0], alone)


def test_layers_whose_borders_matter_or_that_see_a_context_do_not_slide():
    for changes in ({"padding": "same"}, {"normalization": "group"}, {"residual": True, "padding": "same"}):
        assert cnn(**changes).as_layers() is None
    assert cnn(context=("season",)).as_layers() is None
    assert cnn(context=("season",)).as_layers(torch.tensor([True, True])) is None
    assert cnn(context=("season",)).as_layers(torch.tensor([True, False])) is not None

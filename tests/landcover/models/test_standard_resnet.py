import pytest
import torch
from tiny import architecture

from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import build
from landcover.models.standard_resnet import Bottleneck


def resnet(depth: int, classes: int = 5, context: tuple[str, ...] = ()) -> Model:
    torch.manual_seed(0)
    inputs = Inputs(("B04", "B03", "B02"), tuple(f"c{i}" for i in range(classes)), 64, context)
    return build(architecture("standard_resnet", depth=depth), inputs)


@pytest.mark.parametrize(("depth", "weights", "tensors"), [(18, 11_689_512, 122), (50, 25_557_032, 320)])
def test_with_a_thousand_classes_it_has_the_weights_that_the_field_knows(depth, weights, tensors):
    network = resnet(depth, 1000)
    assert network.parameter_count == weights
    names = list(network.state_dict())
    assert len(names) == tensors
    assert [names[0], *names[-2:]] == ["conv1.weight", "fc.weight", "fc.bias"]
    last = {18: "layer4.1.bn2.running_var", 50: "layer4.2.bn3.running_var"}[depth]
    assert {"bn1.num_batches_tracked", "layer2.0.downsample.0.weight", "layer2.0.downsample.1.bias", last} <= {*names}
    assert {module.eps for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {1e-5}


def passes(kernel: torch.nn.Conv2d, factor: float = 1) -> None:
    """The pixel at the center, times a factor, from the first channel to the first."""
    with torch.no_grad():
        kernel.weight.zero_()
        kernel.weight[0, 0, kernel.kernel_size[0] // 2, kernel.kernel_size[1] // 2] = factor


def test_a_strided_bottleneck_by_hand():
    """The 3 x 3 convolution adds the pixel on the left of its center, at every second pixel.

    If the first convolution had the stride, the pixel on the left would be the one two to the left.
    """
    block = Bottleneck(1, 1, stride=2).eval()
    passes(block.conv1)
    passes(block.conv2)
    passes(block.conv3, 2)
    passes(block.downsample[0], 3)
    with torch.no_grad():
        block.conv2.weight[0, 0, 1, 0] = 1
    x = torch.tensor([[1.0, -2, 3, 4], [9, 9, 9, 9], [5, 6, -7, 8], [9, 9, 9, 9]])[None, None]
    # After ReLU, the body sees 1 0 3 4 / 5 6 0 8: it adds 0 to 1, 0 to 3, 0 to 5 and 6 to 0, and doubles the sums.
    body, shortcut = torch.tensor([[2.0, 6], [10, 12]]), torch.tensor([[3.0, 9], [15, -21]])
    torch.testing.assert_close(block(x)[0, 0], (body + shortcut).relu(), rtol=1e-4, atol=1e-4)
    assert block(x)[0, 1:].abs().max() == 0


def test_stem_and_stages_halve_the_image_five_times():
    network = resnet(18).eval()
    x = torch.rand(1, 3, 64, 64)
    sizes = []
    for layer in (network.conv1, network.maxpool, *(getattr(network, f"layer{number}") for number in range(1, 5))):
        x = layer(x)
        sizes.append((x.shape[1], x.shape[-1]))
    assert sizes == [(64, 32), (64, 16), (64, 16), (128, 8), (256, 4), (512, 2)]
    with_context = resnet(18, context=("season",)).eval()
    assert with_context.embed(torch.rand(2, 3, 64, 64), torch.tensor([[0.25], [0.5]]))[:, -1].tolist() == [0.25, 0.5]


def test_patches_are_resized_inside_the_network():
    inputs = Inputs(("B02",), ("a", "b"), 40)
    chosen = architecture(convolutions=[2], linear=[])
    torch.manual_seed(0)
    plain = build(chosen, Inputs(("B02",), ("a", "b"), 20)).eval()
    resized = build(chosen.model_copy(update={"resize": 20}), inputs).eval()
    resized.load_state_dict(plain.state_dict())
    flat = torch.full((1, 1, 40, 40), 0.5)
    torch.testing.assert_close(resized(flat), plain(flat[..., :20, :20]))
    assert resized.inputs == inputs
    assert resized.as_layers() is None  # a map cannot slide it over a scene
    facts = chosen.model_copy(update={"resize": 20}).to_json()
    assert facts["resize"] == 20
    assert "resize" not in chosen.to_json()

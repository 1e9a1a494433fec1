import pytest
import torch
from tiny import architecture

from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import build
from landcover.models.resnet import Block


def resnet(size=64, context=(), **changes) -> Model:
    torch.manual_seed(0)
    inputs = Inputs(("B02", "B03", "B04"), tuple("abcde"), size, context)
    return build(architecture("resnet", **changes), inputs)


def test_the_default_has_a_stem_and_four_blocks():
    network = resnet()
    stem = 3 * 32 * 9 + 64  # batch norm has two weights a channel
    first = 2 * (32 * 32 * 9 + 64)
    others = sum(w * 2 * w * 9 + 4 * w * w * 9 + w * 2 * w + 3 * 4 * w for w in (32, 64, 128))
    assert network.parameter_count == stem + first + others + 257 * 5
    assert network.stem(torch.zeros(1, 3, 64, 64)).shape == (1, 32, 32, 32)
    assert network.blocks(torch.zeros(1, 32, 32, 32)).shape == (1, 256, 4, 4)


def test_a_strided_block_by_hand():
    """The body's kernels pass on the pixel at their center, and the shortcut means over four pixels."""
    block = Block(1, 1, stride=2).eval()
    for convolution in (block.body[0][0], block.body[2][0]):
        torch.nn.init.dirac_(convolution.weight)
    x = torch.tensor([[1.0, 2, 5, 5], [3, 4, 5, 5], [0, 0, -4, -8], [0, 0, -8, -8]])[None, None]
    passed, pooled = torch.tensor([[1.0, 5], [0, 0]]), torch.tensor([[2.5, 5], [0, -7]])
    torch.testing.assert_close(block(x)[0, 0], (passed + pooled).relu(), rtol=1e-4, atol=1e-4)


def test_context_joins_the_pooled_features():
    network = resnet(context=("season",)).eval()
    assert network.embed(torch.rand(2, 3, 64, 64), torch.tensor([[0.25], [0.5]]))[:, -1].tolist() == [0.25, 0.5]


@pytest.mark.parametrize("size", [16, 33])
def test_patches_of_any_size_give_logits(size):
    assert resnet(size).eval()(torch.rand(2, 3, size, size)).shape == (2, 5)


def test_too_many_blocks_are_refused():
    architecture("resnet").parameters.check_patch_size(16)
    with pytest.raises(ValueError, match="5 blocks halve 24 pixels too often; use fewer widths"):
        architecture("resnet", widths=[8] * 5).parameters.check_patch_size(24)

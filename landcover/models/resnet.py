"""A plain residual network.  Source: He et al., "Deep residual learning", CVPR 2016, with basic blocks."""

from itertools import pairwise

import torch
from torch import nn

from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import ResNet


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two convolutions of 3 x 3 pixels and a shortcut around them. With stride 2, the shortcut pools its input."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        first, second = _convolution(inputs, outputs, 3, stride), _convolution(outputs, outputs, 3)
        self.body = nn.Sequential(first, nn.ReLU(inplace=True), second)
        # Pooling uses all pixels, of which a strided 1 x 1 convolution would drop three in four.
        pool = [nn.AvgPool2d(2, ceil_mode=True)] if stride == 2 else []
        change = [_convolution(inputs, outputs, 1)] if inputs != outputs else []
        self.shortcut = nn.Sequential(*pool, *change)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.body(x) + self.shortcut(x)).relu()


class ResidualNetwork(Model):
    """A stem with stride 2, a block for each width, all but the first with stride 2, and the mean over what is left."""

    def __init__(self, parameters: ResNet, inputs: Inputs):
        super().__init__(inputs)
        widths = parameters.widths
        self.stem = nn.Sequential(_convolution(len(inputs.channels), widths[0], 3, stride=2), nn.ReLU(inplace=True))
        blocks = [Block(widths[0], widths[0], 1)] + [Block(before, width, 2) for before, width in pairwise(widths)]
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(parameters.dropout)
        self.head = nn.Linear(widths[-1] + len(inputs.context), len(inputs.classes))

    def encode(self, images: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        x = self.blocks(self.stem(images)).mean((2, 3))
        if context is not None:
            x = torch.cat([x, context], 1)
        return self.dropout(x)

"""ResNet-18 and ResNet-50, which most published weights are of, with the names of weights that torchvision gives them.

Source: He et al., "Deep residual learning for image recognition", CVPR 2016. As in torchvision and unlike the paper, it
is the 3 x 3 convolution of a bottleneck that has the stride ("v1.5"): the weights of either have the same names and
shapes, and in the other network they give other outputs.
"""

import torch
from torch import nn

from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import StandardResNet

WIDTHS = (64, 128, 256, 512)  # of the four stages, whose first blocks have the strides 1, 2, 2, 2


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """A 1 x 1 convolution where the shape changes; elsewhere None, which has no weights."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A body of convolutions, and a shortcut around them."""

    stride: int
    downsample: nn.Module | None

    def body(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # The pixels are selected beforehand: torch 2.13's backward pass of a strided 1 x 1 convolution, channels last,
        # on the CPU, writes out of bounds.
        shortcut = x if self.downsample is None else self.downsample(x[..., :: self.stride, :: self.stride])
        return (self.body(x) + shortcut).relu()


class BasicBlock(Block):
    """Two 3 x 3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = _convolution(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _convolution(width, width, 3), nn.BatchNorm2d(width)
        self.stride, self.downsample = stride, _shortcut(inputs, width, stride)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))


class Bottleneck(Block):
    """Convolutions of 1 x 1, 3 x 3 (which has the stride) and 1 x 1."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = self.expansion * width
        self.conv1, self.bn1 = _convolution(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _convolution(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _convolution(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.stride, self.downsample = stride, _shortcut(inputs, outputs, stride)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn3(self.conv3(self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()))


BLOCKS = {18: (BasicBlock, (2, 2, 2, 2)), 50: (Bottleneck, (3, 4, 6, 3))}  # by depth: their kind and number by stage


class StandardResidualNetwork(Model):
    """A 7 x 7 convolution and max pooling, each of stride 2, four stages of blocks, and the mean over what is left."""

    def __init__(self, parameters: StandardResNet, inputs: Inputs):
        super().__init__(inputs)
        block, counts = BLOCKS[parameters.depth]
        self.conv1, self.bn1 = _convolution(len(inputs.channels), WIDTHS[0], 7, 2), nn.BatchNorm2d(WIDTHS[0])
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = WIDTHS[0]
        for number, (width, count) in enumerate(zip(WIDTHS, counts, strict=True), 1):
            blocks = []
            for position in range(count):
                blocks.append(block(channels, width, 2 if number > 1 and position == 0 else 1))
                channels = block.expansion * width
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels + len(inputs.context), len(inputs.classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al., ICCV 2015, as in torchvision
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def head(self) -> nn.Linear:
        return self.fc

    def encode(self, images: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        x = self.maxpool(self.bn1(self.conv1(images)).relu())
        x = self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))
        return x if context is None else torch.cat([x, context], 1)

"""A convolutional network, which by default is the notebook's."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import CNN

GROUPS = 8  # of channels that are normalized together; fewer where they do not divide a layer's channels


class SplitConv2d(nn.Module):
    """A grouped convolution whose groups differ in their number of input channels; nn.Conv2d requires equal ones.

    Args:
        groups: input channels of each group.
        outputs: output channels of each group.
    """

    def __init__(self, groups: Sequence[int], outputs: int, kernel: int, **options: Any):
        super().__init__()
        self.groups = list(groups)
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, outputs, kernel, **options) for channels in groups)
        # As nn.Conv2d has them.
        first = self.convolutions[0]
        self.kernel_size, self.stride, self.padding = first.kernel_size, first.stride, first.padding
        self.in_channels, self.out_channels = sum(groups), outputs * len(groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = zip(self.convolutions, x.split(self.groups, 1), strict=True)
        return torch.cat([F.conv2d(x, own.weight, own.bias, self.stride, self.padding) for own, x in parts], 1)


class Residual(nn.Module):
    """Two convolutions and a shortcut around them.  Source: He et al., CVPR 2016, the basic block."""

    def __init__(self, groups: list[int], outputs: int, parameters: CNN):
        super().__init__()
        kernel, stride, norm = parameters.kernel, parameters.stride, parameters.normalization
        self.body = nn.Sequential(
            *_convolution(groups, outputs, kernel, stride, kernel // 2, norm),
            nn.ReLU(inplace=True),
            *_convolution([outputs] * len(groups), outputs, kernel, 1, kernel // 2, norm),
        )
        same = set(groups) == {outputs} and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(groups, outputs, 1, stride, 0, norm))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)


def _convolution(groups: list[int], outputs: int, kernel: int, stride: int, padding: int, norm: str) -> list[nn.Module]:
    """A convolution and its normalization; each of the groups, of so many channels, gets `outputs` channels."""
    layers: list[nn.Module] = []
    if kernel == 1 and stride > 1:
        # Select the same pixels beforehand: torch 2.13's backward pass of a strided 1 x 1 convolution, channels last,
        # on the CPU, writes out of bounds.
        layers, stride = [nn.MaxPool2d(1, stride)], 1
    options = {"stride": stride, "padding": padding, "bias": norm == "none"}
    count = len(groups)
    if len(set(groups)) == 1:
        layers.append(nn.Conv2d(sum(groups), count * outputs, kernel, groups=count, **options))
    else:
        layers.append(SplitConv2d(groups, outputs, kernel, **options))
    match norm:
        case "batch":
            layers.append(nn.BatchNorm2d(count * outputs))
        case "group":  # Wu and He, ECCV 2018: per patch, independent of the batch
            layers.append(nn.GroupNorm(count * math.gcd(outputs, GROUPS), count * outputs))
    return layers


class ConvolutionalNetwork(Model):
    """Layers of convolution, ReLU and max pooling, then linear layers.

    The convolutions of early fusion see all image channels. Late fusion has an encoder for each image modality: its
    convolutions are grouped, so that no group sees another's channels. In both, the linear layers see all feature maps,
    and the context beside them.
    """

    def __init__(self, parameters: CNN, inputs: Inputs):
        super().__init__(inputs)
        # Layers draw their initial weights when created, in the notebook's order.
        layers: list[nn.Module] = []
        of_each = [len(channels) for channels in inputs.image_modalities.values()]
        groups = of_each if parameters.fusion == "late" else [len(inputs.channels)]
        kernel, stride = parameters.kernel, parameters.stride
        for outputs in parameters.convolutions:
            if parameters.residual:
                layers.append(Residual(groups, outputs, parameters))
            else:
                margin = kernel // 2 if parameters.padding == "same" else 0
                layers += _convolution(groups, outputs, kernel, stride, margin, parameters.normalization)
            if parameters.pool > 1:
                layers.append(nn.MaxPool2d(parameters.pool))
            # ReLU and max pooling commute, and after pooling there are fewer values to rectify.
            layers.append(nn.ReLU(inplace=True))
            groups = [outputs] * len(groups)
        side = parameters.feature_sizes(inputs.patch_size)[-1]
        if parameters.global_pooling:
            layers.append(nn.AvgPool2d(side))  # AdaptiveAvgPool2d is not deterministic on CUDA
            side = 1
        self.features = nn.Sequential(*layers)

        width = sum(groups) * side**2 + len(inputs.context)
        layers = [nn.Flatten()]
        for outputs in parameters.linear:
            layers += [nn.Linear(width, outputs), nn.ReLU(inplace=True)]
            if parameters.dropout:
                layers.append(nn.Dropout(parameters.dropout))
            width = outputs
        if parameters.dropout and not parameters.linear:
            layers.append(nn.Dropout(parameters.dropout))
        layers.append(nn.Linear(width, len(inputs.classes)))
        self.classifier = nn.Sequential(*layers)
        self.channels = sum(groups)  # of the last feature map

    @property
    def head(self) -> nn.Linear:
        return self.classifier[-1]

    def encode(self, images: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        x = self.features(images)
        if context is not None:
            x = torch.cat([x.flatten(1), context], 1)
        for layer in list(self.classifier)[:-1]:
            x = layer(x)
        return x

    def as_layers(self, present: torch.Tensor | None = None) -> list[nn.Module] | None:
        layers, channels = [*self.features], self.channels
        if self.resize or not all(map(_is_unpadded, layers)):
            return None
        context = len(self.inputs.context)
        if context and (present is None or present[len(self.inputs.image_modalities) :].any()):
            return None
        for layer in self.classifier:
            if isinstance(layer, nn.Linear):
                weight = layer.weight[:, : layer.in_features - context]  # an absent context is 0
                side, context = math.isqrt(weight.shape[1] // channels), 0
                convolution = nn.Conv2d(channels, layer.out_features, side, device="meta")
                weight = weight.reshape(layer.out_features, channels, side, side)
                convolution.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
                convolution.bias = layer.bias
                layers.append(convolution)
                channels = layer.out_features
            elif not isinstance(layer, (nn.Flatten, nn.Dropout)):
                layers.append(layer)
        return layers


def _is_unpadded(layer: nn.Module) -> bool:
    """Whether a layer computes the same for a part of an image as for the whole one."""
    if isinstance(layer, (nn.Conv2d, SplitConv2d, nn.MaxPool2d, nn.AvgPool2d)):
        return layer.padding in (0, (0, 0))
    return isinstance(layer, (nn.ReLU, nn.BatchNorm2d))

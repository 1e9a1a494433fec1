"""Windows that slide over pixels, and the network's output for each."""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import nn

from landcover.constants import NODATA
from landcover.errors import InputError
from landcover.mapping.scenes import Scene
from landcover.modalities import SENTINEL_2
from landcover.models.cnn import Network, SplitConv2d

FLOATS = 1 << 24  # values of the widest layer's output that are computed at a time


class Windows(NamedTuple):
    """The windows of a scene: the one in row i and column j starts at pixel (i * step, j * step)."""

    size: int  # pixels a side
    step: int  # pixels, at most `size`
    rows: int
    columns: int

    @classmethod
    def over(cls, scene: Scene, size: int, step: int) -> Self:
        """All windows in a scene.

        Raises:
            InputError: there are none, or the step would leave gaps.
        """
        height, width = scene.height, scene.width
        if not 1 <= step <= size:
            raise InputError(f"--step {step}: choose from 1 to {size} pixels, the size of a window")
        if min(height, width) < size:
            raise InputError(
                f"{scene.name}: {width} x {height} pixels of 10 m hold no window of {size} x {size}; give a larger one"
            )
        return cls(size, step, (height - size) // step + 1, (width - size) // step + 1)

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of the pixels that they cover."""
        return (self.rows - 1) * self.step + self.size, (self.columns - 1) * self.step + self.size


def _as_convolutions(network: Network, present: torch.Tensor | None) -> list[nn.Module]:
    """The network's layers, with those of its classifier as convolutions, for prediction only.

    They compute the same, on feature maps of any size. On the CPU they are also faster, since MKL, which computes
    linear layers, may be restricted to instructions that all processors have.
    """
    channels, *_ = network.feature_shape
    weights = network.classifier[-1].weight
    context = weights.new_zeros(sum(map(len, network.context_modalities.values())))  # hidden: a scene has none
    layers: list[nn.Module] = [*network.features]
    for layer in network.classifier_for(context, present):
        if isinstance(layer, nn.Linear):
            side = math.isqrt(layer.in_features // channels)
            convolution = nn.Conv2d(channels, layer.out_features, side, device="meta")
            weight = layer.weight.view(layer.out_features, channels, side, side)
            convolution.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
            convolution.bias = layer.bias
            layers.append(convolution)
            channels = layer.out_features
        elif not isinstance(layer, (nn.Flatten, nn.Dropout)):
            layers.append(layer)
    return layers


def _widest(layers: nn.Module) -> int:
    convolutions = [layer for layer in layers.modules() if isinstance(layer, (nn.Conv2d, SplitConv2d))]
    return max(max(layer.in_channels, layer.out_channels) for layer in convolutions)


def _ignores_borders(layer: nn.Module) -> bool:
    """Whether a layer gives the same for a window alone as for a window among others."""
    if isinstance(layer, (nn.Conv2d, SplitConv2d, nn.MaxPool2d, nn.AvgPool2d)):
        return not any(layer.padding) if isinstance(layer.padding, tuple) else not layer.padding
    return isinstance(layer, (nn.ReLU, nn.BatchNorm2d))


def _slide(layers: Sequence[nn.Module], x: torch.Tensor, side: int, step: int, found: torch.Tensor) -> None:
    """Fill `found` (rows, columns, K) with the layers' outputs for the windows of x (1, C, h, w).

    As long as windows overlap and their borders do not matter, a layer is computed once for all of them. If its stride
    does not divide the step, it is computed once for each group of windows whose distance the stride divides. Windows
    that no longer overlap are also pooled together, since fewer values are then cut out.

    Args:
        side, step: of the windows, in pixels of x.
    """
    rows, columns, _ = found.shape
    for number, layer in enumerate(layers):
        if not _ignores_borders(layer):
            break
        if hasattr(layer, "stride"):
            kernel, stride = (n[0] if isinstance(n, tuple) else n for n in (layer.kernel_size, layer.stride))
            if side - kernel < stride:  # one output for each window
                layer, stride = copy.copy(layer), step
                layer.stride = step
            elif step > side and (step % stride or isinstance(layer, nn.Conv2d)):
                break
            elif step % stride:
                apart = math.lcm(step, stride)
                groups = apart // step
                for i in range(min(groups, rows)):
                    for j in range(min(groups, columns)):
                        part = x[:, :, i * step :, j * step :]
                        _slide(layers[number:], part, side, apart, found[i::groups, j::groups])
                return
            side, step = (side - kernel) // stride + 1, step // stride
        x = layer(x)
    else:
        found.copy_(x[0, :, :rows, :columns].permute(1, 2, 0))
        return
    # The other layers are computed for each window separately.
    rest = nn.Sequential(*layers[number:])
    windows = x[0].unfold(1, side, step).unfold(2, side, step).permute(1, 2, 3, 4, 0)  # (rows, columns, side, side, C)
    most = max(1, FLOATS // (_widest(rest) * side**2))
    for row, outputs in zip(windows[:rows, :columns], found, strict=True):
        for some, output in zip(row.split(most), outputs.split(most), strict=True):
            output.copy_(rest(some.contiguous().permute(0, 3, 1, 2)).flatten(1))


def side_by_side(network: Network, windows: Windows) -> Iterator[tuple[slice, slice]]:
    """Columns of windows, from left to right, as many as `logits` has memory for, and the columns of their pixels."""
    height, _ = windows.extent
    room = FLOATS // (_widest(network.features) * height)  # pixels from left to right
    across = max(1, (room - windows.size) // windows.step + 1)
    for left in range(0, windows.columns, across):
        right = min(left + across, windows.columns)
        yield slice(left, right), slice(left * windows.step, (right - 1) * windows.step + windows.size)


@torch.inference_mode()
def logits(network: Network, pixels: torch.Tensor, windows: Windows) -> torch.Tensor:
    """A network's logits for windows, float32 (rows, columns, K).

    The first layers are computed once for overlapping windows, up to the first one for which a window's border matters:
    a convolution that is padded (`padding: same`), group norm, or a residual block. From there on, windows are
    computed separately, in batches.

    Of a network with several modalities, all but Sentinel-2 are hidden, because scenes do not have them.

    Args:
        pixels: reflectances (C, height, width), on any device, which contain the windows; Sentinel-2 bands only.
    """
    network.eval()
    device = network.classifier[-1].weight.device
    several = len(network.modalities) > 1
    present = torch.tensor([name == SENTINEL_2 for name in network.modalities], device=device) if several else None
    layers = _as_convolutions(network, present)
    found = torch.empty(windows.rows, windows.columns, layers[-1].out_channels, device=device)
    height, width = windows.extent
    # Interleaved in memory, with the strides that torch demands of such a batch, even of one.
    interleaved = pixels[:, :height, :width].permute(1, 2, 0)[None].contiguous()
    x = interleaved.permute(0, 3, 1, 2).to(device)
    if several:  # the bands come first
        x = F.pad(x, (0, 0, 0, 0, 0, sum(map(len, network.image_modalities.values())) - x.shape[1]))
    x = network.standardized(x.contiguous(memory_format=torch.channels_last), present)
    _slide(layers, x, windows.size, windows.step, found)
    return found


def means(pixels: torch.Tensor, windows: Windows) -> torch.Tensor:
    """The mean of each band over each window, (C, rows, columns); from pixels (C, height, width).

    It is computed from the blocks that make up all windows, one axis after the other.
    """
    block = math.gcd(windows.size, windows.step)
    down, across = (length // block for length in pixels.shape[1:])
    interleaved = pixels[:, : down * block, : across * block].permute(1, 2, 0)  # as `pixels` usually are in memory
    blocks = interleaved.unflatten(0, (down, block)).mean(1).unflatten(1, (across, block)).mean(2).permute(2, 0, 1)
    side, stride = windows.size // block, windows.step // block
    found = F.avg_pool2d(F.avg_pool2d(blocks, (side, 1), (stride, 1)), (1, side), (1, stride))
    return found[:, : windows.rows, : windows.columns]


def complete(pixels: torch.Tensor, windows: Windows) -> torch.Tensor:
    """Whether a window has no nodata, bool (rows, columns); from pixels (C, height, width)."""
    if pixels.amin() > NODATA:
        return torch.ones(windows.rows, windows.columns, dtype=torch.bool)
    gaps = (pixels == NODATA).any(0, keepdim=True)
    return means(gaps.float(), windows)[0] == 0

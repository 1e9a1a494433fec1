"""Windows that slide over pixels, and the model's output for each."""

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from rasterio import Affine
from torch import nn

from landcover.constants import NODATA
from landcover.errors import InputError
from landcover.mapping.scenes import Area
from landcover.modalities import SENTINEL_2
from landcover.models.model import Model

# Windows that a network gets at a time. On a processor, more take up to twice the time: their layers leave its cache.
BATCH, GPU_BATCH = 8, 256


def check_step(step: int, size: int) -> None:
    """Refuse a step that leaves gaps between windows.

    Raises:
        InputError: it does.
    """
    if not 1 <= step <= size:
        raise InputError(f"--step {step}: choose from 1 to {size} pixels, the size of a window")


@dataclass(frozen=True)
class Windows:
    """Windows of an image: the one in row i and column j starts at pixel (top + i * step, left + j * step)."""

    size: int  # pixels a side
    step: int  # pixels, at most `size`
    rows: int
    columns: int
    top: int = 0  # pixels above the first row
    left: int = 0  # pixels left of the first column

    @classmethod
    def over(cls, area: Area, size: int, step: int, first: tuple[int, int] = (0, 0)) -> Self:
        """All windows in a scene or an area from the first one on, which starts at the pixel (top, left).

        Raises:
            InputError: there are none, or the step would leave gaps.
        """
        check_step(step, size)
        height, width = area.height - first[0], area.width - first[1]
        if min(height, width) < size:
            start = f", which starts at row {first[0]} and column {first[1]}" if any(first) else ""
            raise InputError(
                f"{area.name}: {area.width} x {area.height} pixels of 10 m are too few for a window of {size} x "
                f"{size}{start}; give a larger scene"
            )
        return cls(size, step, (height - size) // step + 1, (width - size) // step + 1, *first)

    @property
    def margin(self) -> float:
        """Pixels from the edge of the first window to that of its cell: the step x step pixels at its centre."""
        return (self.size - self.step) / 2

    def cells(self, area: Area) -> Affine:
        """The grid of the cells on the ground."""
        corner = Affine.translation(self.left + self.margin, self.top + self.margin)
        return Affine(*area.transform) @ corner @ Affine.scale(self.step)

    def pixels(self, windows: range, first: int = 0) -> slice:
        """The pixels, along one axis, of some consecutive windows; from the first pixel of the first window."""
        return slice(first + windows.start * self.step, first + (windows.stop - 1) * self.step + self.size)


@torch.inference_mode()
def slide(model: Model, pixels: torch.Tensor, windows: Windows) -> torch.Tensor:
    """A model's logits for windows, float32 (rows, columns, K).

    A model that is a chain of unpadded layers is applied in one pass. Any other gets the windows in batches.

    All of a model's modalities but Sentinel-2 are hidden from it, because scenes do not have them.

    Args:
        model: in evaluation mode.
        pixels: reflectances (C, height, width) of the windows, on any device; Sentinel-2 bands only.
    """
    device = next(model.parameters()).device
    present = None
    if len(model.modalities) > 1:
        present = torch.tensor([name == SENTINEL_2 for name in model.modalities], device=device)
    missing = len(model.inputs.channels) - len(pixels)  # the bands come first
    # Interleaved in memory, with the strides that torch takes for channels last, even of a batch of one.
    x = F.pad(pixels.permute(1, 2, 0)[None].to(device), (0, missing)).contiguous().permute(0, 3, 1, 2)
    layers = None if model.symmetries else model.as_layers(present)
    if layers is not None:
        logits = torch.empty(windows.rows, windows.columns, len(model.inputs.classes), device=device)
        _slide(layers, model.normalize(x, present), windows.size, windows.step, logits)
        return logits
    # The context's values do not matter, since they are hidden.
    context = torch.zeros(1, len(model.inputs.context), device=device) if model.inputs.context else None

    def predict(images: torch.Tensor) -> torch.Tensor:
        return model.predict(images, None if context is None else context.expand(len(images), -1), present)

    return _batched(predict, x, windows)


def _batched(layers: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, windows: Windows) -> torch.Tensor:
    """What layers make of each window of x (1, C, h, w) by itself: (rows, columns, K)."""
    size, step = windows.size, windows.step
    cut = x[0].unfold(1, size, step).unfold(2, size, step)[:, : windows.rows, : windows.columns]
    cut = cut.permute(1, 2, 3, 4, 0)  # (rows, columns, size, size, C), as they are in memory
    batch = BATCH if x.device.type == "cpu" else GPU_BATCH
    outputs = [layers(some.contiguous().permute(0, 3, 1, 2)).flatten(1) for row in cut for some in row.split(batch)]
    return torch.cat(outputs).unflatten(0, (windows.rows, windows.columns))


def _slide(layers: Sequence[nn.Module], x: torch.Tensor, size: int, step: int, logits: torch.Tensor) -> None:
    """Fill `logits` (rows, columns, K) with the outputs of unpadded layers for the windows of x (1, C, h, w).

    A layer is computed once for all windows, as long as they overlap. If its stride does not divide the step, it is
    computed once for each group of windows whose distance the stride divides.

    Args:
        size, step: of the windows, in pixels of x.
    """
    rows, columns, _ = logits.shape
    for number, layer in enumerate(layers):
        if 1 < size <= step:
            logits.copy_(_batched(nn.Sequential(*layers[number:]), x, Windows(size, step, rows, columns)))
            return
        if hasattr(layer, "kernel_size"):
            kernel, stride = (n[0] if isinstance(n, tuple) else n for n in (layer.kernel_size, layer.stride))
            if size - kernel < stride:  # a window has one output
                layer = copy.copy(layer)
                layer.stride = step
                size = step = 1
            elif step % stride:
                apart = math.lcm(step, stride)
                groups = apart // step
                for i, j in itertools.product(range(min(groups, rows)), range(min(groups, columns))):
                    part = x[:, :, i * step :, j * step :]
                    _slide(layers[number:], part, size, apart, logits[i::groups, j::groups])
                return
            else:
                size, step = (size - kernel) // stride + 1, step // stride
        x = layer(x)
    logits.copy_(x[0, :, :rows, :columns].permute(1, 2, 0))


def means(pixels: torch.Tensor, windows: Windows) -> torch.Tensor:
    """The mean of each band over each window, (C, rows, columns); from pixels (C, height, width)."""
    down, across = (
        _averages(length, count, windows.size, windows.step).to(pixels.dtype)
        for length, count in zip(pixels.shape[1:], (windows.rows, windows.columns), strict=True)
    )
    return down @ pixels @ across.T


def _averages(length: int, count: int, size: int, step: int) -> torch.Tensor:
    """What `length` pixels in a row are multiplied by for the means of windows, (count, length)."""
    starts, places = step * torch.arange(count)[:, None], torch.arange(length)
    return ((places >= starts) & (places < starts + size)) / size


def complete(pixels: torch.Tensor, windows: Windows) -> torch.Tensor:
    """Whether a window has no nodata, bool (rows, columns); from pixels (C, height, width)."""
    if pixels.amin() > NODATA:
        return torch.ones(windows.rows, windows.columns, dtype=torch.bool)
    gaps = (pixels == NODATA).any(0, keepdim=True)
    return means(gaps.float(), windows)[0] == 0

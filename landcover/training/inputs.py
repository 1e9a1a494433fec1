"""What the train split decides about a network: its inputs, their standardization, what its file states."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.metadata import Inputs, Metadata
from landcover.models.model import Model
from landcover.models.registry import Architecture, build

STEP = 1e-4  # of values: one digital number of a band, 0.008 dB, 0.95 m of elevation


def inputs_of(split: tensors.Split) -> Inputs:
    size = split.images.shape[-1]
    return Inputs(tuple(split.bands), tuple(split.classes), size, tuple(split.context_names))


def make_network(train: tensors.Split, architecture: Architecture, seed: int, device: torch.device) -> Model:
    """A network for the inputs and classes of the train split, with weights drawn from `seed`.

    Raises:
        InputError: the patches are too small for the architecture.
    """
    inputs = inputs_of(train)
    size = inputs.patch_size
    try:
        architecture.check_patch_size(size)
    except ValueError as error:
        raise InputError(f"model.{architecture.name}: patches have {size} x {size} pixels: {error}") from None
    method = architecture.standardize
    scaling = () if method == "none" else map(torch.from_numpy, standardization(train, method))
    # Drawn on the CPU, so that the initial weights are the same on every device.
    torch.manual_seed(seed)
    return build(architecture, inputs, *scaling).to(device, memory_format=torch.channels_last)


def describe(network: Model, architecture: Architecture, train: tensors.Split, **training: Any) -> Metadata:
    """What the file of a network states that was trained on a split.

    Args:
        training: fields of `Metadata` about the training.
    """
    return Metadata(
        architecture=architecture,
        inputs=network.inputs,
        scale=train.scale,
        parameters=network.parameter_count,
        patch_means=patch_means(train),
        **training,
    )


def standardization(train: tensors.Split, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Center and spread of each image channel and context feature, according to model.standardize; float32 (C + F,).

    Context features are scaled by their moments in any case, since most of them are 0 or 1. If one is the same in all
    patches, as is a climate zone that does not occur, its spread is 1.

    Raises:
        InputError: an image channel has no spread.
    """
    center, spread = moments(train.images) if method == "moments" else quantiles(train.images)
    if constant := [name for name, width in zip(train.bands, spread, strict=True) if not width]:
        raise InputError(
            f"model.standardize: nearly constant over the train split: {', '.join(constant)}; leave out of bands or "
            "inputs, or set standardize to none"
        )
    if train.context is not None:
        deviation = train.context.std(0, dtype=np.float64)
        center = np.append(center, train.context.mean(0, dtype=np.float64))
        spread = np.append(spread, np.where(np.ptp(train.context, 0) > 0, deviation, 1))
    return center.astype(np.float32), spread.astype(np.float32)


def moments(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel over all valid pixels of images (C, H, W); float64 (C,)."""
    # Patch by patch, since they may exceed memory. Nodata, which is 0, adds nothing to a sum.
    powers, valid = [], []
    for image in images:
        powers.append([np.mean(image**power, axis=(1, 2), dtype=np.float64) for power in (1, 2)])
        valid.append(np.count_nonzero(image, axis=(1, 2)) / image[0].size)
    mean, square = np.mean(powers, axis=0) / np.mean(valid, axis=0)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def quantiles(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Median of each channel over all valid pixels of images (C, H, W), and half its middle 68%; float64 (C,).

    For a normal distribution, these are the mean and the standard deviation, but they are robust to some snow. They are
    exact to STEP.
    """
    counts = 0
    for image in images:
        steps = np.rint(image.reshape(len(image), -1) / STEP).astype(np.int64)
        counts += np.stack([np.bincount(channel, minlength=round(1 / STEP) + 1) for channel in steps])
    counts[:, 0] = 0  # nodata
    shares = np.cumsum(counts, axis=1) / counts.sum(1, keepdims=True)
    low, median, high = ((shares < quantile).sum(1) * STEP for quantile in (0.16, 0.5, 0.84))
    return median, (high - low) / 2


def patch_means(train: tensors.Split) -> dict[str, list[float]]:
    """For each image channel, the smallest and the largest mean of a patch over its valid pixels."""
    with np.errstate(invalid="ignore"):  # NaN where a patch has no valid pixel
        means = [image.sum((1, 2), dtype=np.float64) / np.count_nonzero(image, axis=(1, 2)) for image in train.images]
    ends = np.stack([np.nanmin(means, axis=0), np.nanmax(means, axis=0)], axis=1)
    return dict(zip(train.bands, ends.tolist(), strict=True))

"""The network: built from its architecture, saved with everything that a prediction needs."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from landcover.dataset import tensors
from landcover.ground.benge import PATCH_SIZE
from landcover.ground.errors import InputError
from landcover.ground.params import Architecture
from landcover.network.distributed import ALONE, Group
from landcover.network.loader import Patches

GROUPS = 8  # of channels that are normalized together; fewer where they do not divide a layer's channels
FARTHEST = 5.0  # spreads from the center, beyond which values are clipped
# What is assumed of a model without these metadata.
DEFAULTS = {"patch_size": PATCH_SIZE, "temperature": 1.0, "patch_means": {}, "synthetic": False}
FACTS = ("architecture", "bands", "classes", "scale", "parameters", "epochs")  # what a prediction and its summary need


class Residual(nn.Module):
    """Two convolutions and a shortcut around them.  Source: He et al., CVPR 2016, the basic block."""

    def __init__(self, inputs: int, outputs: int, architecture: Architecture):
        super().__init__()
        kernel, stride, norm = architecture.kernel, architecture.stride, architecture.normalization
        self.body = nn.Sequential(
            *_convolution(inputs, outputs, kernel, stride, kernel // 2, norm),
            nn.ReLU(inplace=True),
            *_convolution(outputs, outputs, kernel, 1, kernel // 2, norm),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, 1, stride, 0, norm))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, padding: int, norm: str) -> list[nn.Module]:
    layers: list[nn.Module] = []
    if kernel == 1 and stride > 1:
        # Select the same pixels beforehand: torch 2.13's backward pass of a strided 1 x 1 convolution, channels last,
        # on the CPU, writes out of bounds.
        layers, stride = [nn.MaxPool2d(1, stride)], 1
    layers.append(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=norm == "none"))
    match norm:
        case "batch":
            layers.append(nn.BatchNorm2d(outputs))
        case "group":  # Wu and He, ECCV 2018: per patch, independent of the batch
            layers.append(nn.GroupNorm(math.gcd(outputs, GROUPS), outputs))
    return layers


class Network(nn.Module):
    """Reflectances (N, C, H, H) to logits (N, K).

    Args:
        patch_size: H.
        center, spread: per band, (C,), if the architecture standardizes its input.
    """

    def __init__(
        self,
        architecture: Architecture,
        bands: int,
        classes: int,
        center: np.ndarray | None = None,
        spread: np.ndarray | None = None,
        patch_size: int = PATCH_SIZE,
    ):
        super().__init__()
        self.standardize = architecture.standardize
        if self.standardize != "none":
            for name, values in (("center", center), ("spread", spread)):
                values = torch.ones(bands) if values is None else torch.as_tensor(values)
                self.register_buffer(name, values.reshape(1, bands, 1, 1))

        # Layers draw their initial weights when created, in the notebook's order.
        layers: list[nn.Module] = []
        channels = bands
        kernel, stride = architecture.kernel, architecture.stride
        for outputs in architecture.convolutions:
            if architecture.residual:
                layers.append(Residual(channels, outputs, architecture))
            else:
                margin = kernel // 2 if architecture.padding == "same" else 0
                layers += _convolution(channels, outputs, kernel, stride, margin, architecture.normalization)
            if architecture.pool > 1:
                layers.append(nn.MaxPool2d(architecture.pool))
            # ReLU and max pooling commute, and after pooling there are fewer values to rectify.
            layers.append(nn.ReLU(inplace=True))
            channels = outputs
        side = architecture.feature_sizes(patch_size)[-1]
        if architecture.global_pooling:
            layers.append(nn.AvgPool2d(side))  # AdaptiveAvgPool2d is not deterministic on CUDA
            side = 1
        self.features = nn.Sequential(*layers)

        inputs = channels * side**2
        layers = [nn.Flatten()]
        for outputs in architecture.linear:
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
            if architecture.dropout:
                layers.append(nn.Dropout(architecture.dropout))
            inputs = outputs
        if architecture.dropout and not architecture.linear:
            layers.append(nn.Dropout(architecture.dropout))
        layers.append(nn.Linear(inputs, classes))
        self.classifier = nn.Sequential(*layers)

    def standardized(self, x: torch.Tensor) -> torch.Tensor:
        """Reflectances (N, C, H, W) as the layers see them, pixel by pixel."""
        if self.standardize != "none":
            x = (x - self.center) / self.spread
        if self.standardize == "quantiles":
            x = x.clamp(-FARTHEST, FARTHEST)  # a cloud counts as no brighter than other bright ground
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(self.standardized(x)))


def parameter_count(network: nn.Module) -> int:
    """The number of trainable weights."""
    return sum(weights.numel() for weights in network.parameters())


@torch.inference_mode()
def infer(network: Network, patches: Patches, batch_size: int, group: Group = ALONE) -> torch.Tensor:
    """Logits (N, K) of this process's share of the patches, on their device."""
    network.eval()
    # Allocated in advance: a small tensor per batch between large temporary ones would fragment the memory, up
    # to the size of all batches.
    share = len(range(group.rank, len(patches.labels), group.size))
    weights = network.classifier[-1].weight
    logits = weights.new_empty(share, len(weights))
    for place, images in zip(logits.split(batch_size), patches.in_order(batch_size, group), strict=True):
        place.copy_(network(images))
    return logits


def predict(network: Network, patches: Patches, batch_size: int) -> np.ndarray:
    """Log-probabilities of the patches, float64 (N, K)."""
    return infer(network, patches, batch_size).double().log_softmax(1).cpu().numpy()


def save(path: Path, network: Network, metadata: dict[str, Any]) -> None:
    """Write weights and metadata; `architecture`, `bands`, `classes` and `patch_size` of the latter rebuild it."""
    tensors.save(path, _weights(network), metadata)


def save_ensemble(path: Path, networks: dict[int, Network], metadata: dict[str, Any]) -> None:
    """Write networks of one architecture, by seed, to one file, with weights named <seed>/<name>."""
    weights = {
        f"{seed}/{name}": value for seed, network in networks.items() for name, value in _weights(network).items()
    }
    tensors.save(path, weights, {"seeds": list(networks)} | metadata)


def _weights(network: Network) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}


def load(path: Path) -> tuple[Network, dict[str, Any]]:
    """Rebuild a network and its metadata from what `save` wrote.

    Raises:
        InputError: the file is not such a model, or its weights do not fit its architecture or are not finite.
    """
    weights, metadata = tensors.load(path)
    return _rebuild(path, weights, metadata), DEFAULTS | metadata


def load_ensemble(path: Path) -> tuple[list[Network], dict[str, Any]]:
    """Rebuild the networks and their metadata from what `save_ensemble` wrote.

    Raises:
        InputError: as for `load`, or the file holds no network.
    """
    weights, metadata = tensors.load(path)
    by_seed: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for key, value in weights.items():
        seed, _, name = key.partition("/")
        by_seed[seed][name] = value
    if not by_seed:
        raise InputError(f"{path}: holds no network; list seeds in repeat.seeds, and run dvc repro repeat")
    seeds = sorted(by_seed, key=lambda seed: (len(seed), seed))  # ascending, as in `seeds`
    return [_rebuild(path, by_seed[seed], metadata) for seed in seeds], DEFAULTS | metadata


def _rebuild(path: Path, weights: dict[str, np.ndarray], metadata: dict[str, Any]) -> Network:
    try:
        if lacking := [fact for fact in FACTS if fact not in metadata]:
            raise ValueError(f"it has no {', '.join(lacking)}")
        architecture = Architecture.model_validate(metadata["architecture"])
        # On the meta device, so that an architecture takes no memory before it is known to match the weights.
        with torch.device("meta"):
            size = (DEFAULTS | metadata)["patch_size"]
            network = Network(architecture, len(metadata["bands"]), len(metadata["classes"]), patch_size=size)
        network.load_state_dict({name: torch.from_numpy(value).clone() for name, value in weights.items()}, assign=True)
        if bad := [name for name, value in weights.items() if not np.isfinite(value).all()]:
            raise ValueError(f"non-finite values in {', '.join(bad)}")
        if bad := [name for name, value in network.named_parameters() if value.dtype != torch.float32]:
            raise ValueError(f"not float32: {', '.join(bad)}")
    except (TypeError, ValueError, RuntimeError) as error:  # pydantic's errors are ValueErrors
        why = " ".join(str(error).split())
        raise InputError(f"{path}: is not a model from this pipeline ({why}); run dvc repro") from None
    return network

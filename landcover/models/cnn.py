"""The network: built from its architecture, saved with everything that a prediction needs."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from landcover import modalities
from landcover.config import Architecture
from landcover.constants import PATCH_SIZE
from landcover.data import tensors
from landcover.errors import InputError
from landcover.training.distributed import ALONE, Group
from landcover.training.loader import Patches

GROUPS = 8  # of channels that are normalized together; fewer where they do not divide a layer's channels
FARTHEST = 5.0  # spreads from the center, beyond which values are clipped
# What is assumed of a model without these metadata.
DEFAULTS = {"patch_size": PATCH_SIZE, "temperature": 1.0, "patch_means": {}, "synthetic": False}
FACTS = ("architecture", "bands", "classes", "scale", "parameters", "epochs")  # what a prediction and its summary need


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

    def __init__(self, groups: list[int], outputs: int, architecture: Architecture):
        super().__init__()
        kernel, stride, norm = architecture.kernel, architecture.stride, architecture.normalization
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


class Network(nn.Module):
    """Image channels (N, C, H, H) and context features (N, F) to logits (N, K).

    The convolutions of early fusion see all image channels. Late fusion has an encoder for each image modality: its
    convolutions are grouped, so that no group sees another's channels. In both, the linear layers see all feature maps,
    and the context beside them.

    Attributes:
        image_modalities, context_modalities: the positions of each modality's channels or features.
        feature_shape: (C', h, w) of the feature map that `classifier` expects.

    Args:
        bands: names of the image channels.
        center, spread: of each channel and feature, (C + F,), if the architecture standardizes its input.
        patch_size: H.
        context: names of the context features.
    """

    def __init__(
        self,
        architecture: Architecture,
        bands: Sequence[str],
        classes: int,
        center: np.ndarray | None = None,
        spread: np.ndarray | None = None,
        patch_size: int = PATCH_SIZE,
        context: Sequence[str] = (),
    ):
        super().__init__()
        self.image_modalities = modalities.modalities(bands)
        self.context_modalities = modalities.modalities(context)
        self.standardize = architecture.standardize
        if self.standardize != "none":
            for name, values in (("center", center), ("spread", spread)):
                values = torch.ones(len(bands) + len(context)) if values is None else torch.as_tensor(values)
                images, features = values.split([len(bands), len(context)])
                self.register_buffer(name, images.reshape(1, -1, 1, 1))
                if context:
                    self.register_buffer(f"context_{name}", features)

        # Layers draw their initial weights when created, in the notebook's order.
        layers: list[nn.Module] = []
        of_each = [len(channels) for channels in self.image_modalities.values()]
        groups = of_each if architecture.fusion == "late" else [len(bands)]
        kernel, stride = architecture.kernel, architecture.stride
        for outputs in architecture.convolutions:
            if architecture.residual:
                layers.append(Residual(groups, outputs, architecture))
            else:
                margin = kernel // 2 if architecture.padding == "same" else 0
                layers += _convolution(groups, outputs, kernel, stride, margin, architecture.normalization)
            if architecture.pool > 1:
                layers.append(nn.MaxPool2d(architecture.pool))
            # ReLU and max pooling commute, and after pooling there are fewer values to rectify.
            layers.append(nn.ReLU(inplace=True))
            groups = [outputs] * len(groups)
        side = architecture.feature_sizes(patch_size)[-1]
        if architecture.global_pooling:
            layers.append(nn.AvgPool2d(side))  # AdaptiveAvgPool2d is not deterministic on CUDA
            side = 1
        self.features = nn.Sequential(*layers)

        self.feature_shape = (sum(groups), side, side)
        width = math.prod(self.feature_shape) + len(context)
        layers = [nn.Flatten()]
        for outputs in architecture.linear:
            layers += [nn.Linear(width, outputs), nn.ReLU(inplace=True)]
            if architecture.dropout:
                layers.append(nn.Dropout(architecture.dropout))
            width = outputs
        if architecture.dropout and not architecture.linear:
            layers.append(nn.Dropout(architecture.dropout))
        layers.append(nn.Linear(width, classes))
        self.classifier = nn.Sequential(*layers)

    @property
    def modalities(self) -> list[str]:
        """The names of the modalities, in the order of `present`: those of the image first."""
        return [*self.image_modalities, *self.context_modalities]

    def standardized(self, images: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
        """Image channels (N, C, H, W) as the layers see them, pixel by pixel.

        Args:
            present: as for `forward`.
        """
        if self.standardize != "none":
            images = (images - self.center) / self.spread
        if self.standardize == "quantiles":
            images = images.clamp(-FARTHEST, FARTHEST)  # a cloud counts as no brighter than other bright ground
        if present is not None:
            images = _shown(images, self.image_modalities.values(), present[..., : len(self.image_modalities)])
        return images

    def standardized_context(self, context: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
        """Context features (N, F) as the linear layers see them; see `standardized`."""
        if self.standardize != "none":
            context = (context - self.context_center) / self.context_spread
        if self.standardize == "quantiles":
            context = context.clamp(-FARTHEST, FARTHEST)
        if present is not None:
            context = _shown(context, self.context_modalities.values(), present[..., len(self.image_modalities) :])
        return context

    def forward(
        self, images: torch.Tensor, context: torch.Tensor | None = None, present: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (N, K).

        Args:
            images: (N, C, H, H).
            context: (N, F), if the network has context features.
            present: which of `modalities` there are, bool (N, M), or (M,) for all patches alike; None for all. The
                others are 0 after standardization, which is their mean if there is any.
        """
        found = self.features(self.standardized(images, present))
        if self.context_modalities:
            found = torch.cat([found.flatten(1), self.standardized_context(context, present)], 1)
        return self.classifier(found)

    def classifier_for(self, context: torch.Tensor | None, present: torch.Tensor | None = None) -> nn.Sequential:
        """The classifier of feature maps alone, for patches of the same context (F,), for prediction only.

        What a constant context adds to the first linear layer is a part of its bias.
        """
        if not self.context_modalities:
            return self.classifier
        layers = [*self.classifier]
        at = next(place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear))
        weights = layers[at].weight.split([math.prod(self.feature_shape), context.shape[-1]], 1)
        layers[at] = nn.Linear(weights[0].shape[1], layers[at].out_features, device="meta")
        layers[at].weight = nn.Parameter(weights[0])
        of_context = weights[1] @ self.standardized_context(context[None], present)[0]
        layers[at].bias = nn.Parameter(self.classifier[at].bias + of_context)
        return nn.Sequential(*layers)


def _shown(x: torch.Tensor, modalities: Iterable[list[int]], present: torch.Tensor) -> torch.Tensor:
    """x (N, C, ...), with 0 in the channels of absent modalities."""
    columns = zip(present.split(1, -1), modalities, strict=True)
    shown = torch.cat([column.expand(*column.shape[:-1], len(positions)) for column, positions in columns], -1)
    return x.where(shown.reshape(-1, x.shape[1], *[1] * (x.ndim - 2)), 0)


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
    for place, batch in zip(logits.split(batch_size), patches.in_order(batch_size, group), strict=True):
        place.copy_(network(batch.images, batch.context))
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
    if {"seeds", "architecture"} <= metadata.keys():
        raise InputError(f"{path}: holds an ensemble, not a single network; add --ensemble, or name another file")
    return _rebuild(path, weights, metadata), DEFAULTS | metadata


def load_ensemble(path: Path) -> tuple[list[Network], dict[str, Any]]:
    """Rebuild the networks and their metadata from what `save_ensemble` wrote.

    Raises:
        InputError: as for `load`, or the file holds no network.
    """
    weights, metadata = tensors.load(path)
    if "architecture" in metadata and "seeds" not in metadata:
        raise InputError(f"{path}: holds a single network, not an ensemble; leave out --ensemble, or name another file")
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
            names = {"bands": list(metadata["bands"]), "context": list(metadata.get("context", []))}
            network = Network(architecture, classes=len(metadata["classes"]), patch_size=size, **names)
        network.load_state_dict({name: torch.from_numpy(value).clone() for name, value in weights.items()}, assign=True)
        if bad := [name for name, value in weights.items() if not np.isfinite(value).all()]:
            raise ValueError(f"non-finite values in {', '.join(bad)}")
        if bad := [name for name, value in network.named_parameters() if value.dtype != torch.float32]:
            raise ValueError(f"not float32: {', '.join(bad)}")
    except (TypeError, ValueError, KeyError, RuntimeError) as error:  # pydantic's errors are ValueErrors
        why = " ".join(str(error).split())
        raise InputError(f"{path}: is not a model from this pipeline ({why}); run dvc repro") from None
    return network

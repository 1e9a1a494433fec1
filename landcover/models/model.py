"""The contract of a network: what training, prediction, maps and export know of it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from landcover.models.metadata import Inputs

CLIP = 5.0  # spreads from the center, beyond which `quantiles` clips values


class Model(nn.Module, ABC):
    """Image channels (N, C, H, H) in [0, 1], context features (N, F) and which modalities are present -> logits (N, K).

    A family derives from it, takes `(parameters, inputs)`, sets or defines `head`, and implements `encode`.

    Attributes:
        inputs: what it is built for.
        modalities: their names, in the order of `present`: those of the image first.
        head: the last layer, from embeddings to logits.
    """

    head: nn.Linear

    def __init__(self, inputs: Inputs):
        super().__init__()
        self.inputs = inputs
        self.modalities = [*inputs.image_modalities, *inputs.context_modalities]
        self.standardize = "none"
        self.symmetries = False
        self.resize: int | None = None

    @abstractmethod
    def encode(self, images: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        """What the last layer sees (N, E), from normalized images and, if there are any, context features."""

    def as_layers(self, present: torch.Tensor | None = None) -> list[nn.Module] | None:
        """The network for normalized images as a chain of unpadded layers, in evaluation mode; None if it is no such.

        Linear layers are convolutions. So the chain takes images of any size, and a map slides it over a scene in one
        pass: from (1, C, h, w) to the logits (1, K, h', w') of all windows. Without it, the map batches windows.

        Args:
            present: as for `forward`, (M,). Context features must be absent: a scene has none.
        """
        return None

    @property
    def parameter_count(self) -> int:
        """The number of trainable weights."""
        return sum(weights.numel() for weights in self.parameters())

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
        return self.head(self.embed(images, context, present))

    def predict(
        self, images: torch.Tensor, context: torch.Tensor | None = None, present: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What predictions are made of: logits, or with `model.symmetries` the logarithms of the mean probabilities.

        See `forward`; the mean is over a patch's eight symmetries, mirrored or not and in quarter turns.
        """
        if not self.symmetries:
            return self(images, context, present)
        versions = [side.rot90(turn, (-2, -1)) for side in (images, images.flip(-1)) for turn in range(4)]
        each = [self(version, context, present).log_softmax(1) for version in versions]
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    def embed(
        self, images: torch.Tensor, context: torch.Tensor | None = None, present: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What the last layer sees (N, E); see `forward`."""
        context = self.normalize_context(context, present) if self.inputs.context else None
        images = self.normalize(images, present)
        if self.resize:
            images = F.interpolate(images, (self.resize, self.resize), mode="bilinear", antialias=True)
        return self.encode(images, context)

    def set_standardization(
        self, method: str, center: torch.Tensor | None = None, spread: torch.Tensor | None = None
    ) -> None:
        """Standardize the input, as `model.standardize` says.

        Args:
            center, spread: of each channel and feature, (C + F,); None if they will be loaded.
        """
        self.standardize = method
        if method == "none":
            return
        sizes = [len(self.inputs.channels), len(self.inputs.context)]
        for name, values in (("center", center), ("spread", spread)):
            values = torch.ones(sum(sizes)) if values is None else torch.as_tensor(values)
            images, features = values.split(sizes)
            self.register_buffer(name, images.reshape(1, -1, 1, 1))
            if len(features):
                self.register_buffer(f"context_{name}", features)

    def normalize(self, images: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
        """Images (N, C, H, W) as the layers see them, pixel by pixel: standardized, 0 in absent channels."""
        modalities = self.inputs.image_modalities.values()
        return self._normalize(images, "", modalities, present if present is None else present[..., : len(modalities)])

    def normalize_context(self, context: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
        """Context features (N, F) as the layers see them; see `normalize`."""
        present = present if present is None else present[..., len(self.inputs.image_modalities) :]
        return self._normalize(context, "context_", self.inputs.context_modalities.values(), present)

    def _normalize(
        self, x: torch.Tensor, prefix: str, modalities: Iterable[list[int]], present: torch.Tensor | None
    ) -> torch.Tensor:
        """x (N, C, ...) by the buffers of this prefix, with 0 in the channels of absent modalities."""
        if self.standardize != "none":
            x = (x - getattr(self, f"{prefix}center")) / getattr(self, f"{prefix}spread")
        if self.standardize == "quantiles":
            x = x.clamp(-CLIP, CLIP)  # a cloud counts as no brighter than other bright ground
        if present is None:
            return x
        columns = zip(present.split(1, -1), modalities, strict=True)
        mask = torch.cat([column.expand(*column.shape[:-1], len(positions)) for column, positions in columns], -1)
        return x.where(mask.reshape(-1, x.shape[1], *[1] * (x.ndim - 2)), 0)

"""The model that predicts a scene: one network, or several whose probabilities are averaged."""

import hashlib
import math
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from landcover.constants import BANDS
from landcover.errors import InputError
from landcover.models.cnn import Network, load, load_ensemble


class Model(NamedTuple):
    """Networks, and the metadata of their file."""

    networks: Sequence[Network]
    metadata: dict[str, Any]
    file: str = ""
    sha256: str = ""

    @property
    def channels(self) -> list[str]:
        """The image channels: bands first, then others."""
        return self.metadata["bands"]

    @property
    def bands(self) -> list[str]:
        """The Sentinel-2 bands."""
        return [name for name in self.channels if name in BANDS]

    @property
    def context(self) -> list[str]:
        """The context features."""
        return self.metadata.get("context", [])

    def check_inputs(self, available: Collection[str], source: str) -> None:
        """Check that the model can predict with some of its modalities alone.

        Args:
            available: modalities that the source has.

        Raises:
            InputError: one is missing, and the model was not trained to do without.
        """
        modalities = self.networks[0].modalities
        missing = [name for name in modalities if name not in available]
        if missing and not self.metadata.get("modality_dropout"):
            raise InputError(
                f"{source}: has no {', '.join(missing)}, which the model needs; use a model of other inputs, or one "
                "trained with train.modality_dropout"
            )
        if not set(self.networks[0].image_modalities) & set(available):
            raise InputError(f"{source}: has no image that the model takes; use a model of other inputs")
        if missing:
            print(f"{source}: predicted without {', '.join(missing)}", file=sys.stderr)

    @property
    def classes(self) -> list[str]:
        return self.metadata["classes"]

    @property
    def patch_size(self) -> int:
        return self.metadata["patch_size"]

    @property
    def temperature(self) -> float:
        return self.metadata["temperature"]

    @property
    def patch_means(self) -> dict[str, tuple[float, float]]:
        """By band, the smallest and the largest mean of the train patches; {} if unknown."""
        return self.metadata["patch_means"]

    @property
    def synthetic(self) -> bool:
        return self.metadata["synthetic"]

    def to(self, device: torch.device) -> "Model":
        return self._replace(networks=[network.to(device) for network in self.networks])

    def facts(self) -> dict[str, Any]:
        """The details of the model for a summary."""
        names = (
            "dataset",
            "synthetic",
            "bands",
            "context",
            "temperature",
            "architecture",
            "parameters",
            "epochs",
            "seeds",
        )
        told = {name: self.metadata[name] for name in names if name in self.metadata}
        return {"file": self.file, "sha256": self.sha256, "networks": len(self.networks)} | told

    def probabilities(self, logits: Callable[[Network], torch.Tensor]) -> torch.Tensor:
        """The mean over networks of the class probabilities, scaled by the temperature; from logits (..., K)."""
        of_each = torch.stack([logits(network).log_softmax(-1) for network in self.networks])
        return ((of_each.logsumexp(0) - math.log(len(of_each))) / self.temperature).softmax(-1)


def load_model(path: Path, *, ensemble: bool = False) -> Model:
    """Read a file of one network, or of an ensemble.

    Raises:
        InputError: it is no such file.
    """
    if ensemble:
        networks, metadata = load_ensemble(path)
    else:
        network, metadata = load(path)
        networks = [network]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Model([network.eval() for network in networks], metadata, str(path), digest)

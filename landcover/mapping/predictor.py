"""What predicts a scene or a patch: one model, or several whose probabilities are averaged."""

import hashlib
import math
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from landcover.constants import BANDS
from landcover.errors import InputError
from landcover.evaluation import applicability
from landcover.evaluation.applicability import Applicability
from landcover.models.metadata import Inputs, Metadata
from landcover.models.model import Model
from landcover.models.weights import load, load_ensemble

APPLICABILITY = "applicability.safetensors"  # beside a model
# What a map's summary says of its model.
FACTS = (
    "dataset", "synthetic", "bands", "context", "target", "temperature", "architecture", "parameters", "epochs", "seeds"
)  # fmt: skip


@dataclass(frozen=True)
class Predictor:
    """Models, in evaluation mode, and the metadata of their file."""

    networks: Sequence[Model]
    metadata: Metadata
    file: str = ""
    sha256: str = ""
    applicability: Applicability | None = None

    @classmethod
    def load(cls, path: Path, *, ensemble: bool = False) -> Self:
        """Read a file of one model, or of an ensemble, and what lies beside it of the patches that it was trained on.

        Raises:
            InputError: it is no such file.
        """
        if ensemble:
            networks, metadata = load_ensemble(path)
        else:
            network, metadata = load(path)
            networks = [network]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        beside = path.with_name(APPLICABILITY)
        found = applicability.load(beside) if beside.is_file() else None
        inputs = metadata.inputs
        bands = [name for name in inputs.channels if name in BANDS]
        if found and not found.fits(metadata.dataset, bands, inputs.patch_size):
            found = None
        return cls([network.eval() for network in networks], metadata, str(path), digest, found)

    def to(self, device: torch.device) -> Self:
        return replace(self, networks=[network.to(device) for network in self.networks])

    @property
    def device(self) -> torch.device:
        return self.networks[0].head.weight.device

    @property
    def inputs(self) -> Inputs:
        return self.metadata.inputs

    @property
    def brightest(self) -> float:
        """The reflectance at which its patches were cut off, as those of 8-bit pictures are."""
        return self.metadata.scale.get("maximum", 1)

    @property
    def bands(self) -> list[str]:
        """Its Sentinel-2 bands."""
        return [name for name in self.inputs.channels if name in BANDS]

    def check_inputs(self, available: Collection[str], source: str) -> None:
        """Check that it can predict with some of its modalities alone.

        Args:
            available: modalities that the source has.

        Raises:
            InputError: one is missing, and the model was not trained to do without.
        """
        missing = [name for name in self.networks[0].modalities if name not in available]
        if missing and not self.metadata.modality_dropout:
            raise InputError(
                f"{source}: has no {', '.join(missing)}, which the model needs; use a model of other inputs, or one "
                "trained with train.modality_dropout"
            )
        if not set(self.inputs.image_modalities) & set(available):
            raise InputError(f"{source}: has no image that the model takes; use a model of other inputs")
        if missing:
            print(f"{source}: predicted without {', '.join(missing)}", file=sys.stderr)

    def facts(self) -> dict[str, Any]:
        """What a map's summary says of it."""
        facts = self.metadata.to_json()
        return {
            "file": self.file, "sha256": self.sha256, "networks": len(self.networks),
            **{name: facts[name] for name in FACTS if name in facts},
        }  # fmt: skip

    def probabilities(self, logits: Callable[[Model], torch.Tensor]) -> torch.Tensor:
        """The mean over models of the class probabilities, scaled by the temperature; from logits (..., K)."""
        each = torch.stack([logits(network).log_softmax(-1) for network in self.networks])
        return ((each.logsumexp(0) - math.log(len(each))) / self.metadata.temperature).softmax(-1)

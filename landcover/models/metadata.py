"""What a model file states beside its weights. It imports no torch, for those who only read about a model."""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from landcover import modalities
from landcover.constants import SURFACE
from landcover.data.tensors import Scale
from landcover.models.registry import Architecture


@dataclass(frozen=True)
class Inputs:
    """What a network is built for."""

    channels: tuple[str, ...]  # of the images, in their order
    classes: tuple[str, ...]
    patch_size: int  # pixels a side
    context: tuple[str, ...] = ()  # names of the context features

    @cached_property
    def image_modalities(self) -> dict[str, list[int]]:
        """The positions of each image modality in `channels`."""
        return modalities.modalities(self.channels)

    @cached_property
    def context_modalities(self) -> dict[str, list[int]]:
        """The positions of each other modality in `context`."""
        return modalities.modalities(self.context)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """All that a prediction, a map and a card need besides the weights."""

    architecture: Architecture
    inputs: Inputs
    scale: Scale | dict = field(default_factory=dict)  # of the tensors that it was trained on; {} if unknown
    parameters: int  # the number of trainable weights
    epochs: int | list[int] = 0  # that it was trained for; of an ensemble, those of each network
    modality_dropout: float = 0.0  # the share of inputs hidden in training; above 0, the network can do without some
    # For each image channel, the smallest and the largest mean of a train patch; {} if unknown.
    patch_means: dict[str, list[float]] = field(default_factory=dict)
    temperature: float = 1.0  # by which to divide logits for calibrated confidences
    target: str = "majority"  # what it was trained to predict; or shares, as which its probabilities are then read
    # Of a network of shares, by class: the mean over the test split of the predicted share less the true one.
    share_bias: dict[str, float] = field(default_factory=dict)
    dataset: str = ""
    synthetic: bool = False
    level: str = SURFACE  # of the Sentinel-2 images that it was trained on, 1C or 2A
    device: str = "cpu"
    # The weights that training started from: their file, its hash, and what was taken of it; {} for random ones.
    initialization: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)  # of an ensemble's networks

    def to_json(self) -> dict[str, Any]:
        """As the file holds it: one level, without what the model does not have."""
        facts = {key.name: getattr(self, key.name) for key in dataclasses.fields(self)}
        inputs = facts.pop("inputs")
        facts |= {"architecture": self.architecture.to_json(), "patch_size": inputs.patch_size}
        facts |= {"bands": list(inputs.channels), "classes": list(inputs.classes), "context": list(inputs.context)}
        optional = "context", "modality_dropout", "initialization", "seeds", "share_bias"
        absent = [key for key in optional if not facts[key]]
        absent += ["target"] * (self.target == "majority")
        absent += ["level"] * (self.level == SURFACE)
        return {key: value for key, value in facts.items() if key not in absent}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Self:
        """From what a file holds.

        Raises:
            ValueError: something is missing, unknown or of another type.
        """
        try:
            rest = dict(facts)
            channels, classes = tuple(rest.pop("bands")), tuple(rest.pop("classes"))
            inputs = Inputs(channels, classes, rest.pop("patch_size"), tuple(rest.pop("context", ())))
            return cls(architecture=Architecture.from_json(rest.pop("architecture")), inputs=inputs, **rest)
        except KeyError as error:
            raise ValueError(f"it has no {error.args[0]}") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from None

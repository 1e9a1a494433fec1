"""The families of networks: each has a name, parameters, and a module of its own.

It imports no torch, because parameters are checked before the instruction set is pinned.
"""

import dataclasses
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

import pydantic

from landcover.constants import LARGEST_SIZE, LEAST_SIZE
from landcover.schema import Section

if TYPE_CHECKING:
    import torch

    from landcover.models.metadata import Inputs
    from landcover.models.model import Model

Channels = Annotated[int, pydantic.Field(ge=1, le=4096)]
Dropout = Annotated[float, pydantic.Field(ge=0, lt=1)]


class Parameters(Section):
    """The parameters of a family, which lie under its name in params.yaml."""

    def check_patch_size(self, patch_size: int) -> None:
        """Raise a ValueError, which says what to change, if patches of so many pixels a side are too small."""

    def describe(self) -> str:
        """The network in words, for the report."""
        values = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self)
        return f"{type(self).__name__} with {values}"


class CNN(Parameters):
    """Layers of convolution, ReLU and max pooling, then linear layers, then the classes."""

    convolutions: Annotated[list[Channels], pydantic.Field(min_length=1, max_length=64)]
    kernel: Annotated[int, pydantic.Field(ge=1, le=31)]
    stride: Annotated[int, pydantic.Field(ge=1, le=8)]
    padding: Literal["valid", "same"]
    pool: Annotated[int, pydantic.Field(ge=1, le=8)]
    residual: bool
    normalization: Literal["none", "batch", "group"]
    global_pooling: bool
    linear: Annotated[list[Channels], pydantic.Field(max_length=64)]
    dropout: Dropout
    fusion: Literal["early", "late"]

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.padding == "same" and self.kernel % 2 == 0:
            raise ValueError("padding 'same' requires an odd kernel")
        if self.residual and self.padding != "same":
            raise ValueError("residual layers add their input to their output: set padding to 'same'")
        return self

    def check_patch_size(self, patch_size: int) -> None:
        self.feature_sizes(patch_size)

    def feature_sizes(self, patch_size: int) -> list[int]:
        """The side in pixels of the feature map after each convolutional layer.

        Args:
            patch_size: side of a patch in pixels.

        Raises:
            ValueError: a layer has no pixels left.
        """
        sizes, side = [], patch_size
        margin = self.kernel // 2 if self.padding == "same" else 0
        for layer in range(1, len(self.convolutions) + 1):
            before = side
            side = ((side + 2 * margin - self.kernel) // self.stride + 1) // self.pool
            if side < 1:
                raise ValueError(
                    f"convolutional layer {layer} gets only {before} x {before} pixels; "
                    "use fewer layers, or a smaller kernel, stride or pool, or padding 'same'"
                )
            sizes.append(side)
        return sizes

    def describe(self) -> str:
        kind = "residual layers" if self.residual else "convolutional layers"
        channels, units = (", ".join(map(str, widths)) for widths in (self.convolutions, self.linear))
        parts = [f"{len(self.convolutions)} {kind} ({channels} channels)"]
        parts += [f"{units} hidden units" if self.linear else "no hidden linear layer"]
        parts += [f"{self.normalization} norm"] if self.normalization != "none" else []
        parts += ["global pooling"] if self.global_pooling else []
        parts += [f"dropout {self.dropout}"] if self.dropout else []
        return f"{', '.join(parts)}; kernel {self.kernel}, stride {self.stride}, pooling {self.pool}"


class ResNet(Parameters):
    """A residual network: a stem with stride 2, then a block of two convolutions for each width."""

    widths: Annotated[list[Channels], pydantic.Field(min_length=1, max_length=64)]
    dropout: Dropout

    def check_patch_size(self, patch_size: int) -> None:
        if patch_size < 2 ** len(self.widths):
            raise ValueError(f"{len(self.widths)} blocks halve {patch_size} pixels too often; use fewer widths")

    def describe(self) -> str:
        channels = ", ".join(map(str, self.widths))
        dropout = f", dropout {self.dropout}" if self.dropout else ""
        return f"a residual network of {len(self.widths)} blocks ({channels} channels){dropout}"


class StandardResNet(Parameters):
    """The ResNet that published weights are of, with torchvision's names of weights."""

    depth: Literal[18, 50]

    def describe(self) -> str:
        return f"ResNet-{self.depth}"


class Family(NamedTuple):
    parameters: type[Parameters]
    network: str  # its class, derived from `Model`: "<module>:<class>"


FAMILIES = {
    "cnn": Family(CNN, "landcover.models.cnn:ConvolutionalNetwork"),
    "resnet": Family(ResNet, "landcover.models.resnet:ResidualNetwork"),
    "standard_resnet": Family(StandardResNet, "landcover.models.standard_resnet:StandardResidualNetwork"),
}


class _Shared(Section):
    """Which network: the name of a family, what all families share, and the parameters of each under its name."""

    name: Literal[tuple(FAMILIES)]
    standardize: Literal["none", "moments", "quantiles"]
    symmetries: bool = False
    resize: Annotated[int, pydantic.Field(ge=LEAST_SIZE, le=LARGEST_SIZE)] | None = None  # None: the patch's own size

    @pydantic.model_validator(mode="after")
    def _has_parameters(self) -> Self:
        if self.parameters is None:
            raise ValueError(f"name is {self.name}, but there are no parameters of that name; add {self.name}: ...")
        return self

    @property
    def parameters(self) -> Parameters:
        """Those of the chosen family."""
        return getattr(self, self.name)

    def check_patch_size(self, patch_size: int) -> None:
        """Raise a ValueError, which says what to change, if patches of so many pixels a side are too small."""
        self.parameters.check_patch_size(self.resize or patch_size)

    def describe(self) -> str:
        """The network in words, for the report."""
        shared = "" if self.standardize == "none" else f"; input standardized by {self.standardize}"
        shared += "; mean over eight symmetries" if self.symmetries else ""
        shared += f"; patches resized to {self.resize} x {self.resize} pixels" if self.resize else ""
        return self.parameters.describe() + shared

    def to_json(self) -> dict[str, Any]:
        """For a model's file, without what other families would have: {"name": "cnn", "standardize": ..., ...}."""
        shared = {"symmetries": True} if self.symmetries else {}
        shared |= {"resize": self.resize} if self.resize else {}
        return {"name": self.name, "standardize": self.standardize} | shared | self.parameters.model_dump()

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Self:
        """From what `to_json` gave.

        Raises:
            ValueError: it is no such.
        """
        shared = {key: value for key, value in facts.items() if key in _Shared.model_fields}
        own = {key: value for key, value in facts.items() if key not in shared}
        return cls.model_validate(shared | {facts["name"]: own})


# Section `model` of params.yaml.
Architecture = pydantic.create_model(
    "Architecture", __base__=_Shared, **{name: (family.parameters | None, None) for name, family in FAMILIES.items()}
)


def build(
    architecture: Architecture,
    inputs: "Inputs",
    center: "torch.Tensor | None" = None,
    spread: "torch.Tensor | None" = None,
) -> "Model":
    """A network with initial weights.

    Args:
        center, spread: of each image channel and context feature, (C + F,), if `model.standardize` is not none.
    """
    module, _, name = FAMILIES[architecture.name].network.partition(":")
    seen = inputs if architecture.resize is None else dataclasses.replace(inputs, patch_size=architecture.resize)
    network = getattr(import_module(module), name)(architecture.parameters, seen)
    network.inputs, network.resize = inputs, architecture.resize
    network.set_standardization(architecture.standardize, center, spread)
    network.symmetries = architecture.symmetries
    return network

"""Start from weights that were learnt before: which of them fit the network, and what becomes of the others."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from landcover.config import Training
from landcover.data import tensors
from landcover.errors import InputError, few
from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import Architecture, build
from landcover.training.loader import Patches
from landcover.training.loop import draw_batches

COUNTER = "num_batches_tracked"  # of batch norm; older files lack it, and nothing depends on it
SCALING = ("center", "spread", "context_center", "context_spread")  # buffers of standardization
MOST = 20  # layers that a row names
TAKEN, BY_BAND, NEW, LEFT_OUT = "taken as it is", "taken, matched by band", "new", "left out"

Shape = tuple[int, ...]


class Pretrained(NamedTuple):
    """What the stage pretrained wrote: the file's tensors by name, and what is known of them; both may be empty."""

    weights: dict[str, np.ndarray]
    facts: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> "Pretrained":
        return cls(*tensors.load(path))

    @property
    def sha256(self) -> str | None:
        return self.facts.get("sha256")

    @property
    def is_ours(self) -> bool:
        """Whether this pipeline wrote the file, which then states its bands, classes and scaling."""
        return "architecture" in self.facts

    def refuse(self, why: str) -> InputError:
        return InputError(f"train.init: {self.facts['file']}: {why}")


def initialize(
    network: Model, architecture: Architecture, pretrained: Pretrained, settings: Training, train: Patches
) -> dict[str, Any]:
    """Give a network the weights that fit it, in place.

    A layer is taken as a whole or is new. The last layer is taken only from a file that states the same classes.

    Args:
        train: for the statistics of batch norm, if they are to be estimated.

    Returns:
        What the model's file states of it: `file`, `sha256`, `rows` (each with `weights`, `layers` and `numbers`) and
        `notes`; {} without weights.

    Raises:
        InputError: the weights are of another network, of unknown bands, or of another scaling.
    """
    if not pretrained.weights:
        return {}
    own = {name: value for name, value in network.state_dict().items() if name not in SCALING}
    head = next(name for name, module in network.named_modules() if module is network.head)
    channels, is_frozen = list(network.inputs.channels), settings.frozen(1)
    pairs, notes = _pair(own, pretrained, head)
    of_channels = _of_channels(architecture, network.inputs) & pairs.keys()
    by_band = {name for name in of_channels if own[name].ndim == 4 and own[name].shape[1] == len(channels)}
    taken = _fitting_layers(own, pairs, by_band, head, network.inputs, pretrained, notes)
    bands = channels
    if of_channels:
        count = pretrained.weights[pairs[min(of_channels)]].shape[1]
        bands = _bands(channels, count, pretrained, settings, matched=by_band == of_channels)
        notes += _told_of_bands(bands, channels, pretrained, settings)
    outcomes = {_layer(name): TAKEN if _layer(name) in taken else NEW for name in own}
    with torch.no_grad():
        for name in (name for name in pairs if _layer(name) in taken):
            values = pretrained.weights[pairs[name]]
            if name in by_band and bands != channels:
                values = match_bands(values, bands, channels, zero=is_frozen)
                outcomes[_layer(name)] = BY_BAND
            own[name].copy_(torch.from_numpy(values))
    notes += _take_scaling(network, pretrained, settings)
    if settings.init_batch_norm == "estimate":
        estimate_batch_norm(network, train, settings)
        notes.append("the running statistics of batch norm were estimated anew over the train split")
    used = {its for name, its in pairs.items() if _layer(name) in taken} | {*SCALING}
    left = {name: values.size for name, values in pretrained.weights.items() if name not in used}
    left = {name: size for name, size in left.items() if not name.endswith(COUNTER)} | pretrained.facts["left_out"]
    rows = _rows(outcomes, {name: value.numel() for name, value in own.items() if not name.endswith(COUNTER)})
    rows += _rows({_layer(name): LEFT_OUT for name in left}, left)
    return {"file": pretrained.facts["file"], "sha256": pretrained.sha256, "rows": rows, "notes": notes}


def describe_start(facts: dict[str, Any]) -> str:
    """What `initialize` returned, for a terminal."""
    lines = [f"train.init: weights of {facts['file']} (sha256 {facts['sha256']})"]
    lines += [f"  {row['weights']:<23} {row['numbers']:>12,}  {row['layers']}" for row in facts["rows"]]
    return "\n".join(lines + [f"  {note}" for note in facts["notes"]])


# -- which tensor is which


def _layer(name: str) -> str:
    return name.rpartition(".")[0] or name


def _pair(own: dict[str, torch.Tensor], pretrained: Pretrained, head: str) -> tuple[dict[str, str], list[str]]:
    """The file's name of each tensor that both have: by name, or by order if no name is the same."""
    notes = []
    if removed := pretrained.facts["removed"]:
        notes.append(f"taken off the file's names: {removed}")
    if common := {name: name for name in own if name in pretrained.weights}:
        return common, notes
    mine = [name for name in own if not name.endswith(COUNTER)]
    theirs = [name for name in pretrained.facts["order"] if not name.endswith(COUNTER)]
    if len(mine) != len(theirs):  # a file may lack the last layer
        mine = [name for name in mine if _layer(name) != head]
    if len(mine) != len(theirs):
        raise pretrained.refuse(
            f"has {len(theirs)} tensors, none named as one of the {len(mine)} of the model; they are of another "
            "network: choose theirs under model"
        )
    notes.append("the file's names are others, so its layers were matched by their order")
    return dict(zip(mine, theirs, strict=True)), notes


def _of_channels(architecture: Architecture, inputs: Inputs) -> set[str]:
    """The names of the tensors whose shape depends on the number of image channels."""
    shapes = []
    for channels in (inputs.channels, (*inputs.channels, inputs.channels[-1])):
        with torch.device("meta"):
            network = build(architecture, dataclasses.replace(inputs, channels=channels))
        shapes.append({name: value.shape for name, value in network.state_dict().items() if name not in SCALING})
    first, second = shapes
    return {name for name, shape in first.items() if second.get(name) != shape}


def _fitting_layers(
    own: dict[str, torch.Tensor],
    pairs: dict[str, str],
    by_band: set[str],
    head: str,
    inputs: Inputs,
    pretrained: Pretrained,
    notes: list[str],
) -> set[str]:
    """The layers of which the file has all tensors, in their shapes; adds to the notes.

    Raises:
        InputError: there is none, or the shapes are those of another network.
    """
    same_classes = pretrained.facts.get("classes") == list(inputs.classes)
    misfits = {_layer(name) for name in own if name not in pairs and not name.endswith(COUNTER)}
    for name, its in pairs.items():
        mine, theirs = tuple(own[name].shape), pretrained.weights[its].shape
        if _layer(name) == head:
            if mine != theirs or not same_classes:
                misfits.add(head)
        elif len(mine) == len(theirs) == 2 and mine[0] == theirs[0] and mine != theirs:
            misfits.add(_layer(name))  # after flattening, its inputs are as many as the patch's size makes them
            notes.append(f"{_layer(name)} is new: it has {mine[1]} inputs, and {_layer(its)} {theirs[1]}")
        elif _without_channels(mine, name in by_band) != _without_channels(theirs, name in by_band):
            raise pretrained.refuse(
                f"{its} has the shape {_times(theirs)}, the model's {name} {_times(mine)}; they are of another "
                "network: choose theirs under model"
            )
    if taken := {_layer(name) for name in pairs} - misfits - {head}:
        return taken if head in misfits else taken | {head}
    raise pretrained.refuse(
        f"none of its layers ({few(sorted(set(map(_layer, pretrained.weights))))}) fits the model; choose theirs under "
        "model, or set train.init to null"
    )


def _without_channels(shape: Shape, by_band: bool) -> Shape:
    return shape[:1] + shape[2:] if by_band else shape


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "of one number"


# -- bands and scaling


def _bands(channels: list[str], count: int, pretrained: Pretrained, settings: Training, *, matched: bool) -> list[str]:
    """The bands of the file's first layer, in its order.

    Args:
        count: the first layer's input channels.
        matched: whether the model's first layer is a convolution of all its channels.
    """
    stated, given = pretrained.facts.get("bands"), settings.init_bands
    if stated and given and stated != given:
        raise pretrained.refuse(f"is of the bands {', '.join(stated)}, not those of train.init_bands; leave these out")
    bands = stated or given
    if not matched:
        if bands != channels:
            raise pretrained.refuse(
                f"its bands cannot be matched, since the model's first layer is not one for all; choose {channels} or "
                "model.cnn.fusion: early"
            )
        return channels
    if not bands and count != len(channels):
        raise pretrained.refuse(
            f"has {count} input channels, and the model {len(channels)} ({', '.join(channels)}); name the bands of the "
            "weights in train.init_bands"
        )
    if bands and len(bands) != count:
        raise pretrained.refuse(
            f"has {count} input channels, and train.init_bands lists {len(bands)} bands; list those of the weights"
        )
    if bands and not set(bands) & set(channels):
        raise pretrained.refuse(f"is of {', '.join(bands)}, none of which is an input; choose other weights or inputs")
    return list(bands or channels)


def _told_of_bands(
    bands: Sequence[str], channels: Sequence[str], pretrained: Pretrained, settings: Training
) -> list[str]:
    """What becomes of bands that only one side has, and whether the bands were guessed."""
    notes = []
    if not pretrained.facts.get("bands") and not settings.init_bands:
        notes.append(f"the file does not name its bands; they were taken for the model's: {', '.join(channels)}")
    if added := [name for name in channels if name not in bands]:
        start = "0, since the layer is frozen" if settings.frozen(1) else "the mean of the others"
        notes.append(f"bands that the weights lack start at {start}: {', '.join(added)}")
    if dropped := [name for name in bands if name not in channels]:
        notes.append(f"bands that are no input, whose filters were spread over the others: {', '.join(dropped)}")
    return notes


def match_bands(weights: np.ndarray, bands: Sequence[str], channels: Sequence[str], *, zero: bool) -> np.ndarray:
    """Filters for other bands, whose sum over the bands stays, so that what follows sees values as before.

    What the filters of dropped bands add up to is spread over the others. A band that the weights lack starts at the
    mean of the others, and all are scaled down to make up for it.

    Args:
        weights: float32 (O, len(bands), ...).
        channels: at least one of them in `bands`.
        zero: a band that the weights lack starts at 0, because nothing can be learnt about it.

    Returns:
        float32 (O, len(channels), ...).
    """
    kept = [position for position, name in enumerate(channels) if name in bands]
    known = weights[:, [bands.index(channels[position]) for position in kept]]
    if len(kept) < len(bands):
        known = known + (weights.sum(1, keepdims=True) - known.sum(1, keepdims=True)) / len(kept)
    found = np.zeros((len(weights), len(channels), *weights.shape[2:]), np.float32)
    if len(kept) < len(channels) and not zero:
        found[:] = known.mean(1, keepdims=True)
        found[:, kept] = known
        return found * np.float32(len(kept) / len(channels))
    found[:, kept] = known
    return found


def _take_scaling(network: Model, pretrained: Pretrained, settings: Training) -> list[str]:
    """Standardize the input as the weights saw it, in place; what is to be told of it."""
    if pretrained.is_ours:
        return _take_our_scaling(network, pretrained)
    if settings.init_mean:
        for name, values in (("center", settings.init_mean), ("spread", settings.init_std)):
            _set(getattr(network, name).view(-1), network.inputs.channels, settings.init_bands, values)
        return ["the input is standardized by train.init_mean and train.init_std"]
    how = "reflectances as they are" if network.standardize == "none" else f"model.standardize: {network.standardize}"
    return [f"the file does not state how its input was scaled; the model's input: {how}"]


def _take_our_scaling(network: Model, pretrained: Pretrained) -> list[str]:
    facts, inputs = pretrained.facts, network.inputs
    theirs = Architecture.from_json(facts["architecture"])
    if theirs.standardize != network.standardize:
        raise pretrained.refuse(
            f"its input was scaled by model.standardize = {theirs.standardize}, not {network.standardize}; set it so"
        )
    context = facts.get("context", [])
    if context and inputs.context and context != list(inputs.context):
        raise pretrained.refuse(f"has the context features {few(context)}, and the model others; choose its inputs")
    if theirs.standardize != "none":
        for name in ("center", "spread"):
            values = pretrained.weights[name].ravel()
            _set(getattr(network, name).view(-1), inputs.channels, facts["bands"], values)
            if context and inputs.context:
                getattr(network, f"context_{name}").copy_(torch.from_numpy(pretrained.weights[f"context_{name}"]))
    notes = [f"trained on {facts['dataset']}, of Level {facts.get('level', '2A')}"] if facts.get("dataset") else []
    sizes = theirs.resize or facts["patch_size"], network.resize or inputs.patch_size
    if sizes[0] != sizes[1]:
        notes.append(
            f"trained on {sizes[0]} x {sizes[0]} pixels, now {sizes[1]} x {sizes[1]}; model.resize: {sizes[0]} would "
            "resize the patches"
        )
    return notes


def _set(buffer: torch.Tensor, channels: Iterable[str], bands: Sequence[str], values: Sequence[float]) -> None:
    """Set those of the channels that are among the bands."""
    for position, name in enumerate(channels):
        if name in bands:
            buffer[position] = float(values[list(bands).index(name)])


@torch.no_grad()
def estimate_batch_norm(network: Model, train: Patches, settings: Training) -> None:
    """Set the running statistics of batch norm to the means over the batches of the train split, without augmentation.

    All layers see the input as normalized by each batch, as in training.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over batches instead of a moving one
        layer.train()
    plain = settings.model_copy(update={"shuffle": False})
    order = draw_batches(len(train.labels), plain, torch.Generator(), least=2)
    for batch in train.batches(rows for _, rows in order):
        network.embed(batch.images, batch.context)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


# -- what is told


def _rows(outcomes: dict[str, str], sizes: dict[str, int]) -> list[dict[str, Any]]:
    """One row for each outcome: its layers, and how many numbers they hold.

    Layers of one part of the network (`layer1.0.conv1`, `layer1.0.bn1`, ...) that share an outcome are named by it.

    Args:
        outcomes: by layer.
        sizes: of each tensor of these layers.
    """
    parts, numbers = defaultdict(set), defaultdict(int)
    for layer, outcome in outcomes.items():
        parts[_part(layer)].add(outcome)
    for name, size in sizes.items():
        numbers[outcomes[_layer(name)]] += size
    rows = []
    for kind in (TAKEN, BY_BAND, NEW, LEFT_OUT):
        of_kind = [layer for layer, outcome in outcomes.items() if outcome == kind]
        if of_kind:
            of_kind = dict.fromkeys(layer if len(parts[_part(layer)]) > 1 else _part(layer) for layer in of_kind)
            rows.append({"weights": kind, "layers": few(list(of_kind), MOST), "numbers": numbers[kind]})
    return rows


def _part(layer: str) -> str:
    return layer.partition(".")[0]

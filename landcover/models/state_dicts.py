"""Files of weights that anyone saved: this pipeline's, other .safetensors, and named tensors that torch.save wrote."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landcover.errors import InputError, few

if TYPE_CHECKING:
    import torch

CONTAINERS = ("state_dict", "model_state_dict", "model")  # keys under which checkpoints keep a network's tensors
# What training frameworks put before the names of the layers. Names that lack it are of something else, such as the
# second encoder of contrastive learning.
PREFIXES = ("module.encoder_q.", "encoder_q.", "backbone.", "encoder.", "model.", "network.", "module.")
# In torch's messages about pickles that name something else than what tensors are made of.
FOREIGN = re.compile("GLOBAL|unsafe|blocklisted|Can only (create|build|SETITEM|append|extend)|unrecognized function")
# What this pipeline's files state that matters for another network.
FACTS = ("architecture", "bands", "classes", "context", "dataset", "level", "patch_size")


def read(path: Path, what: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of a file by name, float32 or int64, and what is known of them.

    Facts: `order`, the names as the file lists them; `removed`, what was taken off all of them; `left_out`, the sizes
    of tensors whose names lack it; and FACTS, if the file is this pipeline's.

    Args:
        what: the file, for messages.

    Raises:
        InputError: it cannot be read, holds more than tensors, or has other values than finite numbers.
    """
    with open(path, "rb") as file:
        head = file.read(9)
    weights, facts = _read_safetensors(path, what) if head[8:] == b"{" else _read_saved(path, what)
    # This pipeline's files have the model's own names.
    weights, prefix, others = (weights, "", {}) if "architecture" in facts else _strip(weights)
    arrays = {name: _number(values) for name, values in weights.items()}
    if bad := [name for name, values in arrays.items() if not np.isfinite(values).all()]:
        raise InputError(f"{what}: has values that are not finite in {few(bad)}; use other weights")
    facts |= {"order": list(arrays), "removed": facts.get("removed", "") + prefix, "left_out": others}
    return arrays, facts


def _read_safetensors(path: Path, what: str) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            stated = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        own = "architecture" in stated
        facts = {name: json.loads(stated[name]) for name in FACTS if own and name in stated}
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{what}: is damaged or incomplete ({_line(error)}); get the file again") from None
    if own and "seeds" in stated:
        raise InputError(f"{what}: holds an ensemble; give a file of one network, such as models/model.safetensors")
    if not weights:
        raise InputError(f"{what}: holds no tensors; give a file of weights")
    return weights, facts


def _read_saved(path: Path, what: str) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise whatever its bytes lead to
        text = _line(error)
        if FOREIGN.search(str(error)):
            raise InputError(
                f"{what}: holds more than tensors, which may be code and is not read; save its state_dict() alone"
            ) from None
        raise InputError(f"{what}: is no file of weights, damaged or incomplete ({text}); get it again") from None
    removed = ""
    for key in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content, removed = content[key], f"{removed}{key}: "
    found = content.items() if isinstance(content, Mapping) else ()
    weights = {str(name): value for name, value in found if isinstance(value, torch.Tensor)}
    if not weights:
        keys = f", only {few(list(map(str, content)))}" if isinstance(content, Mapping) and content else ""
        raise InputError(f"{what}: holds no named tensors{keys}; give a file of a network's state_dict()")
    return weights, {"removed": removed}


def _line(error: Exception) -> str:
    """The message in one line of a readable length."""
    return few([" ".join(str(error).split()) or type(error).__name__])


def _strip(weights: "dict[str, torch.Tensor]") -> "tuple[dict[str, torch.Tensor], str, dict[str, int]]":
    """Tensors by their names without prefixes, these prefixes, and the sizes of tensors whose names lack them."""
    removed, others = "", {}
    while prefix := next((one for one in PREFIXES if any(name.startswith(one) for name in weights)), None):
        others |= {removed + name: one.numel() for name, one in weights.items() if not name.startswith(prefix)}
        weights = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        removed += prefix
    return weights, removed, others


def _number(values: "torch.Tensor") -> np.ndarray:
    return (values.float() if values.is_floating_point() else values.long()).contiguous().numpy()

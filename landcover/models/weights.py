"""Files of one network, or of an ensemble: the weights, and the metadata that rebuild the network around them."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.metadata import Metadata
from landcover.models.model import Model
from landcover.models.registry import build


def save(path: Path, network: Model, metadata: Metadata) -> None:
    tensors.save(path, _weights(network), metadata.to_json())


def save_ensemble(path: Path, networks: dict[int, Model], metadata: Metadata) -> None:
    """Write networks of one architecture, by seed, to one file, with weights named <seed>/<name>."""
    weights = {
        f"{seed}/{name}": value for seed, network in networks.items() for name, value in _weights(network).items()
    }
    tensors.save(path, weights, metadata.to_json())


def _weights(network: Model) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}


def load(path: Path) -> tuple[Model, Metadata]:
    """Rebuild a network and its metadata from what `save` wrote.

    Raises:
        InputError: the file is not such a model, or its weights do not fit its architecture or are not finite.
    """
    weights, facts = tensors.load(path)
    if {"seeds", "architecture"} <= facts.keys():
        raise InputError(f"{path}: holds an ensemble, not a single network; name another file, or map with --ensemble")
    with _refusing(path):
        metadata = Metadata.from_json(facts)
        return _rebuild(weights, metadata), metadata


def load_ensemble(path: Path) -> tuple[list[Model], Metadata]:
    """Rebuild the networks and their metadata from what `save_ensemble` wrote.

    Raises:
        InputError: as for `load`, or the file holds no network.
    """
    weights, facts = tensors.load(path)
    if "architecture" in facts and "seeds" not in facts:
        raise InputError(f"{path}: holds a single network, not an ensemble; leave out --ensemble, or name another file")
    if not weights:
        raise InputError(f"{path}: holds no network; list seeds in repeat.seeds, and run dvc repro repeat")
    by_seed: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for key, value in weights.items():
        seed, _, name = key.partition("/")
        by_seed[seed][name] = value
    with _refusing(path):
        metadata = Metadata.from_json(facts)
        return [_rebuild(by_seed[str(seed)], metadata) for seed in metadata.seeds], metadata


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Report what goes wrong in this context as a file that is no model."""
    try:
        yield
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise InputError(
            f"{path}: is not a model from this pipeline ({why}); run dvc repro, or name another file"
        ) from None


def _rebuild(weights: dict[str, np.ndarray], metadata: Metadata) -> Model:
    # On the meta device, so that an architecture takes no memory before it is known to match the weights.
    with torch.device("meta"):
        network = build(metadata.architecture, metadata.inputs)
    network.load_state_dict({name: torch.from_numpy(value).clone() for name, value in weights.items()}, assign=True)
    if bad := [name for name, value in weights.items() if not np.isfinite(value).all()]:
        raise ValueError(f"non-finite values in {', '.join(bad)}")
    if bad := [name for name, value in network.named_parameters() if value.dtype != torch.float32]:
        raise ValueError(f"not float32: {', '.join(bad)}")
    return network

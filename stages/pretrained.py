"""Fetch the weights to start from.  train.init -> models/pretrained.safetensors

So training depends on a file, not on an address. Without train.init, the file holds no tensors.
"""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from landcover import files
from landcover.archives.source import fetch
from landcover.config import Training, is_url
from landcover.data import tensors
from landcover.errors import InputError, redact
from landcover.models import state_dicts


def read(path: Path, name: str, sha256: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and facts of a file of weights, its name and its hash among them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 not in (None, digest):
        raise InputError(
            f"train.init: {name}: its sha256 is {digest}, not {sha256}; get the file again, or correct "
            "train.init_sha256"
        )
    weights, facts = state_dicts.read(path, f"train.init: {name}")
    return weights, {"file": name, "sha256": digest} | facts


def pretrained(pretrained_path: Path, *, train: Training) -> None:
    """Write the tensors of train.init by name, from a path or a URL, and what is known of them."""
    weights, facts = {}, {}
    if train.init and is_url(train.init):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "weights")
            fetch(train.init, path, None, archived=False)
            weights, facts = read(path, redact(train.init), train.init_sha256)
    elif train.init:
        path = Path(train.init).expanduser()
        if not path.is_file():
            raise InputError(f"train.init = {train.init!r}: no such file; give an absolute path, or an http(s) URL")
        weights, facts = read(path, path.name, train.init_sha256)
    with files.replacing(pretrained_path) as part:
        tensors.save(part, weights, facts)

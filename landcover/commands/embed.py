"""Write what a model's last layer sees of each patch.  models/model.safetensors, data/tensors -> embeddings.parquet

    python -m landcover embed [--model FILE] [--tensors FOLDER] [--out FILE]

The table has a row for each patch of all splits: `patch_id` and `vector`. `baseline.embeddings` takes it, and so does
any program that reads Parquet or .npz.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from landcover import files, terminal
from landcover.constants import SPLITS
from landcover.data import tensors
from landcover.data.embeddings import save_embeddings
from landcover.data.index import load_index
from landcover.errors import InputError
from landcover.models.model import Model
from landcover.models.weights import load
from landcover.training.inputs import inputs_of
from landcover.training.loader import load as load_patches

KINDS = (".parquet", ".npz")
BATCH = 16


@torch.inference_mode()
def embed(network: Model, split: tensors.Split) -> np.ndarray:
    """Embeddings of the patches, float32 (N, E)."""
    network.eval()
    batches = load_patches(split, torch.device("cpu"), gigabytes=0).in_order(BATCH)
    total = -(-len(split.labels) // BATCH)
    bar = terminal.progress(batches, desc="embed", total=total, unit="batch")
    return torch.cat([network.embed(batch.images, batch.context) for batch in bar]).numpy()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m landcover embed", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/model.safetensors"), help="default: %(default)s")
    parser.add_argument("--tensors", type=Path, default=Path("data/tensors"), help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=Path("models/embeddings.parquet"), help="or .npz; default: %(default)s"
    )
    given = parser.parse_args(arguments)
    if (kind := given.out.suffix.lower()) not in KINDS:
        raise InputError(f"--out {given.out}: give a file that ends in {' or '.join(KINDS)}")
    network, _ = load(given.model)
    split, index = tensors.load_split(given.tensors, *SPLITS, gigabytes=0), load_index(given.tensors, *SPLITS)
    own, theirs = network.inputs, inputs_of(split)
    compared = ("channels", "context", "patch_size")
    if others := [name for name in compared if getattr(own, name) != getattr(theirs, name)]:
        raise InputError(
            f"{given.tensors}: differs in {', '.join(others)} from {given.model}; preprocess the patches with the "
            "inputs of the model, or give other tensors by --tensors"
        )
    vectors = embed(network, split)
    with files.replacing(given.out) as part:
        save_embeddings(part, index.patch_ids, vectors, kind)
    print(f"{given.out}: {len(vectors)} patches, vectors of {vectors.shape[1]} numbers")

"""Tables of embeddings: a vector for each patch, from any model."""

from pathlib import Path

import numpy as np
import pandas as pd

from landcover.errors import InputError, few

COLUMNS = ("patch_id", "vector")


def save_embeddings(path: Path, patch_ids: np.ndarray, vectors: np.ndarray, kind: str) -> None:
    """Write a table.

    Args:
        patch_ids: str (N,).
        vectors: float32 (N, E).
        kind: ".parquet", with a list in each row, or ".npz", with two arrays.
    """
    if kind == ".npz":
        with path.open("wb") as file:  # by its path, NumPy would add an ending
            np.savez(file, patch_id=patch_ids, vector=vectors)
    else:
        pd.DataFrame({"patch_id": patch_ids, "vector": list(vectors)}).to_parquet(path, index=False)


def load_embeddings(path: Path, patch_ids: np.ndarray) -> np.ndarray:
    """The vectors of these patches, float64 (N, E), from a table as `save_embeddings` writes it, whatever its order.

    Raises:
        InputError: it is no such table, or lacks one of the patches.
    """
    names, vectors = _read(path)
    index = pd.Index(names)
    if index.has_duplicates:
        raise InputError(f"{path}: has several vectors for {few(list(index[index.duplicated()].unique()))}; keep one")
    rows = index.get_indexer(patch_ids)
    if missing := list(patch_ids[rows < 0]):
        raise InputError(f"{path}: has no vector for {few(missing)}; embed all patches of the dataset")
    chosen = vectors[rows]
    if bad := list(patch_ids[~np.isfinite(chosen).all(1)]):
        raise InputError(f"{path}: has values that are not finite for {few(bad)}; embed these patches again")
    return chosen


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise InputError(f"baseline.embeddings: {path}: no such file; landcover embed writes one")
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path) as arrays:
                names, vectors = (arrays[name] for name in COLUMNS)
        else:
            table = pd.read_parquet(path, columns=list(COLUMNS))
            names, vectors = table["patch_id"].to_numpy(), np.stack(table["vector"].tolist())
        names, vectors = names.astype(str), vectors.astype(np.float64)
        if vectors.ndim != 2 or names.shape != vectors.shape[:1]:
            raise ValueError(f"{names.shape} ids, and vectors {vectors.shape}")
    except Exception as error:  # whatever the libraries raise for a damaged file
        why = few([" ".join(str(error).split())])
        raise InputError(
            f"{path}: is no table of embeddings ({why}); it needs patch_id, and vector, of one length for all"
        ) from None
    return names, vectors

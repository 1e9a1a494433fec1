"""data/tensors/index.csv: the patch in each row of the tensors."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from landcover.constants import SPLITS

INDEX = "index.csv"


class Index(NamedTuple):
    """The index of one split."""

    patch_ids: np.ndarray  # str (N,)
    majority_fractions: np.ndarray  # float64 (N,), the share of the patch that its class covers
    lon: np.ndarray  # float64 (N,), degrees; NaN if the meta table lacks them
    lat: np.ndarray  # likewise


def write_index(directory: Path, patches: pd.DataFrame) -> None:
    """Write the index: one row per patch, split by split, in the order of the shards' rows."""
    columns = ["split", "row", "patch_id", "label", "majority_fraction", "lon", "lat"]
    patches = patches.assign(row=patches.groupby("split").cumcount())
    in_order = patches.sort_values("split", key=lambda names: names.map(SPLITS.index), kind="stable")
    in_order[columns].to_csv(directory / INDEX, index=False, lineterminator="\n")


def load_index(directory: Path, split: str) -> Index:
    """Read the index's rows of a split."""
    table = pd.read_csv(directory / INDEX)
    table = table[table["split"] == split]
    lon, lat = (table[name].to_numpy(np.float64) for name in ("lon", "lat"))
    return Index(table["patch_id"].to_numpy(str), table["majority_fraction"].to_numpy(), lon, lat)

"""The tables of predictions in reports/: class names for people, labels for arithmetic."""

import numpy as np
import pandas as pd

from stages import benge

# The columns of baseline_predictions.csv, in words.
BASELINES = {"majority": "always the largest class", "band_statistics": "band statistics, logistic regression"}
LABELS = {name: label for label, name in enumerate(benge.CLASSES)}


def to_labels(names: pd.Series) -> np.ndarray:
    """Class names as labels 0 ... 10, int (N,)."""
    return names.map(LABELS).to_numpy(int)


def by_seed(repeated: pd.DataFrame, patch_ids: pd.Series) -> np.ndarray:
    """The predictions of a seed_predictions.csv as labels, int (S, N): a row a seed, ascending, by `patch_ids`."""
    wide = repeated.pivot(index="seed", columns="patch_id", values="predicted")
    return wide[patch_ids].apply(lambda column: column.map(LABELS)).to_numpy(int)

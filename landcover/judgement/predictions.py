"""The tables of predictions in reports/: class names for people, labels for arithmetic."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from landcover.ground import benge
from landcover.ground.errors import InputError

# The columns of baseline_predictions.csv, in words.
BASELINES = {"majority": "always the largest class", "band_statistics": "band statistics, logistic regression"}
LABELS = {name: label for label, name in enumerate(benge.CLASSES)}


def to_labels(names: Iterable[str]) -> np.ndarray:
    """Class names as labels 0 ... 10, int (N,).

    Raises:
        InputError: a name is no class.
    """
    try:
        return np.array([LABELS[name] for name in names], int)
    except KeyError as unknown:
        raise InputError(f"{unknown} is no class; run dvc repro") from None


def by_seed(repeated: pd.DataFrame, patch_ids: pd.Series) -> np.ndarray:
    """The predictions of a seed_predictions.csv as labels, int (S, N): a row a seed, ascending, by `patch_ids`.

    Raises:
        InputError: a seed does not have exactly these patches, or a name is no class.
    """
    repeated = repeated.assign(label=to_labels(repeated["predicted"]))
    wide = repeated.pivot_table(index="seed", columns="patch_id", values="label", aggfunc=list)
    whole = set(wide.columns) == set(patch_ids) and (wide.map(np.size) == 1).all(axis=None)
    if not whole:
        raise InputError("seed_predictions.csv: not every seed has each test patch once; run dvc repro repeat")
    return wide[patch_ids].map(lambda labels: labels[0]).to_numpy(int)

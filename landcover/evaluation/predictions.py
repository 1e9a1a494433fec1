"""Tables of predictions, from reports/ or from any other model: one row per patch (and seed), with class names."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.errors import InputError

# The columns of baseline_predictions.csv and their labels on pages.
BASELINES = {
    "majority": "majority class",
    "band_statistics": "logistic regression on band statistics",
    "texture": "gradient boosting on texture features",
}
NEEDED = ("patch_id", "actual", "predicted")


class Predictions(NamedTuple):
    """The predictions of a model, or of a configuration with S seeds, for N patches, sorted by patch_id."""

    patch_ids: np.ndarray  # str (N,)
    actual: np.ndarray  # class names (N,)
    predicted: np.ndarray  # class names (S, N): one row per seed, ascending
    seeds: list  # of the rows
    p_actual: np.ndarray | None = None  # float64 (S, N), the probability assigned to the actual class
    brier: np.ndarray | None = None  # float64 (S, N), as `tabulate` defines it
    positions: np.ndarray | None = None  # float64 (N, 2), longitude and latitude in degrees


def tabulate(split: Split, index: Index, log_probabilities: np.ndarray) -> pd.DataFrame:
    """A network's predictions for a split, from log-probabilities (N, K): one row per patch, in index order.

    Columns: `patch_id`, `actual`, `predicted`, `confidence`, `p_actual`, `brier`, `majority_fraction`, `lon`, `lat`.
    The Brier score is the squared distance between the probabilities and the one-hot truth, 0 to 2.  Source: Brier,
    "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.
    """
    names, labels = np.array(split.classes), split.labels
    probabilities = np.exp(log_probabilities)
    return pd.DataFrame(
        {
            "patch_id": index.patch_ids,
            "actual": names[labels],
            "predicted": names[log_probabilities.argmax(1)],
            "confidence": probabilities.max(1),
            "p_actual": probabilities[np.arange(len(labels)), labels],
            "brier": ((probabilities - np.eye(len(names))[labels]) ** 2).sum(1),
            "majority_fraction": index.majority_fractions,
            "lon": index.lon,
            "lat": index.lat,
        }
    )


def parse(table: pd.DataFrame) -> Predictions:
    """Predictions from a table with `patch_id`, `actual`, `predicted`, and if known `seed`, `p_actual`, `lon`, `lat`.

    Raises:
        InputError: a column is missing or has invalid values; says which.
    """
    if lacking := [name for name in NEEDED if name not in table]:
        raise InputError(f"has no column {', '.join(lacking)}; needs {', '.join(NEEDED)}")
    if not len(table):
        raise InputError("has no rows")
    if table[[*NEEDED, *({"seed"} & set(table))]].isna().any(axis=None):
        raise InputError(f"has an empty cell in {', '.join(NEEDED)} or seed")
    table = table.assign(**{name: table[name].astype(str) for name in NEEDED})
    table = table.assign(seed=table.get("seed", 0)).sort_values(["seed", "patch_id"], kind="stable")
    if table.duplicated(["seed", "patch_id"]).any():
        twice = table.loc[table.duplicated(["seed", "patch_id"]), "patch_id"].iloc[0]
        raise InputError(f"lists patch {twice} twice; needs one row per patch, or per patch and seed")
    seeds = table["seed"].drop_duplicates().tolist()
    if len(table) % len(seeds):
        raise InputError("the seeds do not all have the same patches")
    first = table.iloc[: len(table) // len(seeds)]

    def grid(name: str) -> np.ndarray:
        return table[name].to_numpy().reshape(len(seeds), -1)

    if (grid("patch_id") != first["patch_id"].to_numpy()).any():
        raise InputError("the seeds do not all have the same patches")
    if (grid("actual") != first["actual"].to_numpy()).any():
        raise InputError("a patch has different actual classes for different seeds")

    def numbers(name: str, low: float, high: float) -> np.ndarray | None:
        if name not in table or table[name].isna().all():
            return None
        found = pd.to_numeric(table[name], errors="coerce")
        if not found.between(low, high).all():
            raise InputError(f"{name} is not a number from {low:g} to {high:g} in every row")
        return found.to_numpy(float).reshape(len(seeds), -1)

    lon, lat = numbers("lon", -180, 180), numbers("lat", -90, 90)
    positions = None if lon is None or lat is None else np.stack([lon[0], lat[0]], axis=1)
    return Predictions(
        first["patch_id"].to_numpy(),
        first["actual"].to_numpy(),
        grid("predicted"),
        seeds,
        numbers("p_actual", 0, 1 + 1e-6),
        numbers("brier", 0, 2 + 1e-6),
        positions,
    )


def of_baseline(table: pd.DataFrame, name: str, like: Predictions) -> Predictions:
    """A column of baseline_predictions.csv as predictions for the same patches as `like`.

    Raises:
        InputError: the patches differ.
    """
    found = parse(table.assign(predicted=table[name]))
    if not np.array_equal(found.patch_ids, like.patch_ids) or not np.array_equal(found.actual, like.actual):
        raise InputError("does not cover the same patches as the predictions; run dvc repro")
    return found._replace(positions=like.positions)

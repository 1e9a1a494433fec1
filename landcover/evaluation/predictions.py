"""Tables of predictions, from reports/ or from any other model: one row per patch (and seed), with class names."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from landcover.data.index import Folds, Index
from landcover.data.places import PLACE_KM, gather
from landcover.data.tensors import Split
from landcover.errors import InputError

# The columns of baseline_predictions.csv and their labels on pages.
BASELINES = {
    "majority": "majority class",
    "band_statistics": "logistic regression on band statistics",
    "texture": "gradient boosting on texture features",
}
BASELINE_LABELS = BASELINES | {"embeddings": "logistic regression on embeddings"}  # the last if a parameter asks for it
REQUIRED = ("patch_id", "actual", "predicted")
# Columns that a table may lack, with their limits: positions, purity, and what some metrics need.
OPTIONAL = {
    "p_actual": (0, 1), "brier": (0, 2), "lon": (-180, 180), "lat": (-90, 90), "rank_actual": (1, 100_000),
    "majority_fraction": (0, 1), "cross_entropy": (0, 100), "squared_error": (0, 1),
}  # fmt: skip
OF_PATCH = ("fold", "place")  # likewise: the number of the fold that tests a patch, and any name of its place
ROUNDING = 1e-6  # beyond the limits above
LEAST_PROBABILITY = 1e-15  # lower ones are clipped, as in scikit-learn's log_loss


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model, or of a configuration with S seeds, for N patches, sorted by patch_id."""

    patch_ids: np.ndarray  # str (N,)
    actual: np.ndarray  # class names (N,)
    predicted: np.ndarray  # class names (S, N): one row per seed, ascending
    seeds: list  # of the rows
    p_actual: np.ndarray | None = None  # float64 (S, N), the probability assigned to the actual class
    brier: np.ndarray | None = None  # float64 (S, N), as `tabulate` defines it
    positions: np.ndarray | None = None  # float64 (N, 2), longitude and latitude in degrees
    rank_actual: np.ndarray | None = None  # float64 (S, N), the rank of the actual class; 1: the most probable
    folds: np.ndarray | None = None  # int (N,), the fold that each patch is tested in
    stated_places: np.ndarray | None = None  # int (N,), as `places`, where a table states them
    majority_fractions: np.ndarray | None = None  # float64 (N,), the share of the patch that its class covers
    cross_entropy: np.ndarray | None = None  # float64 (S, N), to the shares of the classes, as `tabulate` defines it
    squared_error: np.ndarray | None = None  # float64 (S, N), of the shares, likewise

    @cached_property
    def places(self) -> np.ndarray | None:
        """The number of the place of each patch, int (N,), from 0: as stated, else from positions, else None."""
        if self.stated_places is not None or self.positions is None:
            return self.stated_places
        return gather(pd.DataFrame(self.positions, columns=["lon", "lat"]), PLACE_KM)

    @cached_property
    def voted(self) -> np.ndarray:
        """The class that the seeds' networks predict together, (N,): the right one where more than half agree on it.

        Elsewhere, it is the one that most of the others predict; of several, the first in alphabetical order.
        """
        right = self.predicted == self.actual
        classes = np.unique(self.predicted)
        votes = ((self.predicted == classes[:, None, None]) & ~right).sum(1)  # (K, N)
        return np.where(right.mean(0) > 0.5, self.actual, classes[votes.argmax(0)])


def tabulate(
    split: Split, index: Index, log_probabilities: np.ndarray, as_shares: np.ndarray | None = None
) -> pd.DataFrame:
    """A network's predictions for a split, from log-probabilities (N, K): one row per patch, in index order.

    Columns: `patch_id`, `actual`, `predicted`, `confidence`, `p_actual`, `brier`, `majority_fraction`, `lon`, `lat`,
    `rank_actual`; and if the split has shares, `cross_entropy` to them, in nats, and `squared_error`, the mean over
    classes of the squared difference between predicted and true shares.

    The Brier score is the squared distance between the probabilities and the one-hot truth, 0 to 2. Source: Brier,
    "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.

    Args:
        as_shares: the logarithms of the predicted shares, (N, K), after temperature; None: the log-probabilities.
    """
    names, labels = np.array(split.classes), split.labels
    probabilities = np.exp(log_probabilities)
    order = (-log_probabilities).argsort(1, kind="stable")  # of equals, the first class comes first, as in argmax
    table = pd.DataFrame(
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
            "rank_actual": 1 + (order == labels[:, None]).argmax(1),
        }
    )
    if split.shares is None:
        return table
    as_shares = log_probabilities if as_shares is None else as_shares
    return table.assign(
        cross_entropy=-(split.shares * np.maximum(as_shares, np.log(LEAST_PROBABILITY))).sum(1),
        squared_error=((np.exp(as_shares) - split.shares) ** 2).mean(1),
    )


def parse(table: pd.DataFrame) -> Predictions:
    """Predictions from a table with the columns REQUIRED, and if known `seed`, OF_PATCH and those in OPTIONAL.

    Raises:
        InputError: a column is missing or has invalid values; says which.
    """
    if missing := [name for name in REQUIRED if name not in table]:
        raise InputError(f"has no column {', '.join(missing)}; needs {', '.join(REQUIRED)}")
    if not len(table):
        raise InputError("has no rows")
    if table[[*REQUIRED, *({"seed"} & set(table))]].isna().any(axis=None):
        raise InputError(f"has an empty cell in {', '.join(REQUIRED)} or seed")
    table = table.assign(**{name: table[name].astype(str) for name in REQUIRED})
    table = table.assign(seed=table.get("seed", 0)).sort_values(["seed", "patch_id"], kind="stable")
    if table.duplicated(["seed", "patch_id"]).any():
        twice = table.loc[table.duplicated(["seed", "patch_id"]), "patch_id"].iloc[0]
        raise InputError(f"lists patch {twice} twice; needs one row per patch, or per patch and seed")
    seeds = table["seed"].drop_duplicates().tolist()
    if (table.groupby("patch_id").size() != len(seeds)).any():
        raise InputError("the seeds do not all have the same patches")
    patches = table.drop_duplicates("patch_id")
    if len(table.drop_duplicates(["patch_id", "actual"])) != len(patches):
        raise InputError("a patch has different actual classes for different seeds")

    def numbers(name: str, low: float, high: float) -> np.ndarray | None:
        if name not in table or table[name].isna().all():
            return None
        values = pd.to_numeric(table[name], errors="coerce")
        if not values.between(low, high + ROUNDING).all():
            raise InputError(f"{name} is not a number from {low:g} to {high:g} in every row")
        return values.to_numpy(float).reshape(len(seeds), -1)

    def of_patch(name: str) -> np.ndarray | None:
        if name not in table or table[name].isna().all():
            return None
        values = table[name].to_numpy().reshape(len(seeds), -1)
        if table[name].isna().any() or (values != values[0]).any():
            raise InputError(f"{name} is not one value for each patch, the same for every seed")
        return values[0]

    folds, places = map(of_patch, OF_PATCH)
    if folds is not None and not pd.api.types.is_integer_dtype(table["fold"]):
        raise InputError("fold is not a whole number in every row")
    if folds is not None and len(np.unique(folds)) < 2:
        raise InputError("has a single fold; leave the column fold out if one network was tested on all patches")
    places = None if places is None else pd.factorize(places)[0]
    optional = {name: numbers(name, *limits) for name, limits in OPTIONAL.items()}
    lon, lat = optional.pop("lon"), optional.pop("lat")
    positions = None if lon is None or lat is None else np.stack([lon[0], lat[0]], axis=1)
    predicted = table["predicted"].to_numpy().reshape(len(seeds), -1)
    ids, actual = (patches[name].to_numpy() for name in ("patch_id", "actual"))
    purity = optional.pop("majority_fraction")
    known = {"positions": positions, "folds": folds, "stated_places": places}
    known["majority_fractions"] = None if purity is None else purity[0]
    return Predictions(ids, actual, predicted, seeds, **known, **optional)


def mismatches(before: Predictions, after: Predictions) -> list[str]:
    """Why two predictions cannot be compared patch by patch; empty if they can."""
    if set(before.patch_ids) != set(after.patch_ids):
        return [f"the patches differ ({len(before.patch_ids)} before, {len(after.patch_ids)} after)"]
    if differing := int((before.actual != after.actual).sum()):
        return [f"{differing} of {len(before.patch_ids)} patches have a different actual class"]
    if before.folds is not None and after.folds is not None and (before.folds != after.folds).any():
        return ["the folds differ, so the networks were tested on other ground than they were before"]
    return []


OF_PATCHES = ("positions", "folds", "stated_places", "majority_fractions")  # facts of the patches, not of a model


def complete(before: Predictions, after: Predictions) -> tuple[Predictions, Predictions]:
    """Both with the facts of the patches that one of them has, those of `after` first."""
    facts = {name: getattr(before if getattr(after, name) is None else after, name) for name in OF_PATCHES}
    return replace(before, **facts), replace(after, **facts)


def tabulate_baselines_in_folds(
    folds: Folds | None, patches: Split, predicted: dict[str, list[np.ndarray]]
) -> pd.DataFrame:
    """The class that each baseline predicts for each patch in the folds, from the trial of the fold that tests it.

    Args:
        predicted: by baseline, the log-probabilities of the test patches of the split, then of each fold.
    """
    columns = [*OF_PATCH, "patch_id", "actual", *predicted]
    if not folds:
        return pd.DataFrame(columns=columns)
    names, count = np.array(patches.classes), len(folds.numbers)
    table = {"fold": folds.numbers, "place": folds.places, "patch_id": folds.patch_ids}
    table["actual"] = names[patches.labels[:count]]
    for baseline, by_trial in predicted.items():
        labels = np.empty(count, int)
        for fold, log_probabilities in enumerate(by_trial[1:], 1):
            labels[folds.rows(fold, "test")] = log_probabilities.argmax(1)
        table[baseline] = names[labels]
    return pd.DataFrame(table)


def of_baselines(table: pd.DataFrame, like: Predictions) -> dict[str, Predictions]:
    """The columns of a baseline_predictions.csv, as predictions for the same patches as `like`.

    Baselines that an older revision lacks are left out.

    Raises:
        InputError: the patches differ.
    """
    baselines = {}
    for name in BASELINE_LABELS:
        if name in table:
            baseline = parse(table.assign(predicted=table[name]))
            if mismatches(baseline, like):
                raise InputError("does not cover the same patches as the predictions; run dvc repro")
            baselines[name] = replace(baseline, **{name: getattr(like, name) for name in OF_PATCHES})
    return baselines

"""Cross-validation over whole places: which fold tests each patch, and what the other folds do with it.

It estimates how well a configuration does on ground that it was not trained on, and so is pessimistic about patches in
the midst of the sampled ones. Sources: Wadoux et al., "Spatial cross-validation is not the right way to evaluate map
accuracy", Ecological Modelling 457, 2021; Milà et al., "Nearest neighbour distance matching leave-one-out
cross-validation for map validation", Methods in Ecology and Evolution 13, 2022.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from landcover.config import LEAST_FOLDS
from landcover.data import places
from landcover.errors import InputError


def assign(patches: pd.DataFrame, count: int) -> pd.DataFrame:
    """Put each patch into a fold, from 1 to `count`, with classes as even as whole places allow.

    Without positions, the patches of each class are divided in their order, since neighbours often follow each other.

    Args:
        patches: columns `label`, `lon` and `lat`, in degrees.

    Returns:
        Columns `place`, an integer from 0, or None if positions are unknown; and `fold`.

    Raises:
        InputError: a fold would get no patch.
    """
    known = not patches[["lon", "lat"]].isna().any(axis=None)
    place = places.gather(patches, places.PLACE_KM) if known else None
    labels = patches["label"].to_numpy()
    enough = np.bincount(labels).max() >= count and (place is None or place.max() + 1 >= count)
    folds = np.zeros(len(patches), int)
    if enough:
        splitter = StratifiedGroupKFold(count) if known else StratifiedKFold(count)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")  # the report names missing classes
            for number, (_, tested) in enumerate(splitter.split(labels, labels, place), 1):
                folds[tested] = number
    if len(np.unique(folds)) < count:
        what = f"{place.max() + 1} places of about {places.PLACE_KM} km" if known else f"{len(patches)} patches"
        remedy = "lower it, or set it to 0" if count > LEAST_FOLDS else "set it to 0"
        raise InputError(f"repeat.folds = {count}: {what} do not fill so many folds; {remedy}")
    return pd.DataFrame({"place": place, "fold": folds}, index=patches.index)


def roles(patches: pd.DataFrame, folds: np.ndarray, buffer_km: float, train: int | None = None) -> pd.DataFrame:
    """What each fold does with each patch: it tests its own, chooses by those of the next fold, and trains on the rest.

    So each patch is test once and val once.

    Args:
        patches: columns `label`, `lon` and `lat`, in degrees; NaN where unknown.
        folds: int (N,), of `assign`.
        buffer_km: train patches that are closer to a test or val patch are left out.
        train: train on so many, drawn in proportion to the classes, and leave out the others; None: on all.

    Returns:
        For each fold i, a column `role_<i>`: test, val, train or left_out.

    Raises:
        InputError: a fold has no patch left to train on, or fewer than asked for.
    """
    known, count = not patches[["lon", "lat"]].isna().any(axis=None), folds.max()
    columns = {}
    for fold in range(1, count + 1):
        test, val = folds == fold, folds == fold % count + 1
        role = np.select([test, val], ["test", "val"], "train").astype(object)
        rest = np.flatnonzero(~test & ~val)
        if known:
            near = places.nearest_km(patches.iloc[rest], patches[test | val], buffer_km) < buffer_km
            role[rest[near]] = "left_out"
        if not (role == "train").any():
            raise InputError(
                f"repeat.folds = {count}: fold {fold} has no train patch {buffer_km:g} km away from its test and val "
                "patches; raise folds, lower buffer_km in a split by place, or set folds to 0"
            )
        if train is not None:
            rest = np.flatnonzero(role == "train")
            if train > len(rest):
                raise InputError(
                    f"the dataset's split: train = {train}, but fold {fold} has {len(rest)} train patches; lower it"
                )
            role[rest] = "left_out"
            role[_draw(rest, patches["label"].to_numpy()[rest], train, fold)] = "train"
        columns[f"role_{fold}"] = role
    return pd.DataFrame(columns, index=patches.index)


def _draw(rows: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw `count` of the rows, with each class in proportion to its rows."""
    mixed = np.random.default_rng(seed).permutation(len(rows))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    return rows[by_class[np.arange(count) * len(rows) // count]]  # evenly spaced

"""Labels that are suspect, from the probabilities of networks that were trained on other places.

A patch whose two largest classes cover nearly the same share has a label that small errors decide. Its label is never
called wrong, and it is set apart before anything is ranked.

Source: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70, 2021.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from landcover.data.index import Index
from landcover.data.tensors import Split

NEAR = 0.1  # a patch whose two largest shares differ by less is a near tie
LISTED = 40  # patches at most
COLUMNS = (
    "patch_id", "split", "actual", "self_confidence", "suggested", "confidence", "purity", "runner_up",
    "runner_up_share", "lon", "lat",
)  # fmt: skip


@dataclass(frozen=True)
class Suspects:
    """The suspect labels of a dataset; none without networks that were trained elsewhere."""

    rows: np.ndarray = field(default_factory=lambda: np.empty(0, int))  # (M,), of the patches, the most suspect first
    table: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*COLUMNS]))  # the same
    figures: dict[str, Any] = field(default_factory=dict)


def near_ties(split: Split) -> np.ndarray:
    """Whether the two largest classes of a patch are within NEAR, bool (N,)."""
    if split.shares is None:
        return np.zeros(len(split.labels), bool)
    largest = np.sort(split.shares, axis=1)
    return largest[:, -1] - largest[:, -2] < NEAR


def expected_wrong(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """How many of the labels, int (N,), are expected to be wrong, by confident learning.

    A patch counts for another class if its probability is at least the mean one of the patches with that label. Errors
    of the networks count, too, as between classes that look alike, so it is too high unless the networks are good.

    Args:
        probabilities: (N, K), from networks that were not trained on these patches.
    """
    present, labels = np.unique(labels, return_inverse=True)  # empty classes are dropped
    probabilities = probabilities[:, present]
    own = probabilities[np.arange(len(labels)), labels]
    support = np.bincount(labels)
    above = np.where(probabilities >= np.bincount(labels, own) / support, probabilities, -1)
    sure = above.max(1) >= 0
    joint = np.zeros((len(present), len(present)))
    np.add.at(joint, (labels[sure], above[sure].argmax(1)), 1)
    counted = joint.sum(1)
    wrong = np.divide(counted - np.diagonal(joint), counted, out=np.zeros(len(present)), where=counted > 0)
    return float((wrong * support).sum())


def review(split: Split, index: Index, splits: np.ndarray, log_probabilities: np.ndarray) -> Suspects:
    """Rank labels by self-confidence, the probability of the label, and list the most suspect ones.

    Only those patches are listed for which another class is more probable.

    Args:
        splits: the name of the split of each patch, str (N,).
        log_probabilities: (S, N, K), out of fold.
    """
    probabilities = np.exp(log_probabilities).mean(0)
    labels, ties, names = split.labels, near_ties(split), np.array(split.classes)
    own, suggested = probabilities[np.arange(len(labels)), labels], probabilities.argmax(1)
    rows = np.lexsort((index.patch_ids, own))
    suspect = ~ties & (suggested != labels)
    rows = rows[suspect[rows]][:LISTED]
    table = {
        "patch_id": index.patch_ids, "split": splits, "actual": names[labels], "self_confidence": own,
        "suggested": names[suggested], "confidence": probabilities.max(1), "purity": index.majority_fractions,
        "runner_up": "", "runner_up_share": np.nan, "lon": index.lon, "lat": index.lat,
    }  # fmt: skip
    if split.shares is not None:
        others = np.where(np.eye(len(names), dtype=bool)[labels], -1, split.shares)
        table |= {"runner_up": names[others.argmax(1)], "runner_up_share": others.max(1)}
        table["runner_up"] = np.where(others.max(1) > 0, table["runner_up"], "")
    figures = {
        "patches": len(labels),
        "near_ties": int(ties.sum()),
        "predicted_otherwise": int((suggested != labels)[~ties].sum()),
        "expected_wrong": expected_wrong(labels[~ties], probabilities[~ties]),
        "listed": len(rows),
    }
    return Suspects(rows, pd.DataFrame(table).iloc[rows][[*COLUMNS]], figures)

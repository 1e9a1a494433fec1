"""Where a difference comes from: the change of accuracy in parts of the patches.

Parts are looked at after the whole, and there are many of them, so a significant one is a lead, not a result.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from landcover.constants import DATE
from landcover.evaluation.comparison import Verdict, compare_scores
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import Predictions, complete
from landcover.evaluation.results import PURITY_RANGES, purity_range
from landcover.evaluation.selection import holm

LEAST_PLACES = 5  # of a slice with an interval
LEAST_FOLDS = 2  # likewise: the network of a single fold does not show how networks vary
# Named by months, which are the same in both hemispheres.
SEASONS = ("December to February", "March to May", "June to August", "September to November")
ELSEWHERE = "elsewhere"  # in blocks of ground with fewer places
BLOCK = (2, 3)  # degrees of latitude and longitude: some 200 km in the middle latitudes


@dataclass(frozen=True)
class Slice:
    """A part of the patches, and how its accuracy changed."""

    by: str  # class, purity, season or ground
    name: str
    patches: int
    places: int | None  # None: unknown
    fixed: int  # patches; with several seeds, by the vote of their networks
    broken: int
    verdict: Verdict | None  # on the accuracy; None: in too few places or folds
    p: float | None = None  # that of the verdict, by Holm's method over all slices


def _degrees(low: int, high: int, letters: str) -> str:
    """'46 to 48 N', '9 to 6 W', from a range of degrees and the letters of its positive and its negative side."""
    return f"{abs(low)} to {abs(high)} {letters[low < 0]}"


def _blocks(positions: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The name of the block of ground that each patch lies in, (N,): where it has enough places, else ELSEWHERE."""
    sides = np.array(BLOCK)
    corners = (positions[:, ::-1] // sides * sides).astype(int)  # latitude, longitude
    names = pd.Series(
        f"{_degrees(south, south + BLOCK[0], 'NS')}, {_degrees(west, west + BLOCK[1], 'EW')}"
        for south, west in corners.tolist()
    )
    return names.where(pd.Series(places).groupby(names).transform("nunique") >= LEAST_PLACES, ELSEWHERE).to_numpy()


def _partitions(after: Predictions) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """Each way to divide the patches that the tables know of: what by, the names in order, and that of each patch."""

    def by_size(of_patch: np.ndarray) -> list[str]:
        names, counts = np.unique(of_patch, return_counts=True)
        return names[np.argsort(-counts, kind="stable")].tolist()

    yield "class", by_size(after.actual), after.actual
    purity = after.majority_fractions
    if purity is not None and (purity < 1).any():
        yield "purity", list(PURITY_RANGES), np.array(PURITY_RANGES)[purity_range(purity)]
    days = pd.Series(after.patch_ids).str.extract(DATE, expand=False)
    if days.notna().all():
        of_patch = np.array(SEASONS)[days.str[4:6].astype(int) % 12 // 3]
        yield "season", list(SEASONS), of_patch
    if after.positions is not None:
        blocks = _blocks(after.positions, after.places)
        yield "ground", sorted(by_size(blocks), key=lambda name: name == ELSEWHERE), blocks


def slices(before: Predictions, after: Predictions) -> list[Slice]:
    """The slices by all that divides these patches into two or more, with Holm's method over all of them.

    Args:
        before, after: as for `comparison.compare`.
    """
    accuracy = METRICS["accuracy"]
    before, after = complete(before, after)
    places, folds = after.places, after.folds
    scores = accuracy.scores(before), accuracy.scores(after)
    was, is_now = before.voted == before.actual, after.voted == after.actual
    found = []
    for by, names, of_patch in _partitions(after):
        names = [name for name in names if (of_patch == name).any()]
        if len(names) == 1:
            continue
        for name in names:
            rows = of_patch == name
            where = [None if of is None else np.unique(of[rows], return_inverse=True)[1] for of in (places, folds)]
            in_places, in_folds = (None if of is None else int(of.max() + 1) for of in where)
            verdict = None
            if min(rows.sum(), in_places or LEAST_PLACES) >= LEAST_PLACES and (in_folds or LEAST_FOLDS) >= LEAST_FOLDS:
                verdict = compare_scores(accuracy, *(side[:, rows] for side in scores), *where)
            counts = int(rows.sum()), in_places, int((~was & is_now)[rows].sum()), int((was & ~is_now)[rows].sum())
            found.append(Slice(by, name, *counts, verdict))
    adjusted = iter(holm([one.verdict.p for one in found if one.verdict]))
    return [replace(one, p=next(adjusted)) if one.verdict else one for one in found]

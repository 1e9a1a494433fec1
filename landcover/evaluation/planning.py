"""What a test can detect, and how many places and seeds it takes to detect a given difference.

Both follow from the variance of a difference and from its components, never from the difference that was seen: a power
computed from it says nothing that its p-value does not (Hoenig and Heisey, "The abuse of power", The American
Statistician 55, 2001).
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.stats

from landcover.evaluation.comparison import Verdict, against_baselines
from landcover.evaluation.intervals import quantile
from landcover.evaluation.predictions import Predictions

POWER = 0.8  # the share of tests that detect a difference of the planned size
SPREAD = 0.8  # of the range of a planned number: the variance it is computed from is an estimate
MOST = 1_000_000  # places, beyond which none are planned
GROUND = ("patches", "places")  # sources of variance that more ground reduces; more seeds reduce the others
SEEDS = (1, 3, 5)  # on each side, for which places are planned


def _reach(freedom: float | None, power: float = POWER) -> float:
    """By how many standard errors a difference must exceed 0, so that this share of tests detects it."""
    beyond = scipy.stats.norm.ppf(power) if freedom is None else scipy.stats.t.ppf(power, freedom)
    return quantile(freedom) + float(beyond)


def least_detected(verdict: Verdict) -> float:
    """The least true difference that 80% of such tests detect, in the unit of the metric."""
    return verdict.standard_error * _reach(verdict.degrees_of_freedom)


def least_tolerance(verdict: Verdict) -> float:
    """The least tolerance within which 80% of such tests show two equal sides to be equivalent."""
    # Both ends of the interval must lie within: each may fail in half of the other tests.
    return verdict.standard_error * _reach(verdict.degrees_of_freedom, (1 + POWER) / 2)


class Range(NamedTuple):
    """The least and the largest number of places that may be needed."""

    low: int
    high: int


@dataclass(frozen=True)
class Plan:
    """What it takes to detect a difference of this size in 80% of tests."""

    difference: float
    seeds: int  # on each side
    places: Range | None  # None: the networks alone vary too much with so few seeds


def plan(verdict: Verdict, differences: Sequence[float], seeds: int) -> list[Plan]:
    """How many places (or patches, if positions are unknown) detect each difference, by the seeds on each side.

    The degrees of freedom are taken to grow with the places, so that as many as this test has detect `least_detected`;
    not so where they are those of folds.

    Args:
        differences: in the unit of the metric, above 0.
        seeds: on each side of the test, from whose variance this follows.

    Returns:
        A plan for each difference and each of SEEDS, or for `seeds` alone if the test shows no variance between
        networks; none if nothing varies.
    """
    variance = verdict.standard_error**2
    ground = [one for one in verdict.components if one.source in GROUND]
    if not variance or not ground:
        return []
    of_ground, count = sum(one.share for one in ground) * variance, ground[0].count
    of_networks = variance - of_ground
    known, of_folds = verdict.degrees_of_freedom, any(one.source == "folds" for one in verdict.components)
    freedom = known or count - 1
    # The range of the true variance, by its chi-squared distribution.
    factors = [freedom / scipy.stats.chi2.ppf((1 + side * SPREAD) / 2, freedom) for side in (1, -1)]

    def least(difference: float, factor: float, networks: float) -> int | None:
        def detects(places: int) -> bool:
            reach = _reach(known if of_folds else known and known * (places - 1) / (count - 1))
            return reach**2 * (factor * of_ground * count / places + networks) <= difference**2

        numbers = range(2, MOST)
        found = bisect.bisect_left(numbers, True, key=detects)
        return numbers[found] if found < len(numbers) else None

    plans = []
    for difference in differences:
        for planned in SEEDS if of_networks > 1e-3 * variance else (seeds,):
            low, high = (least(difference, factor, of_networks * seeds / planned) for factor in factors)
            plans.append(Plan(difference, planned, None if low is None or high is None else Range(low, high)))
    return plans


# -- Before anything else is trained


def rehearse(run: Predictions, baselines: Mapping[str, Predictions]) -> tuple[str, Verdict]:
    """The test of a run against the baseline closest in accuracy, as if another network were in the baseline's place.

    Its variance is known before the other network exists. Two similar networks mostly fail on the same patches, so
    their difference may vary less than this one. The variance between networks counts twice, since both sides are
    trained; it is unknown where the run has a single seed and no folds.

    Args:
        baselines: of the same patches, at least one.

    Returns:
        The baseline's name, and a verdict of which only the standard error and its parts have a meaning.
    """
    verdicts = against_baselines(run, baselines)
    name = min(verdicts, key=lambda name: abs(verdicts[name].difference))
    return name, _scaled(verdicts[name], networks=2.0)


def over_all(verdict: Verdict, ground: float, folds: int, seeds: int) -> Verdict:
    """A test in folds, of `ground` times as many places (or patches), with as many seeds.

    With a single seed, its variance is that over folds, at best, and has a degree of freedom less than folds.
    """
    scaled = _scaled(verdict, 1 / ground, 1 / folds)
    return replace(scaled, degrees_of_freedom=float(folds - 1)) if seeds == 1 else scaled


def _scaled(verdict: Verdict, ground: float = 1.0, networks: float = 1.0) -> Verdict:
    """With the variance of the ground, and that of the networks, times a factor."""
    parts = [(one, one.share * (ground if one.source in GROUND else networks)) for one in verdict.components]
    total = sum(share for _, share in parts)
    components = [replace(one, share=share / total) for one, share in parts]
    return replace(verdict, standard_error=verdict.standard_error * float(np.sqrt(total)), components=components)

"""What a network loses without each of its inputs, by exchanging their values between patches of the test split.

Source: Breiman, "Random forests", Machine Learning 45, 2001: permutation importance.
"""

from typing import Any

import numpy as np

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation.comparison import places_of
from landcover.evaluation.intervals import mean
from landcover.evaluation.predictions import parse, tabulate
from landcover.modalities import PERMUTATIONS, PERMUTED_PREFIX, modality

SEED = 0


def exchanged(log_probabilities: dict[str, np.ndarray], test: Split) -> dict[str, np.ndarray]:
    """Log-probabilities of the test split with the values of one modality exchanged between patches, (P, N, K).

    With a single modality, nothing else says anything about a patch, so its prediction becomes another patch's.
    """
    found = {
        name.removeprefix(PERMUTED_PREFIX): values
        for name, values in log_probabilities.items()
        if name.startswith(PERMUTED_PREFIX)
    }
    if found:
        return found
    (only,) = {modality(name) for name in (*test.bands, *test.context_names)}
    rng = np.random.default_rng(SEED)
    orders = [rng.permutation(len(test.labels)) for _ in range(PERMUTATIONS)]
    return {only: log_probabilities["test"][np.stack(orders)]}


def importance(test: Split, index: Index, log_probabilities: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """For each modality, the accuracy that the test split loses without it, the costliest first.

    Args:
        log_probabilities: as train writes them.

    Returns:
        Rows of `input`, `accuracy` without it, `cost`, and the cost's 95% interval over patches and places, `low` and
        `high`.
    """
    places = places_of(parse(tabulate(test, index, log_probabilities["test"])))
    order = np.argsort(index.patch_ids, kind="stable")  # that of the places

    def right(values: np.ndarray) -> np.ndarray:
        return (values.argmax(-1) == test.labels)[..., order]

    rows = []
    for name, permuted in exchanged(log_probabilities, test).items():
        without = right(permuted).mean(0)
        estimate = mean((right(log_probabilities["test"]) - without)[None], places)
        low, high = estimate.interval()
        row = {"input": name, "accuracy": float(without.mean()), "cost": estimate.value, "low": low, "high": high}
        rows.append(row)
    return sorted(rows, key=lambda row: -row["cost"])

"""The accuracy that a network loses if the values of an input are permuted between the patches of the test split.

Source: Breiman, "Random forests", Machine Learning 45, 2001: permutation importance.
"""

from typing import Any

import numpy as np

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation.comparison import compare_scores
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import parse, tabulate
from landcover.modalities import PERMUTATIONS, PERMUTED_PREFIX, modality

SEED = 0


def importance(test: Split, index: Index, log_probabilities: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """For each modality, the accuracy that the test split loses without it, the costliest first.

    Args:
        log_probabilities: as train writes them.

    Returns:
        Rows of `input`, `accuracy` without it, `cost`, and the cost's 95% interval over patches and places, `low` and
        `high`.
    """
    places = parse(tabulate(test, index, log_probabilities["test"])).places
    order = np.argsort(index.patch_ids, kind="stable")  # that of the places

    def right(values: np.ndarray) -> np.ndarray:
        return (values.argmax(-1) == test.labels)[..., order]

    permuted = {name: values for name, values in log_probabilities.items() if name.startswith(PERMUTED_PREFIX)}
    if not permuted:  # a single modality: without it, the prediction for a patch is that for another patch
        (only,) = {modality(name) for name in (*test.bands, *test.context_names)}
        rng = np.random.default_rng(SEED)
        orders = [rng.permutation(len(test.labels)) for _ in range(PERMUTATIONS)]
        permuted = {only: log_probabilities["test"][np.stack(orders)]}
    rows = []
    for name, values in permuted.items():
        without = right(values).mean(0)
        with_it = right(log_probabilities["test"])
        cost = compare_scores(METRICS["accuracy"], without[None], with_it[None], places, seedless=True)
        figures = {"accuracy": cost.before, "cost": cost.difference, "low": cost.low, "high": cost.high}
        rows.append({"input": name.removeprefix(PERMUTED_PREFIX)} | figures)
    return sorted(rows, key=lambda row: -row["cost"])

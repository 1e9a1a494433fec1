"""Bad patches: reported once per reason, with a remedy."""

from collections import defaultdict

import pandas as pd

from landcover.constants import SPLITS
from landcover.errors import InputError, few

REASONS = 10  # listed at most


def tell(problems: dict[str, str]) -> str:
    """The first reasons why patches are bad, each with its first patches and the number of others.

    Args:
        problems: the reasons, by patch id.
    """
    by_reason = defaultdict(list)
    for patch_id, reason in problems.items():
        by_reason[reason].append(patch_id)
    parts = [f"{few(patch_ids)}: {reason}" for reason, patch_ids in by_reason.items()]
    others = [f"and {len(parts) - REASONS} more reasons"] if len(parts) > REASONS else []
    return "; ".join(parts[:REASONS] + others)


def check_bad_patches(table: pd.DataFrame, problems: dict[str, str], most: int, dataset: str) -> None:
    """Check that the pipeline can continue without the bad patches.

    Args:
        table: columns `patch_id` and `split`.
        problems: why patches are left out, by patch id.
        most: the maximum number of bad patches.
        dataset: its name in params.yaml.

    Raises:
        InputError: there are too many, or a split is empty without them.
    """
    used = set(table.loc[~table["patch_id"].isin(problems), "split"])
    empty = [name for name in SPLITS if name not in used]
    emptied = [name for name in empty if (table["split"] == name).any()]
    if problems and (emptied or len(problems) > most):
        what, remedy = f"{len(problems)} of {len(table)} patches are bad", "correct them"
        if len(problems) == len(table):
            what = f"all {len(table)} patches are bad"
            remedy += f", or what datasets.{dataset} says of them, such as its patch_size"
        elif emptied:
            what += f", and none is left for {', '.join(emptied)}"
        else:
            remedy += f", or leave them out with preprocess.max_bad_patches: {len(problems)}"
        raise InputError(f"{what}: {tell(problems)}: {remedy}")
    if empty:
        raise InputError(f"the {empty[0]} split is empty; change datasets.{dataset}.split")

"""Bad patches: reported once per reason, with a remedy."""

import re
from collections import defaultdict

import pandas as pd

from landcover.constants import SPLITS
from landcover.errors import InputError, few

REASONS = 10  # listed at most
OTHER_SIZE = re.compile(r"[\w ]+ is (\d+) x \1 pixels, not \d+ x \d+")


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
        reasons = set(problems.values())
        sizes = {match[1] for match in map(OTHER_SIZE.fullmatch, reasons) if match}
        if len(reasons) == len(sizes) == 1 and len(problems) == len(table):
            remedy = f"fix them, or set datasets.{dataset}.patch_size: {sizes.pop()}"
        elif emptied:
            remedy = "fix them"
        else:
            remedy = f"fix them, or leave them out with preprocess.max_bad_patches: {len(problems)}"
        if emptied:
            names = " and ".join(", ".join(emptied).rsplit(", ", 1))
            what = (
                f"the {names} split{'s are' if len(emptied) > 1 else ' is'} empty without {len(problems)} bad patches"
            )
        else:
            what = f"{len(problems)} bad patches"
        raise InputError(f"{what}: {tell(problems)}: {remedy}")
    if empty:
        raise InputError(f"the {empty[0]} split is empty; change datasets.{dataset}.split")

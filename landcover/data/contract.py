"""The data contract, reports/data.json: what a reviewer must know about the data to interpret the metrics."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from landcover import constants
from landcover.data import pairing, splits
from landcover.data.conversion import Summary, to_value
from landcover.modalities import modality

PERCENTILES = (1, 50, 99)


def band_statistics(histogram: np.ndarray, band: str) -> dict[str, float]:
    """Mean, standard deviation and percentiles of an image channel, in its physical unit, from its histogram.

    Args:
        histogram: as in a Summary, (65536,): of valid pixels.
    """
    values = to_value(np.arange(len(histogram)), band)
    count = histogram.sum()
    mean = (histogram * values).sum() / count
    deviation = np.sqrt((histogram * (values - mean) ** 2).sum() / count)
    ranks = np.searchsorted(histogram.cumsum(), [np.ceil(count * p / 100) for p in PERCENTILES])
    return {"mean": mean, "std": deviation} | {
        f"p{p}": values[rank] for p, rank in zip(PERCENTILES, ranks, strict=True)
    }


def _context_statistics(parts: dict[str, pd.DataFrame], features: list[str]) -> dict[str, Any]:
    """Mean, standard deviation and extremes of each context feature, in its unit, by split; without absent zones."""
    found = {}
    for split, part in parts.items():
        known = {
            name: part[name].to_numpy() for name in features if modality(name) != "climate_zone" or part[name].any()
        }
        found[split] = {
            name: {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
            for name, values in known.items()
        }
    return found


def _digest(lines: pd.Series) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def describe(
    used: pd.DataFrame,
    split_facts: dict[str, Any],
    excluded: int,
    problems: dict[str, str],
    summaries: dict[str, Summary],
    *,
    bands: list[str],
    features: list[str],
    classes: Sequence[str],
    patch_size: int,
    warnings: list[str],
) -> dict[str, Any]:
    """Counts, statistics, leakage and hashes of the splits.

    Args:
        used: columns `patch_id`, `split`, `label`, `tied`, `lon`, `lat`, `date`, and what `context.join` added; one row
            per patch.
        split_facts: how the splits were made.
        excluded: the number of patches excluded by lists.
        problems: why patches were left out, by patch id.
        summaries: of the shards of each split.
        bands: the image channels.
        features: the context features.
        patch_size: side in pixels.
        warnings: what looks wrong but is not certain.
    """
    subtracted = sum((summary.offsets for summary in summaries.values()), Counter())
    parts = {split: used[used["split"] == split] for split in constants.SPLITS}
    return {
        "patches": {split: len(part) for split, part in parts.items()},
        # A list of records, as `dvc plots` draws them.
        "classes": [
            {"class": name} | {split: int((part["label"] == label).sum()) for split, part in parts.items()}
            for label, name in enumerate(classes)
        ],
        "bands": {
            split: {
                band: band_statistics(histogram, band)
                for band, histogram in zip(bands, summaries[split].histogram, strict=True)
            }
            for split in parts
        },
        "split": split_facts,
        "excluded": excluded,
        "dropped": problems,
        "tied_labels": int(used["tied"].sum()),
        "patches_with_nodata": sum(summary.with_nodata for summary in summaries.values()),
        "leakage": splits.leakage(used, patch_size),
        # Sorted, so that they depend on the patches of a split and their labels, not on their order.
        "membership_sha256": {split: _digest(part["patch_id"].sort_values()) for split, part in parts.items()},
        "labels_sha256": {
            split: _digest((part["patch_id"] + " " + part["label"].astype(str)).sort_values())
            for split, part in parts.items()
        },
        # Absent without such inputs, or for most data.
        **({"context": _context_statistics(parts, features)} if features else {}),
        **({"radar": pairing.facts(used, summaries)} if "days_apart" in used else {}),
        **({"warnings": warnings} if warnings else {}),
        **({"offsets": {str(own): subtracted[own] for own in sorted(subtracted)}} if any(subtracted) else {}),
    }

"""The data contract, reports/data.json: what a reviewer must know about the data to interpret the metrics."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from landcover.constants import METRES_PER_PIXEL, SPLITS
from landcover.data import pairing, splits
from landcover.data.conversion import Reading, Summary, to_value
from landcover.data.index import digest
from landcover.data.raster import SCALES
from landcover.modalities import modality

PERCENTILES = (1, 50, 99)


def band_statistics(histogram: np.ndarray, channel: str) -> dict[str, float]:
    """Mean, standard deviation and percentiles of an image channel, in its physical unit, from its histogram.

    Args:
        histogram: as in a Summary, (65536,): of valid pixels.
    """
    values = to_value(np.arange(len(histogram)), channel)
    count = histogram.sum()
    mean = (histogram * values).sum() / count
    deviation = np.sqrt((histogram * (values - mean) ** 2).sum() / count)
    ranks = np.searchsorted(histogram.cumsum(), [np.ceil(count * p / 100) for p in PERCENTILES])
    return {"mean": mean, "std": deviation} | {
        f"p{p}": values[rank] for p, rank in zip(PERCENTILES, ranks, strict=True)
    }


def _context_statistics(part: pd.DataFrame, features: list[str]) -> dict[str, dict[str, float]]:
    """Mean, standard deviation and extremes of each context feature, in its unit; without absent zones."""
    present = [name for name in features if modality(name) != "climate_zone" or part[name].any()]
    return {
        name: {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
        for name in present
        for values in [part[name].to_numpy()]
    }


def _numbers(reading: Reading) -> dict[str, Any]:
    """What the numbers of the files are; `reflectance` is false for the range of an 8-bit image."""
    band = reading.bands[0]
    return {
        "type": band.dtype,
        "scale": band.scale or SCALES[band.dtype],
        "offset": reading.offset,
        "reflectance": band.scale is not None or band.dtype != "uint8",
    }


def describe(
    used: pd.DataFrame,
    summaries: dict[str, Summary],
    reading: Reading,
    classes: Sequence[str],
    *,
    split_facts: splits.Facts,
    excluded: int,
    problems: dict[str, str],
    warnings: list[str],
) -> dict[str, Any]:
    """Counts, statistics, leakage and hashes of the splits: the content of reports/data.json.

    Args:
        used: rows of `Patches.table`, with a column `split`.
        summaries: by split.
        split_facts: how the splits were made.
        excluded: the number of patches excluded by lists.
        problems: why patches were left out, by patch id.
        warnings: what looks wrong but is not certain.
    """
    total = sum(summaries.values(), Summary.empty(len(reading.channels)))
    parts = {split: used[used["split"] == split] for split in SPLITS}
    names = [channel.name for channel in reading.channels]
    contract: dict[str, Any] = {
        "patches": {split: len(part) for split, part in parts.items()},
        # A list of records, as `dvc plots` draws them.
        "classes": [
            {"class": name} | {split: int((part["label"] == label).sum()) for split, part in parts.items()}
            for label, name in enumerate(classes)
        ],
        "bands": {
            split: {
                name: band_statistics(histogram, name)
                for name, histogram in zip(names, summaries[split].histogram, strict=True)
            }
            for split in parts
        },
        "split": asdict(split_facts),
        "excluded": excluded,
        "dropped": problems,
        "tied_labels": int(used["tied"].sum()),
        "patches_with_nodata": total.with_nodata,
        "leakage": splits.leakage(used, reading.size * reading.metres_per_pixel / METRES_PER_PIXEL),
        "membership_sha256": {split: digest(part["patch_id"]) for split, part in parts.items()},
        "labels_sha256": {
            split: digest(part["patch_id"] + " " + part["label"].astype(str)) for split, part in parts.items()
        },
    }
    # Absent without such inputs, or where it goes without saying.
    if reading.bands and (reading.bands[0].dtype != "uint16" or reading.bands[0].scale):
        contract["numbers"] = _numbers(reading)
    if reading.metres_per_pixel != METRES_PER_PIXEL:
        contract["metres_per_pixel"] = reading.metres_per_pixel
    if (used["majority_fraction"] == 1).all():
        contract["single_class"] = True  # a label is of the whole patch
    if reading.features:
        contract["context"] = {split: _context_statistics(part, reading.features) for split, part in parts.items()}
    if "days_apart" in used:
        contract["radar"] = asdict(pairing.compare_with_radar(used, total))
    if warnings:
        contract["warnings"] = warnings
    if any(total.offsets):
        contract["offsets"] = {str(offset): total.offsets[offset] for offset in sorted(total.offsets)}
    return contract

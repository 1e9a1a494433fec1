"""How near test patches lie to train patches, by reports/data.json."""

from typing import Any

# What reports/data.json calls the distances of leakage, in words.
NEARNESS = {
    "same_ground": "on the same ground",
    "same_ground_other_date": "on the same ground, on a different date",
    "touching": "touching it",
    "within_3_km": "within 3 km",
    "within_6_km": "within 6 km",
}


def leakage_shares(data: dict[str, Any]) -> dict[str, float]:
    """By NEARNESS, the share of test patches with a train patch so near; nothing where the dataset does not tell."""
    found = (data.get("leakage") or {}).get("test", {})
    return {what: found[what]["share"] for what in NEARNESS if what in found}

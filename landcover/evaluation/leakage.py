"""How many test patches lie near train patches, from reports/data.json."""

from typing import Any

# The names of the distances in reports/data.json, and their labels on pages.
NEARNESS = {
    "same_ground": "on the same ground",
    "same_ground_other_date": "on the same ground, on a different date",
    "touching": "touching it",
    "within_3_km": "within 3 km",
    "within_6_km": "within 6 km",
}


def leakage_shares(data: dict[str, Any]) -> dict[str, float]:
    """By the keys of NEARNESS, the share of test patches with a train patch that near; empty if unknown."""
    found = (data.get("leakage") or {}).get("test", {})
    return {what: found[what]["share"] for what in NEARNESS if what in found}

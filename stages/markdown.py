"""Pieces of a Markdown page, for pages that GitHub and GitLab render."""

from typing import Any

import numpy as np


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of the same keys as a table: numbers to the right, floats to three decimals, NaN and None as a dash."""

    def cell(value: Any) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return "-"
        return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")

    keys = list(rows[0])
    rules = ["---:" if all(isinstance(row[key], int | float | None) for row in rows) else ":---" for key in keys]
    lines = [keys, rules, *([cell(row[key]) for key in keys] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def points(difference: float, low: float, high: float) -> str:
    """A difference of shares with its interval, in points: '+5.0 points (+1.0 to +9.0)'."""
    return f"{100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"

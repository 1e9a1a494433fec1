"""Building blocks of pages: Markdown that GitHub and GitLab render, and HTML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from tabulate import tabulate


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as a table: numbers right-aligned, floats to three decimals, NaN and None as a dash."""

    def cell(value: Any) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return "-"
        return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")

    keys = list(rows[0])
    numeric = [all(isinstance(row[key], int | float | np.integer | None) for row in rows) for key in keys]
    return tabulate(
        [[cell(row[key]) for key in keys] for row in rows],
        headers=keys,
        tablefmt="pipe",
        colalign=["right" if number else "left" for number in numeric],
        disable_numparse=True,
    )


def render(template: str, **facts: Any) -> str:
    """Fill in a page from templates/; a fact that it names but that is not given is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=jinja2.select_autoescape(["html"], default=False),
    )
    environment.filters |= {"table": table, "percent": lambda share: f"{share:.1%}"}
    return environment.get_template(template).render(facts)

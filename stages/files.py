"""Outputs that appear whole or not at all."""

import csv
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to: it takes the place of `path` when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    _remove(part)
    try:
        yield part
        if part.is_dir():
            _remove(path)  # os.replace puts no folder over a filled one
        os.replace(part, path)
    finally:
        _remove(part)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` for people and for `git diff`: indented, floats to six decimals, a newline at the end."""

    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [rounded(item) for item in value]
        return round(float(value), 6) if isinstance(value, float) else value

    with replacing(path) as part:
        part.write_text(json.dumps(rounded(content), indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table: floats to six decimals, NaN as nothing."""

    def cell(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return "" if value != value else f"{value:.6f}"

    with replacing(path) as part, open(part, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(map(cell, row) for row in rows)


def read_csv(path: Path) -> list[dict[str, Any]]:
    """The rows of a table that `write_csv` wrote: numbers as numbers, nothing as NaN."""

    def value(cell: str) -> Any:
        for number in (int, float):
            try:
                return number(cell)
            except ValueError:
                continue
        return cell or math.nan

    with open(path, newline="") as file:
        return [{name: value(cell) for name, cell in row.items()} for row in csv.DictReader(file)]

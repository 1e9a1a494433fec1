"""Outputs that appear whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd  # most stages have no table


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or a folder to; on success, it replaces `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    _remove(part)
    try:
        yield part
        if part.is_dir():
            _remove(path)  # os.replace cannot replace a folder that is not empty
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


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table without its index, numbers to six digits, NaN as an empty cell."""
    with replacing(path) as part:
        table.to_csv(part, index=False, lineterminator="\n", float_format="%.6g")

"""Outputs that appear whole or not at all."""

import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd  # most stages have no table


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of writing, which name no file


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` left that were killed."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        try:
            os.kill(int(part.suffixes[-2][1:]), 0)
        except ProcessLookupError:
            _remove(part)
        except (ValueError, PermissionError):  # not such a part, or of another user's process
            continue


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or a folder to; on success, it replaces `path`.

    The yielded path is of this process alone, so that two writers of `path` do not mix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _remove(part)
    try:
        yield part
        if part.is_dir():
            _remove(path)  # os.replace cannot replace a folder that is not empty
        os.replace(part, path)
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(path)
        raise
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

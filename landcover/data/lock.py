"""What dvc.lock records of the archive, so that a new split of it needs no new download."""

from pathlib import Path
from typing import NamedTuple

import yaml

LOCK = Path("dvc.lock")


class Archive(NamedTuple):
    """The archive of the last download."""

    source: str  # as in params.yaml
    md5: str


def locked_archive() -> Archive | None:
    """The archive in dvc.lock; None if it records none, as before the first run."""
    try:
        stage = yaml.safe_load(LOCK.read_bytes())["stages"]["download"]
        (params,), (out,) = stage["params"].values(), stage["outs"]
        (source,) = params.values()
        return Archive(source, out["md5"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return None

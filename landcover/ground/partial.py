"""What a stage keeps over a crash: in `.partial/`, under a fingerprint of all that decides what it will become.

DVC empties a stage's outputs when it starts, so what is to outlive a crash lies elsewhere. The fingerprint keeps a
later run with other parameters, inputs or code from taking it up.
"""

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PARTIAL = Path(".partial")


def identity(path: Path) -> list[Any]:
    """What changes when a file, or a file below a folder, is written to or replaced.

    The time of change is the kernel's, and no program sets it back. To read it is a thousandth of the work of
    hashing the bytes.
    """
    found = []
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if not file.exists():  # its reader tells
            found.append([file.name])
            continue
        facts = file.stat()
        found.append([file.name, facts.st_size, facts.st_ino, facts.st_ctime_ns])
    return found


def code(*libraries: str) -> list[str]:
    """What tells one version of the running code from another: its own source, and the versions of libraries."""
    sources = {
        Path(module.__file__)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("landcover", "stages", "__main__") and getattr(module, "__file__", None)
    }
    digests = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sorted(sources)]
    return [sys.version, *(f"{library} {version(library)}" for library in libraries), *digests]


def fingerprint(*facts: Any) -> str:
    """A file name for facts that JSON can tell apart."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def remove(stage: str) -> None:
    """Once its outputs are in place, a stage needs none of its checkpoints."""
    for checkpoint in (*PARTIAL.glob(f"{stage}-*"), *PARTIAL.glob(f".{stage}-*")):  # the latter, half-written
        checkpoint.unlink()

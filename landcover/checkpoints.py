"""What a stage keeps across a crash: in `.partial/`, under a fingerprint of everything that determines the result.

DVC empties a stage's outputs when it starts, so what must survive a crash lies elsewhere. The fingerprint prevents a
later run with other parameters, inputs or code from using it.
"""

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PARTIAL = Path(".partial")


def identity(path: Path) -> list[Any]:
    """A value that changes when a file, or a file below a folder, is written to or replaced.

    It uses the kernel's change time, which programs cannot reset; reading it takes a thousandth of the time to hash
    the bytes.
    """
    found = []
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if not file.exists():  # its reader reports it
            found.append([file.name])
            continue
        facts = file.stat()
        found.append([file.name, facts.st_size, facts.st_ino, facts.st_ctime_ns])
    return found


def code(*libraries: str) -> list[str]:
    """The version of the running code: hashes of its own source, and the versions of libraries."""
    sources = {
        Path(module.__file__)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("landcover", "stages", "__main__") and getattr(module, "__file__", None)
    }
    digests = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sorted(sources)]
    return [sys.version, *(f"{library} {version(library)}" for library in libraries), *digests]


def fingerprint(*facts: Any) -> str:
    """A file name for facts that JSON can represent."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def remove(stage: str) -> None:
    """Remove a stage's checkpoints, once its outputs are in place."""
    for checkpoint in (*PARTIAL.glob(f"{stage}-*"), *PARTIAL.glob(f".{stage}-*")):  # the latter, half-written
        checkpoint.unlink()

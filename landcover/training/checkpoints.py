"""Where a training keeps its checkpoint: a file whose name identifies everything that determines the result.

So a killed run resumes, and a run with other parameters, tensors or code does not. DVC empties a stage's outputs when
it starts, so a checkpoint lies elsewhere: in `.partial/`, or in the folder that LANDCOVER_CHECKPOINTS names, for
experiments, which DVC runs in a new folder each time.
"""

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]  # the repository that this code is in


def _digests(paths: list[Path], root: Path) -> dict[str, str]:
    """The SHA-256 of each file, by its name below `root`."""

    def digest(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor() as pool:
        return dict(zip((str(path.relative_to(root)) for path in paths), pool.map(digest, paths), strict=True))


def _code(stage: str) -> dict[str, str]:
    """The digests of the Python files in the stage's `deps` in dvc.yaml."""
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_bytes())["stages"][stage]["deps"]
    paths = [path for dep in deps for path in [ROOT / dep, *(ROOT / dep).rglob("*.py")] if path.suffix == ".py"]
    return _digests(sorted(paths), ROOT)


def checkpoint_path(stage: str, tensors_dir: Path, *facts: Any) -> Path:
    """The checkpoint of a stage's training on these tensors with these facts, which JSON can represent.

    It reads all tensors, for their digests.
    """
    tensors = _digests(sorted(path for path in tensors_dir.rglob("*") if path.is_file()), tensors_dir)
    libraries = [sys.version, *(version(library) for library in ("torch", "numpy", "safetensors"))]
    key = hashlib.sha256(json.dumps([tensors, _code(stage), libraries, facts]).encode()).hexdigest()[:32]
    return Path(os.environ.get("LANDCOVER_CHECKPOINTS", ".partial"), f"{stage}-{key}.safetensors")

"""Whether the reports of a revision are those of its code and parameters, by dvc.lock, which has the md5 of all.

It says what `dvc status` says of a workspace, for any commit, and without data and models, which Git does not have.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from landcover.evaluation.revisions import Revision

ABSENT = object()  # differs from any value of a parameter


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings, by their dotted names."""
    flat = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def md5_of_folder(files: Mapping[str, bytes]) -> str:
    """The md5 by which DVC knows a folder, from its files' contents by their paths in it."""
    listed = [{"md5": _md5(files[path]), "relpath": path} for path in sorted(files)]
    return f"{_md5(json.dumps(listed).encode())}.dir"


def changed_parameters(lock: dict[str, Any], params: dict[str, Any]) -> list[str]:
    """Parameters whose value in params.yaml differs from the one in dvc.lock that a stage ran with.

    Of `datasets`, only the chosen entry counts.
    """

    def number(value: Any) -> Any:
        """YAML 1.1, by which params.yaml is read here, takes 1e-4 for a string; dvc.lock has the number."""
        try:
            return float(value) if isinstance(value, str) else value
        except ValueError:
            return value

    differ = set()
    for stage in lock["stages"].values():
        for key, value in stage.get("params", {}).get("params.yaml", {}).items():
            written: Any = params
            for name in key.split("."):
                written = written.get(name, ABSENT) if isinstance(written, dict) else ABSENT
            ran, now = flatten({key: value}), flatten({key: written})
            differ |= {name for name in ran | now if number(ran.get(name, ABSENT)) != number(now.get(name, ABSENT))}
    chosen = f"datasets.{params.get('dataset')}."
    return sorted(name for name in differ if not name.startswith("datasets.") or name.startswith(chosen))


def changed_files(lock: dict[str, Any], revision: Revision) -> list[str]:
    """Files and folders that differ from those in dvc.lock: a stage's code and data, and what it made.

    What one stage made must also be what the next one used. Files that Git does not have are not looked at.
    """
    stages = lock["stages"].values()
    made = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}
    entries = [entry for stage in stages for kind in ("deps", "outs") for entry in stage.get(kind, [])]
    contents = revision.contents(sorted({entry["path"] for entry in entries}))

    def now(entry: dict[str, Any]) -> str | None:
        """Its md5 in this revision; None if Git does not have all of it."""
        path = entry["path"]
        if "nfiles" not in entry:
            return _md5(contents[path]) if path in contents else None
        files = {name[len(path) + 1 :]: content for name, content in contents.items() if name.startswith(f"{path}/")}
        # Data may lie beside files that Git ignores, such as data/lists/eurosat.csv.
        incomplete = not files or (path.startswith("data/") and len(files) < entry["nfiles"])
        return None if incomplete else md5_of_folder(files)

    return sorted(
        {
            entry["path"]
            for entry in entries
            if made.get(entry["path"], entry["md5"]) != entry["md5"] or now(entry) not in (None, entry["md5"])
        }
    )


def changed_since_the_run(revision: Revision, lock: dict[str, Any], params: dict[str, Any]) -> list[str]:
    """What changed after the stages had run, so that the reports are not those of this revision; empty if nothing.

    Names of parameters, files, folders, and stages that have never run.
    """
    # The lock keeps stages that dvc.yaml no longer has.
    stages = dict(revision.yaml("dvc.yaml")["stages"])
    never = [f"stage {name}" for name in stages if name not in lock["stages"]]
    lock = {"stages": {name: stage for name, stage in lock["stages"].items() if name in stages}}
    return [*never, *changed_parameters(lock, params), *changed_files(lock, revision)]

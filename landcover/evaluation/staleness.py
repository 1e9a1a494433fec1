"""Whether the reports of a revision are those of its code and parameters, by dvc.lock, which has the md5 of all.

It says what `dvc status` says of a workspace, for any commit, and without data and models, which Git does not have.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from landcover.evaluation.revisions import Revision

NOT_IN_GIT = ("data/", "models/")  # folders of which Git has a part at most
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
        elsewhere = path.startswith(NOT_IN_GIT)
        if "nfiles" not in entry:
            missing = None if elsewhere else "missing"
            return _md5(contents[path]) if path in contents else missing
        files = {name[len(path) + 1 :]: content for name, content in contents.items() if name.startswith(f"{path}/")}
        # Data may lie beside files that Git ignores, such as data/lists/eurosat.csv.
        return None if elsewhere and len(files) < entry["nfiles"] else md5_of_folder(files)

    return sorted(
        {
            entry["path"]
            for entry in entries
            if made.get(entry["path"], entry["md5"]) != entry["md5"] or now(entry) not in (None, entry["md5"])
        }
    )


def changed_commands(lock: dict[str, Any], stages: dict[str, Any], params: dict[str, Any]) -> list[str]:
    """Stages whose command in dvc.yaml is another one than in dvc.lock, once parameters are filled in."""

    def filled(command: str) -> list[str]:
        return re.sub(r"\$\{([\w.-]+)\}", lambda name: str(values.get(name[1], name[0])), command).split()

    values = flatten(params)
    ran = {name: stage["cmd"] for name, stage in lock["stages"].items()}
    return [f"stage {name} (its command)" for name in ran if filled(stages[name]["cmd"]) != ran[name].split()]


def changed_since_the_run(revision: Revision, lock: dict[str, Any], params: dict[str, Any]) -> list[str]:
    """What changed after the stages had run, so that the reports are not those of this revision; empty if nothing.

    Names of parameters, files, folders, and stages that have never run or have another command.
    """
    # The lock keeps stages that dvc.yaml no longer has.
    stages = dict(revision.yaml("dvc.yaml")["stages"])
    never = [f"stage {name} (never run)" for name in stages if name not in lock["stages"]]
    lock = {"stages": {name: stage for name, stage in lock["stages"].items() if name in stages}}
    commands = changed_commands(lock, stages, params)
    return [*never, *commands, *changed_parameters(lock, params), *changed_files(lock, revision)]

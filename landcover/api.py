"""For a notebook: look at data, train, compare and map without the command line.

    from landcover import api

    api.look("ben-ge-sample")
    api.train("faster", {"train.learning_rate": 0.001})
    page = api.compare("HEAD", "faster")
    folder = api.predict("sample")

Each function runs a command of the pipeline in a process of its own, since the instruction set must be pinned before
numpy is imported, and shows in the notebook what it prints. Paths are relative to the top of the clone.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from landcover import cli
from landcover.errors import InputError

__all__ = ["compare", "look", "predict", "root", "train"]
NOT_COMPARABLE = 4  # the exit code of a comparison that gives its reasons in its page


def root() -> Path:
    """The top of the clone that the notebook lies in.

    Raises:
        InputError: there is none above the current folder.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise InputError(f"{here}: is not in a clone; change to one, for example with %cd landcover")


def _environment() -> dict[str, str]:
    """The variables of what a notebook starts."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    cli.clear_environment(environment)
    # DVC starts stages with the first `python` in PATH.
    return environment | {"PATH": os.pathsep.join([os.path.dirname(sys.executable), environment.get("PATH", "")])}


def _run(*command: str, accepted: Collection[int] = (0,)) -> None:
    """Run a module with this interpreter at the top of the clone, and print what it prints.

    Raises:
        InputError: it failed; its first error.
    """
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([sys.executable, "-m", *command], cwd=root(), env=_environment(), **options) as process:
        errors = []
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                errors += re.findall("^error: (.*)", line, re.IGNORECASE)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            raise
    if process.returncode not in accepted:
        raise InputError(errors[0] if errors else f"{' '.join(command)} failed; see above")


def look(dataset: str | None = None, picture: str = "look.png") -> Path:
    """Print how a dataset is understood, and draw six of its patches.

    Args:
        dataset: an entry of `datasets` in params.yaml; by default, the chosen one.
        picture: the PNG to write.

    Returns:
        The path of the picture.

    Raises:
        InputError: there is no such entry, its files are not on this machine, or it cannot be read.
    """
    _run("landcover", "look", *([dataset] if dataset else []), "--out", picture)
    return root() / picture


def train(name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, float]:
    """Run the pipeline as an experiment of DVC, in a folder of its own; the workspace stays as it is.

    Args:
        name: of the experiment. One of this name on the same commit is replaced.
        parameters: what differs from params.yaml, such as {"train.epochs": 10, "bands": ["B04", "B03", "B02"]}.

    Returns:
        The headline figures by name, such as accuracy.

    Raises:
        InputError: a parameter is not accepted, or a stage failed.
    """

    def git(*arguments: str) -> str:
        options = {"cwd": root(), "env": _environment(), "capture_output": True, "text": True}
        return subprocess.run(["git", *arguments], check=True, **options).stdout

    commit = git("rev-parse", "HEAD").strip()
    reference = f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"
    git("update-ref", "-d", reference)
    given = [text for key, value in (parameters or {}).items() for text in ("-S", f"{key}={json.dumps(value)}")]
    _run("dvc", "exp", "run", "--temp", "--name", name, *given)
    return json.loads(git("show", f"{reference}:./reports/headline.json"))


def compare(base: str, head: str = "workspace", page: str = "comparison.md") -> str:
    """Is `head` better than `base`?

    Args:
        base, head: commits, branches, experiments or `workspace`; or two tables of predictions, as paths of CSV files.
        page: the Markdown file to write; its pictures go to a folder beside it.

    Returns:
        The text of the page.

    Raises:
        InputError: there is no such revision, or a table cannot be read.
    """
    _run("landcover", "compare", "--base", base, "--head", head, "--output", page, accepted=(0, NOT_COMPARABLE))
    return (root() / page).read_text(encoding="utf-8")


def predict(
    scene: str, out: str = "maps/notebook", model: str = "models/model.safetensors", step: int | None = None
) -> Path:
    """Map the land cover of a scene.

    Args:
        scene: a GeoTIFF, a folder of bands, a Level-2A product or a STAC item; or `sample`, a synthetic one.
        out: the folder to write, in which an earlier map is replaced.
        model: the model file.
        step: pixels from one window to the next; by default, the size of a window.

    Returns:
        The folder with classes.tif, confidence.tif, map.png and summary.json.

    Raises:
        InputError: the scene or the model cannot be read, or the scene lacks a band.
    """
    _run("landcover", "predict", scene, "--out", out, "--model", model, *(["--step", str(step)] if step else []))
    return root() / out

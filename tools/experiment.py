"""Run the experiments of experiments.yaml through DVC, and set them side by side.

    python -m tools experiment run [NAME ...]    all of them, if none is named
    python -m tools experiment table             of those that were run, from their last run

Each runs as `dvc exp run --name NAME -S ...` and is repeated over SEEDS.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from landcover.ground.errors import InputError
from landcover.judgement.revisions import Revision, git
from landcover.pages import markdown
from landcover.pages.experiments import summarize

EXPERIMENTS = Path("experiments.yaml")
SEEDS = [1, 2, 3]


def load(path: Path = EXPERIMENTS) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(path.read_text())


def run(name: str, changes: dict[str, Any]) -> None:
    """Run one experiment by `dvc exp run`, in a folder of its own.

    Raises:
        InputError: DVC or a stage failed, and said why.
    """
    settings = {**changes, "repeat.seeds": SEEDS}
    given = [text for key, value in settings.items() for text in ("-S", f"{key}={json.dumps(value)}")]
    if git("for-each-ref", f"refs/exps/*/*/{name}"):
        subprocess.run(["dvc", "exp", "remove", "--quiet", name], check=True)  # DVC refuses a name that is taken
    # Not in the workspace, where each experiment would start from the parameters of the one before it.
    if subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *given]).returncode:
        raise InputError(f"experiment {name}: dvc exp run failed; its message stands above")


def table(names: list[str]) -> str:
    """Compare the experiments that were run, each by its last run, in Markdown; what is told from noise is bold."""
    revisions = [Revision(name) for name in names if git("for-each-ref", f"refs/exps/*/*/{name}")]
    tables = {revision.name: revision.csv("reports/seed_predictions.csv") for revision in revisions}
    tables = {name: repeated for name, repeated in tables.items() if len(repeated)}
    if not tables:
        raise InputError(f"no experiment of {EXPERIMENTS} was run over seeds; run make experiments")
    baselines = Revision(next(iter(tables))).csv("reports/baseline_predictions.csv")
    return markdown.table(summarize(tables, baselines))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools experiment", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args(arguments)
    known = load()
    if unknown := [name for name in given.names if name not in known]:
        raise InputError(f"no experiment {', '.join(unknown)} in {EXPERIMENTS}; choose from {', '.join(known)}")
    names = given.names or list(known)
    if given.command == "run":
        if git("status", "--porcelain", "--untracked-files=no"):
            raise InputError("files are changed that the experiments would take along; commit or stash them first")
        for name in names:
            run(name, known[name])
    else:
        print(table(names))

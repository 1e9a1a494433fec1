"""Run the experiments of experiments.yaml through DVC, and set them side by side.

    python -m tools experiment run [NAME ...]       all of them, if none is named
    python -m tools experiment table                of those that were run, from their last run
    python -m tools experiment splits               the same on two datasets, say by row order and by place

Each runs as `dvc exp run --name NAME -S ...` and is repeated over SEEDS. With --dataset it runs on another entry of
`datasets` in params.yaml, under the name NAME-DATASET.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from landcover.ground.errors import InputError
from landcover.judgement.predictions import parse
from landcover.judgement.revisions import Revision, git
from landcover.pages import markdown
from landcover.pages.experiments import Experiments, recommendation, summarize, summarize_splits

EXPERIMENTS = Path("experiments.yaml")
SEEDS = [1, 2, 3]
BY_PLACE = "ben-ge-sample-by-place"


def load(path: Path = EXPERIMENTS) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(path.read_bytes())


def full_name(name: str, dataset: str | None) -> str:
    return name if dataset is None else f"{name}-{dataset}"


def run(name: str, changes: dict[str, Any], dataset: str | None) -> None:
    """Run one experiment by `dvc exp run`, in a folder of its own.

    Raises:
        InputError: DVC or a stage failed, and said why.
    """
    settings = {**changes, "repeat.seeds": SEEDS} | ({} if dataset is None else {"dataset": dataset})
    given = [text for key, value in settings.items() for text in ("-S", f"{key}={json.dumps(value)}")]
    called = full_name(name, dataset)
    if git("for-each-ref", f"refs/exps/*/*/{called}"):
        subprocess.run(["dvc", "exp", "remove", "--quiet", called], check=True)  # DVC refuses a name that is taken
    # Not in the workspace, where each experiment would start from the parameters of the one before it.
    if subprocess.run(["dvc", "exp", "run", "--temp", "--name", called, *given]).returncode:
        raise InputError(f"experiment {called}: dvc exp run failed; its message stands above")


def read(names: list[str], dataset: str | None) -> Experiments:
    """What the last run of each experiment predicted, of those that were run over seeds.

    Raises:
        InputError: none was.
    """
    called = {name: full_name(name, dataset) for name in names}
    revisions = {name: Revision(full) for name, full in called.items() if git("for-each-ref", f"refs/exps/*/*/{full}")}
    found = {}
    for split, path in (("val", "reports/seed_val_predictions.csv"), ("test", "reports/seed_predictions.csv")):
        tables = {name: revision.csv(path) for name, revision in revisions.items()}
        found[split] = {name: parse(table) for name, table in tables.items() if len(table)}
    if not found["test"]:
        where = f" with --dataset {dataset}" if dataset else ""
        raise InputError(
            f"no experiment of {EXPERIMENTS} was run over seeds{where}; run python -m tools experiment run"
        )
    baselines = revisions[next(iter(found["test"]))].csv("reports/baseline_predictions.csv")
    return Experiments(**found, baselines=baselines)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools experiment", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "table", "splits"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--dataset", help="run on this one, or show those that were; for splits, default: %(const)s",
                        nargs="?", const=BY_PLACE)  # fmt: skip
    given = parser.parse_args(arguments)
    known = load()
    if unknown := [name for name in given.names if name not in known]:
        raise InputError(f"no experiment {', '.join(unknown)} in {EXPERIMENTS}; choose from {', '.join(known)}")
    names = given.names or list(known)
    match given.command:
        case "run":
            if git("status", "--porcelain", "--untracked-files=no"):
                raise InputError("files are changed that the experiments would take along; commit or stash them first")
            for name in names:
                run(name, known[name], given.dataset)
        case "table":
            experiments = read(names, given.dataset)
            print(f"{markdown.table(summarize(experiments))}\n\n{recommendation(experiments)}")
        case "splits":
            sides = read(names, None), read(names, given.dataset or BY_PLACE)
            print(markdown.table(summarize_splits(*sides)))

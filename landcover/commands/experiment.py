"""Run the experiments in experiments.yaml through DVC, and compare them.

    python -m landcover experiment run [NAME ...]    experiments, or whole groups; ends with a verdict on each NAME
    python -m landcover experiment table [GROUP]     from the last run of each; by default, of the first group
    python -m landcover experiment splits [GROUP]    their accuracies on two datasets, as by row order and by place

Each runs as `dvc exp run --name NAME -S ...` on the last commit, apart from the workspace, and is repeated over SEEDS.
With --dataset, it runs on another entry of `datasets` in params.yaml, under the name NAME-DATASET.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from landcover import cli
from landcover.checkpoints import PARTIAL
from landcover.config import PARAMS
from landcover.errors import InputError, few
from landcover.evaluation.predictions import Predictions, mismatches, parse
from landcover.evaluation.revisions import Revision, git
from landcover.report import markdown
from landcover.report.experiments import Experiments, recommendation, summarize, summarize_splits

EXPERIMENTS = Path("experiments.yaml")
CODE = ("dvc.yaml", "stages", "landcover", "data/lists")  # what determines a result, apart from parameters
SEEDS = [1, 2, 3]
BY_PLACE = "ben-ge-sample-by-place"
NOT_COMPARABLE = 4  # exit code of the comparison
OF_THE_CLONE = "Experiment results have been applied to your workspace."  # DVC's message; it means the clone


def load(path: Path = EXPERIMENTS) -> dict[str, dict[str, dict[str, Any]]]:
    """What each experiment changes, by group and name; the first of a group is its reference."""
    return yaml.safe_load(path.read_bytes())


def choose(names: list[str], groups: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The named experiments, or those of the named groups, and for each the reference of its group.

    Raises:
        InputError: there is no such experiment or group.
    """
    references = {name: next(iter(group)) for group in groups.values() for name in group}
    if unknown := [name for name in names if name not in groups and name not in references]:
        asked = f"no experiment {', '.join(unknown)} in {EXPERIMENTS}" if any(unknown) else "no NAME is given"
        raise InputError(f"{asked}; choose from {', '.join(references)}, or a group: {', '.join(groups)}")
    chosen = [one for name in names for one in groups.get(name, [name])]
    return {name: references[name] for name in chosen}


def full_name(name: str, dataset: str | None) -> str:
    return name if dataset is None else f"{name}-{dataset}"


def demand_committed_code() -> None:
    """Refuse code that is not committed, and warn of parameters that are not.

    Raises:
        InputError: names the files.
    """
    changed = (git("status", "--porcelain", "--", *CODE) or "").splitlines()
    if changed:
        names = few([line[3:] for line in changed])
        raise InputError(f"{names}: changed since the last commit, which experiments use; commit or stash first")
    if git("diff", "--name-only", "HEAD", "--", PARAMS.name):
        print(f"experiments start from {PARAMS} in the last commit, not in the workspace", file=sys.stderr)


@contextmanager
def clone() -> Iterator[Path]:
    """A clone of the last commit, apart from the workspace but with its DVC cache, in which to run experiments.

    It is removed when they end. Checkpoints of a killed training are kept, and the next clone resumes from them. DVC's
    own `exp run --temp` uses a new folder each time, in which training restarts, and leaves the folders of killed runs.
    """
    kept, folder = ((PARTIAL / name).resolve() for name in ("experiments", "clone"))
    kept.mkdir(parents=True, exist_ok=True)
    cache = subprocess.run(["dvc", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    with cli.alone(kept, "experiment") as lock:
        os.set_inheritable(lock, True)  # a dvc that outlives this process holds it
        try:
            shutil.rmtree(folder, ignore_errors=True)
            git("clone", "--quiet", "--shared", git("rev-parse", "--show-toplevel"), str(folder))
            work = folder / git("rev-parse", "--show-prefix")
            (work / PARTIAL).symlink_to(kept)
            # Links into the cache take no space, and lead to the same file each time, which identifies a checkpoint.
            (work / ".dvc" / "config.local").write_text(f'[cache]\n    dir = "{cache}"\n    type = symlink\n')
            yield work
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Raise an interrupt at the end only, so that a process cannot be started without its parent knowing it."""
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before, seen = {number: signal.getsignal(number) for number in numbers}, []
    for number in numbers:
        signal.signal(number, lambda number, _: seen.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if seen:
        raise KeyboardInterrupt


def run(work: Path, name: str, changes: dict[str, Any], dataset: str | None) -> None:
    """Run one experiment with `dvc exp run` in a clone, and fetch it.

    Raises:
        InputError: DVC or a stage failed, and has printed why.
    """
    settings = {**changes, "repeat.seeds": SEEDS} | ({} if dataset is None else {"dataset": dataset})
    given = [text for key, value in settings.items() for text in ("-S", f"{key}={json.dumps(value)}")]
    called = full_name(name, dataset)
    git("-C", str(work), "reset", "--quiet", "--hard")  # else it would start from where the previous one ended
    # In a session of its own, so that any interrupt of this process reaches all of it exactly once.
    options = {"env": os.environ | {"PYTHONUNBUFFERED": "1"}, "close_fds": False, "start_new_session": True}
    try:
        with deferred_interrupts():
            command = ["dvc", "exp", "run", "--name", called, *given]
            dvc = subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, text=True, **options)
        for line in dvc.stdout:
            if line.strip() != OF_THE_CLONE:
                print(line, end="", flush=True)
        code = dvc.wait()
    except KeyboardInterrupt:
        ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # as under nohup, and then by DVC as well
        os.killpg(dvc.pid, signal.SIGTERM if ignored else signal.SIGINT)
        dvc.wait()
        raise KeyboardInterrupt(f"experiment {called} will resume where it stopped") from None
    if code:
        raise InputError(f"experiment {called}: dvc exp run failed; fix the error above, and run it again")
    ref = git("-C", str(work), "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{called}")
    git("fetch", "--quiet", str(work), f"+{ref}:{ref}")


def judge(name: str, reference: str, dataset: str | None) -> None:
    """Compare an experiment with its reference: over seeds, if that was run on the same commit, else as committed.

    Raises:
        InputError: the comparison failed, and has printed why.
    """
    called, base = full_name(name, dataset), full_name(reference, dataset)
    commit = git("rev-parse", "HEAD")
    if called == base or not git("for-each-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/{base}"):
        base = "HEAD"
    page = Path("comparison", f"{called}.md")
    command = [sys.executable, "-m", "landcover", "compare", "--base", base, "--head", called, "--output", str(page)]
    print(f"\n{called} against {base}:", flush=True)
    if subprocess.run(command).returncode not in (0, NOT_COMPARABLE):
        raise InputError(f"experiment {called} was run, but has no verdict; fix the error above, and compare again")
    print(f"To apply it to the workspace: dvc exp apply {called}")


def demand_same_patches(predictions: dict[str, Predictions], split: str) -> None:
    """Refuse experiments whose patches or labels differ, as after a change of the dataset between them.

    Raises:
        InputError: names the first two that differ.
    """
    for (name, one), (other_name, other) in itertools.pairwise(predictions.items()):
        if reasons := mismatches(one, other):
            raise InputError(
                f"experiments {name} and {other_name} were run on other data: in the {split} split, {reasons[0]}; run "
                "both again on the same commit"
            )


def read(chosen: dict[str, str], dataset: str | None) -> Experiments:
    """The predictions of the last run of each chosen experiment that was run over seeds; baselines as of the first.

    Args:
        chosen: as `choose` returns it.

    Raises:
        InputError: no experiment was, or they had different patches.
    """
    last = ("for-each-ref", "--sort=-committerdate", "--count=1", "--format=%(refname)")
    refs = {name: git(*last, f"refs/exps/*/*/{full_name(name, dataset)}") for name in chosen}
    revisions = {name: Revision(ref) for name, ref in refs.items() if ref}
    found = {}
    for split, path in (("val", "reports/seed_val_predictions.csv"), ("test", "reports/seed_predictions.csv")):
        tables = {name: revision.csv(path) for name, revision in revisions.items()}
        found[split] = {name: parse(table) for name, table in tables.items() if len(table)}
        demand_same_patches(found[split], split)
    if not found["test"]:
        where = f" with --dataset {dataset}" if dataset else ""
        raise InputError(
            f"no experiment of {EXPERIMENTS} was run over seeds{where}; run python -m landcover experiment run"
        )
    baselines = revisions[next(iter(found["test"]))].csv("reports/baseline_predictions.csv")
    return Experiments(**found, baselines=baselines, reference=next(iter(chosen.values())))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m landcover experiment", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "table", "splits"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--dataset", help=f"run on this dataset, or show the runs on it; splits: the second one, by default {BY_PLACE}"
    )
    given = parser.parse_args(arguments)
    groups = load()
    changes = {name: change for group in groups.values() for name, change in group.items()}
    everything = given.command == "run" and not given.names
    chosen = choose(given.names or (list(groups) if everything else [next(iter(groups))]), groups)
    names = list(chosen)
    match given.command:
        case "run":
            demand_committed_code()
            with clone() as work:
                for name in names:
                    run(work, name, changes[name], given.dataset)
            for name in names:
                if name in given.names:  # a group has a table
                    judge(name, chosen[name], given.dataset)
        case "table":
            experiments = read(chosen, given.dataset)
            print(f"{markdown.table(summarize(experiments))}\n\n{recommendation(experiments)}")
        case "splits":
            own, other = Revision("HEAD").yaml(PARAMS.name)["dataset"], given.dataset or BY_PLACE
            if own == other:
                raise InputError(f"--dataset {other}: is the dataset of the last commit; name another one")
            print(markdown.table(summarize_splits({own: read(chosen, None), other: read(chosen, other)})))

"""Run the experiments in experiments.yaml through DVC, and compare them.

    python -m landcover experiment run [NAME ...]    experiments, or whole groups; ends with a verdict on each NAME
    python -m landcover experiment table [GROUP]     from the last run of each; by default, of the first group
    python -m landcover experiment splits [GROUP]    their accuracies on two datasets, as by row order and by place
    python -m landcover experiment curve [GROUP]     their accuracies by --patches, as a table and a picture

Each runs as `dvc exp run --temp --name NAME -S ...`, in a folder of its own with the code and parameters of the
workspace, which it leaves as they are. It is repeated over FOLDS folds; with --split, which adds -split to its name, it
runs on the dataset's split, over three seeds or as many as given. With --dataset, it runs on another entry of
`datasets` in params.yaml, under the name NAME-DATASET; with --patches, on so many of the train patches, drawn anew for
each seed.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from landcover.config import PARAMS, is_url
from landcover.errors import InputError, few
from landcover.evaluation.predictions import Predictions, mismatches, parse
from landcover.evaluation.revisions import Revision, git
from landcover.report import markdown, plots
from landcover.report.experiments import (
    Experiments,
    curve,
    recommendation,
    summarize,
    summarize_sizes,
    summarize_splits,
)

EXPERIMENTS = Path("experiments.yaml")
LISTS = "data/lists"
CODE = ("params.yaml", "dvc.yaml", "stages", "landcover", LISTS)  # what determines a result
CHECKPOINTS = "LANDCOVER_CHECKPOINTS"  # the variable that says where training keeps its checkpoints
FOLDS = {"repeat.folds": 5, "repeat.seeds": [1], "repeat.test": "folds"}
SEEDS = 3  # by default, on a split
BY_PLACE = "ben-ge-sample-by-place"
NOT_COMPARABLE = 4  # exit code of the comparison


def select(names: list[str], groups: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The named experiments, or those of the named groups, and for each the reference of its group: the first in it.

    Raises:
        InputError: there is no such experiment or group.
    """
    references = {name: next(iter(group)) for group in groups.values() for name in group}
    if unknown := [name for name in names if name not in groups and name not in references]:
        asked = f"no experiment {', '.join(unknown)} in {EXPERIMENTS}" if any(unknown) else "no NAME is given"
        raise InputError(f"{asked}; choose from {', '.join(references)}, or a group: {', '.join(groups)}")
    return {one: references[one] for name in names for one in groups.get(name, [name])}


class Setting(NamedTuple):
    """What experiments run on."""

    dataset: str | None  # None: that of params.yaml
    seeds: int = 0  # on the dataset's split, over so many seeds; 0: over folds
    patches: int | None = None  # of those to train on; None: all

    def called(self, name: str) -> str:
        """The name under which DVC keeps the experiment."""
        parts = [name, self.dataset, "split" if self.seeds else None, self.patches]
        return "-".join(str(part) for part in parts if part is not None)

    def parameters(self) -> dict[str, Any]:
        seeds = [*range(1, self.seeds + 1)] if self.seeds > 1 else []  # one is that of train
        split = {"repeat.folds": 0, "repeat.seeds": seeds, "repeat.test": "folds"}
        # Of several networks, one on each core is faster than all cores on one.
        threads = {} if self.seeds == 1 else {"runtime.threads": 1}
        changes = (split if self.seeds else FOLDS) | threads
        changes |= {"dataset": self.dataset} if self.dataset else {}
        return changes | ({} if self.patches is None else {"train.patches": self.patches})

    def options(self) -> list[str]:
        """Those of the command line that ask for it."""
        given = {"--dataset": self.dataset, "--patches": self.patches}
        texts = [text for option, value in given.items() if value is not None for text in (option, str(value))]
        return texts + ["--split"] * bool(self.seeds)


def reference_of_head(called: str) -> str:
    """The Git reference under which DVC keeps the experiment of this name that was run on the last commit."""
    commit = git("rev-parse", "HEAD")
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{called}"


def report_uncommitted() -> bool:
    """Say which changes since the last commit the experiments include, and which files they lack; whether there are."""
    lines = (git("status", "--porcelain", "--", *CODE) or "").splitlines()
    untracked = [line[3:] for line in lines if line.startswith("??")]
    if changed := [line[3:] for line in lines if not line.startswith("??")]:
        print(f"{few(changed)}: not committed; experiments run with the version in the workspace", file=sys.stderr)
    if untracked:
        print(
            f"{few(untracked)}: not tracked by Git, so experiments run without them; git add those they need",
            file=sys.stderr,
        )
    return bool(lines)


def run(name: str, changes: dict[str, Any], setting: Setting) -> None:
    """Run one experiment with `dvc exp run`, in place of one with its name on the same commit.

    Raises:
        InputError: DVC or a stage failed, and has printed why.
    """
    called = setting.called(name)
    parameters = changes | setting.parameters()
    if (weights := parameters.get("train.init")) and not is_url(weights):
        parameters["train.init"] = os.path.abspath(weights)  # DVC works in another folder
    given = [text for key, value in parameters.items() for text in ("-S", f"{key}={json.dumps(value)}")]
    # DVC takes along what Git tracks; a list that a command wrote may be ignored.
    ignored = git("ls-files", "--others", "--ignored", "--exclude-standard", "--", LISTS) or ""
    given += [text for path in ignored.splitlines() for text in ("--copy-paths", path)]
    git("update-ref", "-d", reference_of_head(called))  # `dvc exp run --force` would also repeat every stage
    # In the workspace, so that a repeated experiment resumes: DVC's folder is a new one each time.
    checkpoints = os.path.abspath(os.environ.get(CHECKPOINTS, ".partial"))
    environment = os.environ | {CHECKPOINTS: checkpoints, "PYTHONUNBUFFERED": "1"}
    if not shutil.which("dvc"):  # where the virtual environment is not activated, its folder of programs is not in PATH
        environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    dvc = subprocess.Popen(["dvc", "exp", "run", "--temp", "--name", called, *given], env=environment)
    try:
        code = dvc.wait()
    except KeyboardInterrupt:
        dvc.wait()  # the terminal has interrupted it, too
        raise
    if code < 0:
        raise InputError(
            f"experiment {called}: signal {-code} ended dvc exp run, perhaps for lack of memory; run it again, and "
            "training resumes"
        )
    if code:
        raise InputError(f"experiment {called}: dvc exp run failed; fix the error above, and run it again")


def give_verdict(name: str, reference: str, setting: Setting) -> None:
    """Compare an experiment with its reference, or the reference itself with the last commit.

    On a dataset of its own, the reference has nothing to be compared with.

    Raises:
        InputError: the comparison failed, and has printed why.
    """
    called = setting.called(name)
    apply = f"To apply it to the workspace, commit what you have changed since, then: dvc exp apply {called}"
    if setting.dataset and name == reference:
        print(f"\n{called}: the others of its group are compared with it. {apply}")
        return
    base = "HEAD" if name == reference else setting.called(reference)
    page = Path("comparison", f"{called}.md")
    command = [sys.executable, "-m", "landcover", "compare", "--base", base, "--head", called, "--output", str(page)]
    print(f"\n{called} against {base}:", flush=True)
    if subprocess.run(command).returncode not in (0, NOT_COMPARABLE):
        raise InputError(f"experiment {called} was run, but has no verdict; fix the error above, and compare again")
    print(apply)


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


def collect(names: list[str], chosen: dict[str, str], setting: Setting) -> Experiments:
    """The predictions of the last run of each chosen experiment; baselines as of the first.

    Args:
        names: of experiments or groups.
        chosen: as `select` returns it for them.

    Raises:
        InputError: no experiment was, or they had different patches.
    """
    last = ("for-each-ref", "--sort=-committerdate", "--count=1", "--format=%(refname)")
    refs = {name: git(*last, f"refs/exps/*/*/{setting.called(name)}") for name in chosen}
    revisions = {name: Revision(ref) for name, ref in refs.items() if ref}
    predictions = {}
    for split, path in (("val", "reports/seed_val_predictions.csv"), ("test", "reports/seed_predictions.csv")):
        tables = {name: revision.csv(path) for name, revision in revisions.items()}
        predictions[split] = {name: parse(table) for name, table in tables.items() if len(table)}
        demand_same_patches(predictions[split], split)
    if not predictions["test"]:
        command = ["python -m landcover experiment run", *names, *setting.options()]
        raise InputError(f"none of these experiments was run; first {' '.join(command)}")
    table = "baseline_predictions.csv" if setting.seeds else "fold_baseline_predictions.csv"
    first = revisions[next(iter(predictions["test"]))]
    baselines, synthetic = first.csv(f"reports/{table}"), first.json("reports/data.json")["synthetic"]
    return Experiments(**predictions, baselines=baselines, reference=next(iter(chosen.values())), synthetic=synthetic)


def show_table(names: list[str], chosen: dict[str, str], setting: Setting) -> None:
    experiments = collect(names, chosen, setting)
    print(f"{markdown.table(summarize(experiments))}\n\n{recommendation(experiments)}")
    if setting.patches:
        print(f"- Trained on {setting.patches:,} patches, drawn for each seed; the baselines, on all train patches.")


def show_splits(names: list[str], chosen: dict[str, str], dataset: str | None) -> None:
    own, other = Revision("HEAD").yaml(PARAMS.name)["dataset"], dataset or BY_PLACE
    if own == other:
        raise InputError(f"--dataset {other}: is the dataset of the last commit; name another one")
    settings = {own: Setting(None, SEEDS), other: Setting(other, SEEDS)}
    sides = {dataset: collect(names, chosen, one) for dataset, one in settings.items()}
    print(markdown.table(summarize_splits(sides)))


def show_curve(names: list[str], chosen: dict[str, str], settings: list[Setting]) -> None:
    """Print the accuracies by the number of train patches, and draw them."""
    if len(settings) < 2:
        raise InputError("experiment curve: give two or more numbers of train patches, such as --patches 50 100 200")
    sides = {int(setting.patches or 0): collect(names, chosen, setting) for setting in settings}
    called = "-".join([*(names or chosen), *([settings[0].dataset] if settings[0].dataset else []), "curve"])
    path = Path("comparison", f"{called}.png")
    path.parent.mkdir(exist_ok=True)
    synthetic = any(experiments.synthetic for experiments in sides.values())
    plots.draw(path, synthetic, plots.accuracy_by_patches, curve(sides))
    print(f"{markdown.table(summarize_sizes(sides))}\n\n{path}")


def run_all(given: list[str], chosen: dict[str, str], groups: dict[str, Any], setting: Setting) -> None:
    """Run the chosen experiments, and those that they are compared with, and give a verdict on each that is named.

    Args:
        given: names of experiments or groups.
    """
    edited = report_uncommitted()
    changes = {name: change for group in groups.values() for name, change in group.items()}
    judged = [name for name in chosen if name in given]  # a group has a table
    references = dict.fromkeys(chosen[name] for name in judged if chosen[name] not in chosen)
    for name in references:  # each is run once on a commit, as long as nothing is edited
        if edited or not git("for-each-ref", reference_of_head(setting.called(name))):
            print(f"\n{name}, which the others are compared with:", file=sys.stderr)
            run(name, changes[name], setting)
    for name in chosen:
        run(name, changes[name], setting)
    for name in judged:
        give_verdict(name, chosen[name], setting)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m landcover experiment", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("command", choices=["run", "table", "splits", "curve"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    dataset = f"run on this dataset, or show the runs on it; splits: the second one, by default {BY_PLACE}"
    parser.add_argument("--dataset", help=dataset)
    split = "on the dataset's split, over seeds, by default 1 to 3, not over folds; splits always is"
    parser.add_argument("--split", type=int, nargs="?", const=SEEDS, default=0, metavar="SEEDS", help=split)
    patches = "train on so many of the train patches, drawn for each seed; several numbers are run one after the other"
    parser.add_argument("--patches", type=int, nargs="+", default=[None], metavar="NUMBER", help=patches)
    given = parser.parse_args(arguments)
    if not EXPERIMENTS.is_file():
        raise InputError(f"{EXPERIMENTS}: not found; run from the root of the repository")
    groups: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(EXPERIMENTS.read_bytes())  # changes, by name
    names = given.names or list(groups)[: None if given.command == "run" else 1]
    chosen = select(names, groups)
    settings = [Setting(given.dataset, given.split, patches) for patches in given.patches]
    match given.command:
        case "run":
            for setting in settings:
                run_all(given.names, chosen, groups, setting)
        case "table":
            for setting in settings:
                show_table(names, chosen, setting)
        case "splits":
            show_splits(names, chosen, given.dataset)
        case "curve":
            show_curve(names, chosen, settings)

"""The whole DAG, run by DVC in a clone of the repository, on a small sample."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from itertools import product
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from tiny import REAL_ARCHIVE, REPOSITORY

from landcover import constants
from landcover.synthetic import writer

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
SMALL = {"method": "order", "train": 24, "val": 8, "test": 8}


def outputs(stage: str) -> list[str]:
    listed = [out for kind in ("outs", "metrics", "plots") for out in STAGES[stage].get(kind, [])]
    return [path for out in listed for path in ([out] if isinstance(out, str) else out)]


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_of_a_command_is_tracked(stage):
    tracked = STAGES[stage]["deps"] + outputs(stage)
    for path in STAGES[stage]["cmd"].partition(f" stages {stage} ")[2].split():
        assert path in tracked or any(name.startswith(f"{path}/") for name in tracked), path


def test_dvc_lock_and_reports_are_what_the_pipeline_made():
    """The committed lock is of the committed code, parameters and reports: DVC would run nothing."""
    done = dvc(REPOSITORY, "repro", "--dry", "--allow-missing")
    assert "Running stage" not in done.stdout, done.stdout


def environment() -> dict[str, str]:
    """As in a shell, even if `make test` runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.org",
    }  # fmt: skip


def dvc(folder: Path, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess:
    command = ["git" if arguments[0] == "git" else "dvc", *arguments[arguments[0] == "git" :]]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == expect, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def clone(folder: Path, datasets: dict, **changes) -> Path:
    """A new repository of this one's files, without what the pipeline made, for another dataset."""
    listed = dvc(REPOSITORY, "git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    for name in listed:
        made = name.startswith("reports/") or name in ("dvc.lock", "models/card.md")
        if not made and not name.startswith("tests/") and (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params |= {"dataset": next(iter(datasets)), "datasets": datasets}
    params["train"]["epochs"] = 2
    params["evaluate"]["resamples"] = 200
    params["runtime"] |= {"device": "cpu", "threads": 1}
    for section, change in changes.items():
        params[section] |= change
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    dvc(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    dvc(folder, "git", "add", "--all")
    dvc(folder, "git", "commit", "--quiet", "--message", "state")


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A repository in which the pipeline ran once on forty patches, and what it made is committed."""
    folder = tmp_path_factory.mktemp("repository")
    writer.write_sample(folder / "small.tar.gz", patches=40)
    (folder / ".gitignore").touch()
    clone(folder, {"small-v1.0": {"source": "small.tar.gz", "split": SMALL}})  # to DVC, a dot is a level
    dvc(folder, "repro")
    (folder / "experiments.yaml").write_text(
        # Light, and long enough to be killed.
        "network:\n  notebook: {}\n  strong: {train.learning_rate: 0.001, train.epochs: 15}\n"
    )
    make_virtual_environment(folder)
    commit(folder)
    return folder


def make_virtual_environment(folder: Path) -> None:
    """One of the packages of this interpreter, so that make installs none."""
    venv, here = folder / ".venv", Path(sys.prefix)
    (venv / "bin").mkdir(parents=True)
    for name in ("lib", "pyvenv.cfg", "bin/python"):
        (venv / name).symlink_to(here / name)
    script = venv / "bin" / "dvc"
    script.write_text(f"#!{venv}/bin/python\nimport sys\nfrom dvc.cli import main\nsys.exit(main())\n")
    script.chmod(0o755)
    (venv / "installed").touch()


def test_the_pipeline_makes_every_file_of_its_contract(repository):
    made = {str(p.relative_to(repository)) for p in repository.rglob("*") if p.is_file()}
    expected = {
        "data/dataset.json", "data/archive.tar.gz", "data/patches/SHA256SUMS", "data/tensors/index.csv",
        "reports/report.md", "models/card.md",
        *(f"models/{name}.safetensors" for name in ("model", "log_probabilities", "seeds", "ensemble")),
        *(f"data/tensors/{split}-00000.safetensors" for split in ("train", "val", "test")),
        *(f"reports/{name}.json" for name in ("data", "baselines", "headline", "metrics", "seeds")),
        *(f"reports/{name}.csv" for name in (
            "history", "predictions", "baseline_predictions", "confusion_matrix", "per_class", "seed_predictions",
            "seed_val_predictions")),
        *(f"reports/{name}.png" for name in (
            "confusion_matrix", "confusion_matrix_normalized", "learning_curves",
            "examples", "errors", "places", "purity", "reliability")),
    }  # fmt: skip
    assert expected <= made
    reports = {name for name in made if name.startswith("reports/")}
    assert reports <= {path for stage in STAGES for path in outputs(stage)}  # in a folder, none is untracked
    for page, link in (("reports/report.md", "confusion_matrix_normalized.png"), ("models/card.md", "../LICENSE")):
        links = re.findall(r"\]\(([^)]+)\)", (repository / page).read_text())
        assert link in links
        assert [link for link in links if not (repository / page).parent.joinpath(link).is_file()] == []
    assert len(pd.read_csv(repository / "reports" / "history.csv")) == 2


def test_git_holds_the_reports_and_dvc_the_data(repository):
    tracked = dvc(repository, "git", "ls-files").stdout.splitlines()
    assert "reports/metrics.json" in tracked
    assert "reports/confusion_matrix.png" in tracked
    assert "models/card.md" in tracked
    assert "dvc.lock" in tracked
    assert not [
        name
        for name in tracked
        if name.startswith(("data/", "models/")) and not name.endswith((".gitignore", "README.md", "card.md"))
    ]


def test_a_second_run_does_nothing_and_a_forced_one_changes_nothing(repository):
    assert "Running stage" not in dvc(repository, "repro").stdout
    dvc(repository, "repro", "--force")
    assert dvc(repository, "git", "status", "--porcelain").stdout == ""


# -- what the documents say to type

DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(REPOSITORY.glob("docs/*.md"))]
DOCUMENTS.remove(REPOSITORY / "docs" / "exercises.md")  # five more experiments, by the same commands
CLUSTER = "needs a cluster"
NOT_RUN = {
    "make test": "would run this",
    "make predict SCENE=S2B_MSIL2A_20200604T101031_N0509_R022_T33UUP_20230101T000000.SAFE": "products have own tests",
    "make predict SCENE=scene.tif OUT=maps/here ARGS='--step 12 --threshold 0.6'": "GeoTIFFs have own tests",
    "make lint": "is run beside the tests",
    "dvc exp run --name real -S dataset=ben-ge-800": "fetches 183 MB; real patches have a test below",
    "python -m landcover compare --base A.csv --head B.csv": "the same is run with --json",
    "make experiment NAME=four-bands": "make experiment runs another one",
    "make experiment NAME=radar-late": "make experiment runs another one",
    "python -m landcover experiment run four-bands radar-late everything --dataset ben-ge-800": "fetches 183 MB",
    "python -m landcover experiment table inputs --dataset ben-ge-800": "is of what that makes",
    "python -m landcover experiment run network --dataset ben-ge-sample-spectral": "takes an hour",
    "python -m landcover experiment table network --dataset ben-ge-sample-spectral": "is of what that makes",
    "dvc remote add -d storage /some/folder": "has a test below",
    "dvc push": "has a test below",
    "pip install -r requirements-dask.txt": "is optional",
    "HOST=$(hostname)": CLUSTER,
    "python -m dask scheduler --port 8786 &": CLUSTER,
    "python -m landcover worker tcp://$HOST:8786 --nthreads 1 --nworkers 16": CLUSTER,
    "dvc exp run -S runtime.dask=tcp://$HOST:8786 -S dataset=ben-ge-8k": CLUSTER,
    "dvc exp run -S 'runtime.launcher=torchrun --nproc-per-node 4'": "several processes have tests of their own",
    "salloc --nodes 2 --ntasks-per-node 1 --gpus-per-node 4 --cpus-per-task 16": CLUSTER,
    'HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)': CLUSTER,
    'dvc exp run -S "runtime.launcher=srun torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint '
    '$HEAD:29500"': CLUSTER,
    "srun --ntasks 32 python -m landcover worker tcp://$HEAD:8786 --nthreads 1": CLUSTER,
}
TOLD = {  # of each command, something that shows that it did what it is for
    "make repro": "\n- logistic regression on band statistics: ",
    "dvc exp run --name mine -S train.learning_rate=1e-3 -S train.shuffle=true": "Stage 'preprocess' didn't change",
    "dvc metrics diff": "nll",
    "dvc params diff": "train.learning_rate",
    "make predict SCENE=sample": "accuracy",
    "dvc exp show --only-changed --drop 'Created|.*/'": "mine",
    "dvc plots diff": "index.html",
    "make compare": " on the same 8 test patches",
    "make compare BASE=main HEAD=mine": " on the same 8 test patches",
    "python -m landcover compare --base A.csv --head B.csv --verdict nll --json": '"verdict": "no difference"',
    "make experiment NAME=strong": "\nstrong against HEAD:\n",
    "dvc exp apply strong": "have been applied to your current workspace",
}


def commands() -> list[str]:
    """The lines of all blocks without a language, without comments, each once."""
    pages = [path.read_text() for path in DOCUMENTS]
    blocks = [block for page in pages for block in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    return list(dict.fromkeys(re.sub(r"\s+# .*", "", line) for line in lines))


def kill_once_it_trains(command: str, folder: Path) -> None:
    """Kill the command and all that it started, at once, so that nobody tidies up."""
    process = subprocess.Popen(["bash", "-c", command], cwd=folder, env=environment(), stdout=subprocess.DEVNULL)
    while not any(folder.glob(".partial/experiments/train-*")):
        assert process.poll() is None
        time.sleep(0.01)
    for other in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(other.cwd()).is_relative_to(folder):
                other.kill()
    process.wait()


def test_every_command_of_the_documents_works_in_their_order(repository):
    for name in ("A.csv", "B.csv"):  # which stand for the reader's own tables
        shutil.copy(repository / "reports" / "predictions.csv", repository / name)
    assert set(NOT_RUN) | set(TOLD) <= set(commands())
    for command in commands():
        if command in NOT_RUN:
            continue
        resumed = command == "make experiment NAME=strong"
        if resumed:
            kill_once_it_trains(command, repository)
            assert (repository / ".partial" / "clone").is_dir()
        done = subprocess.run(
            ["bash", "-e", "-c", command], cwd=repository, env=environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert TOLD.get(command, "") in done.stdout, f"{command}\n{done.stdout}\n{done.stderr}"
        if resumed:
            assert "resuming after epoch" in done.stderr
            assert list((repository / ".partial").rglob("*")) == [repository / ".partial" / "experiments"]
            assert (repository / "comparison" / "strong.md").is_file()
            # It changes the last commit, not the workspace, in which train.shuffle is true.
            refs = dvc(repository, "git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/strong").stdout.split()
            params = yaml.safe_load(dvc(repository, "git", "show", f"{refs[0]}:params.yaml").stdout)
            assert (params["train"]["shuffle"], params["repeat"]["seeds"]) == (False, [1, 2, 3])
    dvc(repository, "git", "checkout", "--quiet", ".")
    dvc(repository, "checkout")


def test_what_make_is_not_told_is_told_in_one_line(repository):
    for command, told in (
        (["make", "experiment"], "error: no NAME is given; choose from notebook, strong, or a group: network\n"),
        (["make", "compare", "BASE=x"], "error: no revision or experiment 'x'; choose from workspace, HEAD, main, "),
    ):
        done = subprocess.run(command, cwd=repository, env=environment(), capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith(told)
        assert done.stderr.splitlines()[1:] == [f"make: *** [Makefile:{done.stderr.split('Makefile:')[1].strip()}"]


def test_bad_parameters_stop_an_experiment_with_one_clear_line(repository):
    done = dvc(repository, "exp", "run", "-S", "train.optimizer=adamm", expect=255)
    assert "error: params.yaml: train.optimizer = 'adamm': input should be 'adam', 'adamw' or 'sgd'" in done.stderr
    dvc(repository, "git", "checkout", "--quiet", ".")
    dvc(repository, "checkout")
    assert "train.epoch" in dvc(repository, "exp", "run", "-S", "train.epoch=3", expect=255).stderr


def test_plots_show_the_curves_the_confusion_and_the_pictures(repository, tmp_path):
    dvc(repository, "plots", "show", "--out", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    for part in ("Loss", "Accuracy", "train_loss", "val_accuracy", "errors.png", "max-width"):
        assert part in page
    assert len(list((tmp_path / "static").glob("*.png"))) == 9
    specs = dict(re.findall(r'<div id = "(.*?)">.*?var spec = (.*?);\n', page, re.DOTALL))
    assert "DVC_METRIC" not in page
    matrix = json.loads(specs["reports_confusion_matrix_csv"])
    cells = [(cell["actual"], cell["predicted"]) for cell in matrix["data"]["values"]]
    assert cells == list(product(constants.CLASSES, repeat=2))
    axes = matrix["spec"]["encoding"]
    assert [(axes[name]["field"], axes[name]["sort"]) for name in "xy"] == [("predicted", None), ("actual", None)]
    for name in ("reports_data_json", "reports_per_class_csv"):
        bars = json.loads(specs[name])
        assert [bar["class"] for bar in bars["data"]["values"]] == list(constants.CLASSES)
        assert bars["encoding"]["y"]["sort"] is None


def test_the_data_can_be_pushed_and_pulled_elsewhere(repository, tmp_path):
    storage = tmp_path / "storage"
    dvc(repository, "remote", "add", "--local", "storage", str(storage))
    dvc(repository, "push", "--remote", "storage")
    copy = tmp_path / "copy"
    dvc(tmp_path, "git", "clone", "--quiet", str(repository), str(copy))
    dvc(copy, "remote", "add", "--local", "storage", str(storage))
    dvc(copy, "pull", "--remote", "storage")
    for name in ("models/model.safetensors", "data/archive.tar.gz", "data/tensors/train-00000.safetensors"):
        assert (copy / name).read_bytes() == (repository / name).read_bytes()
    # The tiles are not stored beside their archive: they are unpacked again, to the same bytes, and nothing else runs.
    assert re.findall("Running stage '(.*)'", dvc(copy, "repro").stdout) == ["unpack"]
    assert "up to date" in dvc(copy, "status").stdout
    assert dvc(copy, "git", "status", "--porcelain").stdout == ""


@pytest.mark.skipif(not REAL_ARCHIVE.is_file(), reason=f"{REAL_ARCHIVE.name}, 36 real patches, is not on this machine")
def test_real_patches_pass_through_from_a_server(tmp_path):
    import hashlib

    from server import File, Server

    split = {"method": "place", "val": 0.2, "test": 0.2, "seed": 0}
    md5 = hashlib.md5(REAL_ARCHIVE.read_bytes()).hexdigest()
    with Server() as server:
        url = server.on("/ben-ge-real.tar.gz", File(REAL_ARCHIVE.read_bytes()))
        folder = clone(tmp_path, {"real": {"source": url, "md5": md5, "split": split}})
        dvc(folder, "repro")
    data = json.loads((folder / "reports/data.json").read_text())
    assert sum(data["patches"].values()) == 36
    assert data["dropped"] == {}
    assert data["leakage"]["test"]["touching"]["patches"] == 0
    assert 0.1 < data["bands"]["train"]["B08"]["p50"] < 0.4  # green land in the near infrared

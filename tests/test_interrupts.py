"""What users do to a training: kill it, mend it, run it again, fill the disk."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import call
from tiny import REPOSITORY, merged

from landcover.data import tensors
from landcover.training import checkpoints

OUTPUTS = ("models/model.safetensors", "models/log_probabilities.safetensors", "reports/history.csv")
WEIGHTS = "models/pretrained.safetensors"
TRAIN = ("train", "data/tensors", "data/shares.safetensors", WEIGHTS, *OUTPUTS)


@pytest.fixture
def project(prepared, tmp_path, default_params, monkeypatch) -> Path:
    """A DVC repository with the project's code, its train stage, and tensors of a few patches."""
    params = merged(default_params, prepared(16, 4, 4) | {"train": {"epochs": 60}})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.move(tmp_path / "tensors", tmp_path / "data" / "tensors")
    for room in ("stages", "landcover"):
        shutil.copytree(REPOSITORY / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    stage = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]["train"]
    (tmp_path / "models").mkdir()
    tensors.save(tmp_path / WEIGHTS, {}, {})  # none to start from
    code = (dep for dep in stage["deps"] if dep.startswith(("stages", "landcover")))
    stage["deps"] = ["data/tensors", WEIGHTS, *code]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    monkeypatch.setattr(checkpoints, "ROOT", tmp_path)  # as in a process that runs there
    return tmp_path


def environment() -> dict[str, str]:
    """With the interpreter's dvc, and a shell that stays the parent of what it runs, unless told otherwise."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "SHELL": "/bin/sh"}


def terminate_once_it_trains(folder: Path, *command: str) -> tuple[int, str, list[psutil.Process]]:
    """Send SIGTERM to the command alone after an epoch: its exit code, what it printed, and its children."""
    before = set(folder.glob(".partial/train-*.csv"))
    with (folder / "output").open("w+") as output:  # no pipe, whose end would be that of its children
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=output, stderr=output)
        while not set(folder.glob(".partial/train-*.csv")) - before:
            assert process.poll() is None, (folder / "output").read_text()
            time.sleep(0.01)
        children = psutil.Process(process.pid).children()
        process.terminate()
        code = process.wait(timeout=60)
    return code, (folder / "output").read_text(), children


def train(folder: Path) -> str:
    """Train in a process of its own, whose instruction set is pinned as the one of DVC's is; what it printed."""
    command = [sys.executable, "-m", "stages", *TRAIN]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr


def outputs(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in OUTPUTS]


def change(folder: Path, **changes: float) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["train"] |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def test_dvc_is_killed_while_it_trains_and_run_again_at_once_with_another_learning_rate(project):
    """The first training, whose dvc is gone, ends too, without a trace in the results of the second."""
    change(project, epochs=100_000)
    code, _, trainings = terminate_once_it_trains(project, "dvc", "repro")
    assert (code, len(trainings)) == (-signal.SIGTERM, 1)
    change(project, epochs=60, learning_rate=0.001)
    second = subprocess.run(["dvc", "repro"], cwd=project, env=environment(), capture_output=True, timeout=120)
    alive = psutil.wait_procs(trainings, timeout=0)[1]
    for orphan in alive:
        orphan.kill()
    assert (second.returncode, alive) == (0, []), second.stderr
    made = outputs(project)
    train(project)
    assert outputs(project) == made


def test_a_stopped_training_resumes_unless_its_code_was_mended(project):
    assert terminate_once_it_trains(project, sys.executable, "-m", "stages", *TRAIN)[0] == 130
    loop = project / "landcover" / "training" / "loop.py"
    text = loop.read_text()
    loop.write_text(f"{text}# mended\n")
    assert train(project) == ""
    undisturbed = outputs(project)
    loop.write_text(text)
    assert train(project).startswith("resuming after epoch ")
    assert outputs(project) == undisturbed


def test_a_full_disk_is_told_in_one_line_and_old_outputs_stay_whole(project):
    for name in OUTPUTS:
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        done = call(project, "stages", *TRAIN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.returncode == 1
    assert done.stderr.startswith("error: .partial/train-")
    assert done.stderr.endswith(".safetensors: File too large: fix this, then run again\n")
    assert done.stderr.count("\n") == 1
    assert [(project / name).read_text() for name in OUTPUTS] == ["old"] * 3
    assert not list(project.rglob(".*.part"))

"""Reports that are not of their revision, by dvc.lock."""

import subprocess

import pytest

from landcover.evaluation.revisions import Revision
from landcover.evaluation.staleness import (
    changed_commands,
    changed_files,
    changed_parameters,
    changed_since_the_run,
    md5_of_folder,
)


def test_a_folder_has_the_md5_that_dvc_gives_it():
    assert md5_of_folder({"sub/b.py": b"y", "a.py": b"x"}) == "f0c0070b56c66f8db1e4b57951ab0448.dir"


def test_the_committed_reports_are_not_stale():
    """With the lock of this very commit: code, folders of code, lists, parameters, tables and pictures."""
    head = Revision("workspace")
    assert changed_since_the_run(head, head.yaml("dvc.lock"), head.yaml("params.yaml")) == []


@pytest.mark.parametrize(
    ("ran", "written", "differ"),
    [
        ({"train": {"rate": 0.0001}}, {"train": {"rate": "1e-4"}}, []),  # YAML 1.1 takes it for a string
        ({"train": {"rate": 0.1}}, {"train": {"rate": 0.1, "decay": 0}}, ["train.decay"]),
        ({"train": {"rate": 0.1, "decay": 0}}, {"train": {"rate": 0.1}}, ["train.decay"]),
        ({"runtime.threads": 2}, {"runtime": {"threads": 4, "workers": 8}}, ["runtime.threads"]),
        ({"runtime.threads": 2}, {}, ["runtime.threads"]),
        ({"datasets.a.source": "x"}, {"dataset": "a", "datasets": {"a": {"source": "y"}}}, ["datasets.a.source"]),
        ({"datasets.b.source": "x"}, {"dataset": "a", "datasets": {"b": {"source": "y"}}}, []),
    ],
)
def test_parameters_are_compared_with_those_that_ran(ran, written, differ):
    assert changed_parameters({"stages": {"train": {"params": {"params.yaml": ran}}}}, written) == differ


def test_what_one_stage_made_is_what_the_next_one_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)

    def lock(used: str, lists: int) -> dict:
        folder = {"path": "data/lists", "md5": "z.dir", "nfiles": lists}
        evaluate = {"deps": [{"path": "models/weights", "md5": used}, folder]}
        return {"stages": {"train": {"outs": [{"path": "models/weights", "md5": "x"}]}, "evaluate": evaluate}}

    (tmp_path / "data" / "lists").mkdir(parents=True)
    (tmp_path / "data" / "lists" / "clouds.csv").touch()
    workspace = Revision("workspace")
    assert changed_files(lock("x", 2), workspace) == []  # of the two lists, Git ignores one
    assert changed_files(lock("y", 1), workspace) == ["data/lists", "models/weights"]


def test_a_stage_that_never_ran_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    (tmp_path / "dvc.yaml").write_text("stages: {train: {cmd: x}, repeat: {cmd: x}}")
    removed = {"cmd": "x", "params": {"params.yaml": {"gone": 1}}}
    lock = {"stages": {"train": {"cmd": "x"}, "removed": removed}}
    assert changed_since_the_run(Revision("workspace"), lock, {}) == ["stage repeat (never run)"]


def test_a_command_is_the_one_that_ran_once_parameters_are_filled_in():
    stages = {"train": {"cmd": "${runtime.launcher} -m stages\n  train"}}
    lock = {"stages": {"train": {"cmd": "python -m stages train"}}}
    assert changed_commands(lock, stages, {"runtime": {"launcher": "python"}}) == []
    assert changed_commands(lock, stages, {"runtime": {"launcher": "torchrun"}}) == ["stage train (its command)"]
    assert changed_commands(lock, {"train": {"cmd": "python -m stages"}}, {}) == ["stage train (its command)"]


def test_code_that_was_removed_has_changed_and_data_that_git_lacks_has_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    paths = ("stages/train.py", "data/archive", "models/model.safetensors")
    folders = [
        {"path": "landcover", "md5": "x.dir", "nfiles": 2},
        {"path": "data/patches", "md5": "x.dir", "nfiles": 2},
    ]
    deps = [*({"path": path, "md5": "x"} for path in paths), *folders]
    assert changed_files({"stages": {"train": {"deps": deps}}}, Revision("workspace")) == ["landcover", paths[0]]

"""The whole DAG, run by DVC in a clone of the repository, on a small sample."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from itertools import product
from pathlib import Path

import dvc.cli
import pandas as pd
import pytest
import yaml
from dvc.repo import Repo
from tiny import REAL_ARCHIVE, REPOSITORY

from landcover import api, constants
from landcover.errors import InputError
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
    with opened(REPOSITORY) as repo:
        assert repo.reproduce(dry=True, allow_missing=True) == []


@contextmanager
def opened(folder: Path) -> Iterator[Repo]:
    """DVC's repository in a folder, in this process: a process of its own would import DVC each time."""
    with chdir(folder), Repo() as repo:
        yield repo


def environment() -> dict[str, str]:
    """As in a shell, even if `make test` runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.org",
    }  # fmt: skip


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "state")


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """One of this one's files, in which the pipeline ran once on forty patches, and what it made is committed."""
    folder = tmp_path_factory.mktemp("repository")
    writer.write_sample(folder / "small.tar.gz", patches=40)
    (folder / ".gitignore").touch()
    listed = run(REPOSITORY, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        made = name.startswith("reports/") or name in ("dvc.lock", "models/card.md")
        if not made and not name.startswith("tests/") and (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params |= {"dataset": "small", "datasets": {"small": {"source": "small.tar.gz", "split": SMALL}}}
    params["train"]["epochs"] = 2
    params["evaluate"]["resamples"] = 200
    params["runtime"] |= {"device": "cpu", "threads": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    run(folder, "dvc", "repro")
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
        "data/archive", "data/patches/SHA256SUMS", "data/tensors/dataset.json", "data/tensors/index.csv",
        "data/shares.safetensors",
        "reports/report.md", "models/card.md", "models/model.stac.json", "models/applicability.safetensors",
        *(f"models/{name}.safetensors" for name in ("model", "log_probabilities", "seeds", "ensemble")),
        *(f"data/tensors/{split}-00000.safetensors" for split in ("train", "val", "test")),
        *(f"reports/{name}.json" for name in ("data", "baselines", "headline", "metrics", "seeds")),
        *(f"reports/{name}.csv" for name in (
            "history", "predictions", "baseline_predictions", "confusion_matrix", "per_class", "seed_predictions",
            "seed_val_predictions", "label_review")),
        *(f"reports/{name}.png" for name in (
            "confusion_matrix", "confusion_matrix_normalized", "learning_curves",
            "examples", "errors", "places", "purity", "reliability", "shares", "suspects")),
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
    tracked = run(repository, "git", "ls-files").splitlines()
    assert "reports/metrics.json" in tracked
    assert "reports/confusion_matrix.png" in tracked
    assert {"models/card.md", "models/model.stac.json"} <= {*tracked}
    assert "dvc.lock" in tracked
    assert not [
        name
        for name in tracked
        if name.startswith(("data/", "models/"))
        and not name.endswith((".gitignore", "README.md", "card.md", ".stac.json"))
    ]


def test_a_second_run_does_nothing(repository):
    told = run(repository, "make", "repro")
    assert "Running stage" not in told
    assert "\n- logistic regression on band statistics: " in told  # it ends with the result


def test_plots_show_the_curves_the_confusion_and_the_pictures(repository, tmp_path):
    with chdir(repository):
        assert dvc.cli.main(["plots", "show", "--out", str(tmp_path)]) == 0
    page = (tmp_path / "index.html").read_text()
    for part in ("Loss", "Accuracy", "train_loss", "val_accuracy", "errors.png", "max-width"):
        assert part in page
    assert len(list((tmp_path / "static").glob("*.png"))) == 11
    specs = dict(re.findall(r'<div id = "(.*?)">.*?var spec = (.*?);\n', page, re.DOTALL))
    assert "DVC_METRIC" not in page
    matrix = json.loads(specs["reports_confusion_matrix_csv"])
    cells = [(cell["actual"], cell["predicted"]) for cell in matrix["data"]["values"]]
    assert cells == list(product(constants.CLASSES, repeat=2))
    axes = matrix["spec"]["encoding"]
    assert [(axes[name]["field"], axes[name]["sort"]) for name in "xy"] == [("predicted", None), ("actual", None)]
    # From zero: the axis of a rate that does not change would have one label otherwise, "0".
    rate = json.loads(specs["reports_history_csv"])["encoding"]["y"]
    assert (rate["field"], rate["axis"], "scale" in rate) == ("learning_rate", {"format": "~g"}, False)
    for name in ("reports_data_json", "reports_per_class_csv"):
        bars = json.loads(specs[name])
        assert [bar["class"] for bar in bars["data"]["values"]] == list(constants.CLASSES)
        assert bars["encoding"]["y"]["sort"] is None


def test_a_notebook_needs_no_command_line(repository, monkeypatch, capfd):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(repository / "notebooks")
    before = run(repository, "git", "status", "--porcelain")
    assert api.look("small") == repository / "look.png"
    assert "patches    40 of 120 x 120 pixels" in capfd.readouterr().out
    head = run(repository, "git", "rev-parse", "HEAD").strip()
    run(repository, "git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/shorter", head)  # which is replaced
    figures = api.train("shorter", {"train.epochs": 1, "train.flips": True})
    assert figures.keys() == json.loads((repository / "reports/headline.json").read_text()).keys()
    assert api.compare("HEAD", "shorter") == (repository / "comparison.md").read_text()
    assert (api.predict("sample", step=120) / "map.png").is_file()
    with pytest.raises(InputError, match=r"train\.optimizer = 'adamm': Input should be "):
        api.train("mistyped", {"train.optimizer": "adamm"})
    assert run(repository, "git", "status", "--porcelain") == before


def test_the_data_can_be_pushed_and_pulled_elsewhere(repository, tmp_path):
    copy = tmp_path / "copy"
    run(tmp_path, "git", "clone", "--quiet", str(repository), str(copy))
    for folder in (repository, copy):
        (folder / ".dvc" / "config.local").write_text(f"['remote \"storage\"']\n    url = {tmp_path / 'storage'}\n")
    with opened(repository) as repo:
        repo.push(remote="storage")
    with opened(copy) as repo:
        repo.pull(remote="storage")
    for name in ("models/model.safetensors", "data/archive", "data/tensors/train-00000.safetensors"):
        assert (copy / name).read_bytes() == (repository / name).read_bytes()
    # The tiles are not stored beside their archive: they are unpacked again, to the same bytes, and nothing else runs.
    assert re.findall("Running stage '(.*)'", run(copy, "dvc", "repro")) == ["unpack"]
    with opened(copy) as repo:
        assert repo.status() == {}
    assert run(copy, "git", "status", "--porcelain") == ""


@pytest.mark.skipif(not REAL_ARCHIVE.is_file(), reason=f"{REAL_ARCHIVE.name}, 36 real patches, is not on this machine")
def test_real_patches_pass_through(tmp_path, in_turn):
    split = {"method": "place", "val": 0.2, "test": 0.2, "seed": 0}
    params = {"dataset": "real", "datasets": {"real": {"source": str(REAL_ARCHIVE), "split": split}}}
    commands = (STAGES[stage]["cmd"].partition(" -m ")[2] for stage in ("download", "unpack", "preprocess"))
    done = in_turn(*commands, params=params)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "reports/data.json").read_text())
    assert sum(data["patches"].values()) == 36
    assert data["dropped"] == {}
    assert data["leakage"]["test"]["touching"]["patches"] == 0
    assert 0.1 < data["bands"]["train"]["B08"]["p50"] < 0.4  # green land in the near infrared

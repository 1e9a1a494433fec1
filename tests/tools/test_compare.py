"""Compare two states of a real Git repository, whose reports a test writes by hand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny import REPOSITORY

from landcover.ground import benge
from landcover.judgement import metrics
from landcover.judgement.leakage import NEARNESS
from landcover.pages import plots
from landcover.pages.comparison import PICTURES

CLASSES = np.array(benge.CLASSES)
LABELS = np.array([0, 2, 3] * 50)
RIGHT = LABELS.copy()


def wrong(count: int, start: int = 0) -> np.ndarray:
    """Predictions of which `count` in a row are wrong."""
    predictions = LABELS.copy()
    predictions[start : start + count] = 7
    return predictions


class Repository:
    def __init__(self, folder: Path, params: dict):
        self.folder, self.params = folder, params
        self.git("init", "--quiet", "--initial-branch", "main")
        (folder / ".gitignore").write_text("/comparison*\n")

    def git(self, *arguments: str) -> str:
        identity = {
            f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=os.environ | identity, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def write(self, predictions: np.ndarray, *, labels=LABELS, touching=0.0, seeds=(), colour="red", **params) -> None:
        """The files that compare reads, of a run with these predictions."""
        reports = self.folder / "reports"
        reports.mkdir(exist_ok=True)
        ids = [f"S2A_MSIL2A_20170613T101031_{i}_1" for i in range(len(labels))]
        data = {
            "patches": {"test": len(labels)},
            "membership_sha256": {"train": "a", "test": f"{len(labels)} patches"},
            "labels_sha256": {"train": "a", "test": "".join(map(str, labels))},
            "leakage": {"test": {what: {"patches": 0, "share": touching} for what in NEARNESS}},
        }
        (reports / "data.json").write_text(json.dumps(data))
        log_probabilities = np.log(np.where(np.eye(11)[predictions] > 0, 0.9, 0.01))
        scores = {
            "test": metrics.summary(labels, log_probabilities, resamples=100, seed=0),
            "model": {"parameters": 1000, "epochs": 30},
        }
        (reports / "metrics.json").write_text(json.dumps(scores))
        table = {"patch_id": ids, "actual": CLASSES[labels], "predicted": CLASSES[predictions]}
        fractions = np.linspace(0.3, 1, len(labels))
        pd.DataFrame(table | {"confidence": 0.9, "p_actual": 0.5, "majority_fraction": fractions}).to_csv(
            reports / "predictions.csv", index=False
        )
        columns = {"patch_id": ids, "actual": CLASSES[labels]}
        repeated = [pd.DataFrame({"seed": i, **columns, "predicted": CLASSES[p]}) for i, p in enumerate(seeds)]
        repeated = pd.concat([pd.DataFrame(columns=["seed", *columns, "predicted"]), *repeated])
        repeated.to_csv(reports / "seed_predictions.csv", index=False)
        from matplotlib.figure import Figure

        for name in PICTURES:
            plots.save(Figure(figsize=(1, 1), facecolor=colour), reports / name)
        changed = {key: self.params[key] | value for key, value in params.items()}
        evaluate = {"evaluate": self.params["evaluate"] | {"resamples": 1000}}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params | changed | evaluate))
        ran = {"params.yaml": {"train": (self.params | changed)["train"], "runtime.threads": 2}}
        stages = {"train": {"params": ran}, "report": {"outs": "same"}}
        (self.folder / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "state")
        return self.git("rev-parse", "HEAD")

    def compare(self, *arguments: str, expect: int = 0) -> str:
        """Run it, and return the page, or the message if there is none."""
        page = self.folder / "comparison.md"
        page.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "tools", "compare", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == expect, done.stderr
        # Tables are padded for people who read the source.
        return re.sub(" +", " ", page.read_text()) if page.is_file() else done.stderr


@pytest.fixture
def repository(tmp_path, default_params) -> Repository:
    """A repository whose main branch is right on 100 of 150 patches."""
    found = Repository(tmp_path, default_params)
    found.write(wrong(50))
    found.commit()
    return found


def test_equal_revisions_show_no_difference(repository):
    repository.commit()
    page = repository.compare("--base", "HEAD~1", "--head", "HEAD", "--fail-on-regression")
    assert page.startswith("**No difference**: every prediction is the same.")
    assert "No parameter." in page
    assert "Stages that reran: none." in page


def test_a_better_experiment_is_called_better_with_all_that_changed(repository):
    repository.write(wrong(20), train={"learning_rate": 0.001}, colour="blue")
    page = repository.compare("--fail-on-regression")
    assert page.startswith("**Better**: accuracy +20.0 points (+")
    assert "McNemar's exact test, p < 0.001" in page.splitlines()[0]
    assert "| accuracy | 0.667 | 0.867 | +0.200 | +0.1" in page
    assert "| `train.learning_rate` | `0.0001` | `0.001` |" in page
    assert "Stages that reran: train." in page
    assert "| tree cover | 50 |" in page
    assert "## Fixed: 30 patches" in page
    assert "## Broken: 0 patches\n\nNone." in page
    assert "| below 50% | 43 | 0 | 23 | 23 | 0 |" in page


def test_pictures_are_of_both_revisions(repository):
    before = (repository.folder / "reports" / "errors.png").read_bytes()
    repository.write(wrong(20), colour="blue")
    page = repository.compare()
    pictures = repository.folder / "comparison"
    assert (pictures / "before_errors.png").read_bytes() == before
    assert (pictures / "after_errors.png").read_bytes() == (repository.folder / "reports" / "errors.png").read_bytes()
    assert before != (pictures / "after_errors.png").read_bytes()
    for link in ("comparison/before_errors.png", "comparison/after_errors.png", "comparison/confusion_difference.png"):
        assert f"]({link})" in page
        assert (repository.folder / link).is_file()


def test_a_small_change_is_within_noise(repository):
    repository.write(wrong(52))
    page = repository.compare("--fail-on-regression")
    assert page.startswith("**Within noise**: accuracy -1.3 points (")


def test_only_a_significant_loss_fails_the_gate(repository):
    repository.write(wrong(80))
    assert repository.compare("--fail-on-regression", expect=3).startswith("**Worse**: accuracy -20.0 points")
    assert repository.compare().startswith("**Worse**")


def test_grown_leakage_fails_the_gate(repository):
    repository.write(wrong(20), touching=0.25)
    page = repository.compare("--fail-on-regression", expect=3)
    assert page.startswith("**Better**")
    assert "> **Leakage grew**: test patches with a train patch on the same ground: 0.0% before, 25.0% after" in page


@pytest.mark.parametrize("change", ["labels", "patches"])
def test_other_test_splits_get_no_verdict(repository, change):
    labels = np.roll(LABELS, 1) if change == "labels" else LABELS[:140]
    repository.write(labels, labels=labels)
    page = repository.compare(expect=4)
    assert page.startswith("**Not comparable**: the test splits")
    assert "So there is no verdict." in page
    for word in ("Better", "Worse", "Within noise", "McNemar"):
        assert word not in page


def test_parameters_that_did_not_run_are_told(repository):
    assert "Not what ran" not in repository.compare("--base", "HEAD")
    params = yaml.safe_load((repository.folder / "params.yaml").read_text())
    params["train"]["epochs"] = 99
    params["dataset"] = "tracked by no stage of this lock"
    (repository.folder / "params.yaml").write_text(yaml.safe_dump(params))
    page = repository.compare("--base", "HEAD")
    short = repository.git("rev-parse", "--short=7", "HEAD")
    assert (
        f"> **Not what ran**: in the workspace on {short}, `train.epochs` changed after the run; run `dvc repro`."
        in page
    )


def test_seeds_on_both_sides_are_part_of_the_verdict(repository):
    repository.write(wrong(50), seeds=[wrong(30), wrong(50), wrong(70)])
    repository.commit()
    repository.write(wrong(20), seeds=[wrong(20), wrong(45), wrong(67)])
    first = repository.compare().splitlines()[0]
    assert first.startswith("**Within noise**: accuracy +4.0 points (")
    assert "means over 3 seeds before and 3 after" in first
    page = repository.compare()
    assert "| 0 | 0.800 | 0.867 | +0.067 |" in page
    assert "| **mean** | 0.667 | 0.707 | +0.040 |" in page
    assert "| standard deviation | 0.133 | 0.157 | 0.024 |" in page
    assert "| **accuracy, mean over seeds** | 0.667 | 0.707 | +0.040 |" in page
    repository.write(wrong(50), seeds=[wrong(48), wrong(50), wrong(52)])
    repository.commit()
    repository.write(wrong(20), seeds=[wrong(10), wrong(11), wrong(12)])
    assert repository.compare().startswith("**Better**")


def test_seeds_on_one_side_alone_are_not_used(repository):
    repository.write(wrong(20), seeds=[wrong(1), wrong(2)])
    page = repository.compare("--base", "HEAD")
    assert "McNemar" in page.splitlines()[0]
    short = repository.git("rev-parse", "--short=7", "HEAD")
    assert f"There are no repetitions over seeds in HEAD ({short}), so the verdict knows nothing of luck" in page


def test_equal_revisions_with_seeds_show_no_difference(repository):
    repository.write(wrong(50), seeds=[wrong(30), wrong(50)])
    repository.commit()
    page = repository.compare("--base", "HEAD")
    assert page.startswith("**No difference**: every prediction is the same.")
    assert "luck" not in page


def test_the_base_is_where_the_branch_left_main(repository):
    base = repository.git("rev-parse", "HEAD")
    repository.git("checkout", "--quiet", "-b", "experiment")
    repository.write(wrong(20))
    repository.commit()
    repository.git("checkout", "--quiet", "main")
    repository.write(wrong(0))
    repository.commit()
    repository.git("checkout", "--quiet", "experiment")
    page = repository.compare()
    assert f"Base: {base[:7]}." in page
    assert page.startswith("**Better**: accuracy +20.0")


def test_bad_revisions_and_missing_files_are_one_clear_line(repository):
    message = repository.compare("--base", "nonsense", expect=1)
    assert message == "error: no revision or experiment 'nonsense'; see git log --oneline and dvc exp show\n"
    (repository.folder / "reports" / "metrics.json").unlink()
    message = repository.compare("--base", "HEAD", expect=1)
    short = repository.git("rev-parse", "--short=7", "HEAD")
    missing = f"the workspace on {short} has no reports/metrics.json; run dvc repro there and commit what it makes"
    assert message == f"error: {missing}\n"
    assert "ends in .md" in repository.compare("--output", "page.html", expect=1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reports/predictions.csv", "garbage"),
        ("reports/predictions.csv", "patch_id,actual,predicted,majority_fraction\na,tree_cover,,1\n"),
        ("reports/data.json", "{}"),
        ("reports/data.json", "[]"),
        ("reports/data.json", "{"),
        ("reports/metrics.json", "{}"),
        ("reports/seed_predictions.csv", "garbage\n1\n"),
        (
            "reports/seed_predictions.csv",
            "seed,patch_id,actual,predicted\n1,a,tree_cover,tree_cover\n2,b,tree_cover,x\n",
        ),
        ("dvc.lock", ""),
        ("params.yaml", ""),
        ("params.yaml", "evaluate: {resamples: 5, seed: 0}"),
    ],
)
def test_broken_reports_are_one_clear_line(repository, name, content):
    (repository.folder / name).write_text(content)
    message = repository.compare("--base", "HEAD", expect=1)
    assert message.startswith("error: ")
    assert message.count("\n") == 1


def test_of_experiments_of_one_name_the_newest_is_meant(repository):
    for i, errors in enumerate((70, 20)):
        repository.write(wrong(errors))
        os.environ["GIT_COMMITTER_DATE"] = f"2026-01-0{i + 1}T00:00:00"
        try:
            commit = repository.commit()
        finally:
            del os.environ["GIT_COMMITTER_DATE"]
        repository.git("update-ref", f"refs/exps/{i}{i}/0000/mine", commit)
    page = repository.compare("--base", "HEAD~2", "--head", "mine")
    assert page.startswith("**Better**: accuracy +20.0")
    assert "no revision or experiment '*'" in repository.compare("--base", "*", expect=1)


def test_the_difference_of_confusion_matrices_is_blue_where_it_is_good():
    before, after = np.array([[3, 2], [1, 4]]), np.array([[5, 0], [2, 3]])
    axes = plots.confusion_difference(before, after, ["a", "b"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["+2", "-2", "+1", "-1"]
    gain = axes.images[0].get_array()
    assert (gain[0] > 0).all()
    assert (gain[1] < 0).all()

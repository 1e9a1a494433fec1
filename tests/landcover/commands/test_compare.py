"""Compare two states of a real Git repository, whose reports a test writes by hand, and two tables of predictions."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from tiny import REPOSITORY, merged

from landcover import cli, constants
from landcover.commands import compare
from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.errors import InputError
from landcover.evaluation import results
from landcover.evaluation.comparison import tango
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import tabulate
from landcover.evaluation.reports import NEARNESS
from landcover.evaluation.staleness import md5_of_folder
from landcover.report import plots
from landcover.report.comparison import CURVES, PICTURES

CLASSES = np.array(constants.CLASSES)
LABELS = np.array([0, 2, 3] * 50)
UNKNOWN = np.full(len(LABELS), np.nan)
LIKELIHOOD = "negative log-likelihood"


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
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def write(
        self, predictions: np.ndarray, *, labels=LABELS, sure=0.9, lat=UNKNOWN, statistics=None,
        touching=0.0, seeds=(), folds=None, colour="red", synthetic=True, **params,
    ) -> None:  # fmt: skip
        """The files that compare reads, of a run with these predictions, each of which has the probability `sure`.

        Args:
            lat: of the patches, all of which lie at 10 degrees east.
            folds: of the patches, in which the networks of `seeds` were tested.
            statistics: what the second baseline predicts; by default it is less often right than the main branch.
        """
        reports = self.folder / "reports"
        reports.mkdir(exist_ok=True)
        count = len(labels)
        ids = np.array([f"S2A_MSIL2A_20170613T101031_{i}_1" for i in range(count)])
        split = Split(np.empty(0), labels, [], list(CLASSES), {})
        index = Index(ids, np.linspace(0.3, 1, count), np.where(np.isnan(lat), np.nan, 10)[:count], lat[:count])

        def table(predictions: np.ndarray) -> pd.DataFrame:
            return tabulate(split, index, np.log(np.where(np.eye(11)[predictions] > 0, sure, (1 - sure) / 10)))

        data = {
            "patches": {"test": len(labels)},
            "membership_sha256": {"train": "a", "test": f"{len(labels)} patches"},
            "labels_sha256": {"train": "a", "test": "".join(map(str, labels))},
            "leakage": {"test": {what: {"patches": 0, "share": touching} for what in NEARNESS}},
            "synthetic": synthetic,
        }
        (reports / "data.json").write_text(json.dumps(data))
        single = table(predictions)
        model = {"parameters": 1000, "epochs": 30}
        scores = {"test": results.of_run(single, resamples=100, seed=0), "model": model}
        (reports / "metrics.json").write_text(json.dumps(scores))
        single.to_csv(reports / "predictions.csv", index=False)
        repeated = [
            table(one).assign(seed=seed, fold=folds).reindex(columns=results.SEED_COLUMNS)
            for seed, one in enumerate(seeds)
        ]
        repeated = pd.concat(repeated) if repeated else pd.DataFrame(columns=results.SEED_COLUMNS)
        repeated.to_csv(reports / "seed_predictions.csv", index=False)
        statistics = np.where(np.arange(count) < 60, 7, labels) if statistics is None else statistics
        baselines = single[["patch_id", "actual"]].assign(majority=CLASSES[0], band_statistics=CLASSES[statistics])
        for name in ("baseline_predictions", "fold_baseline_predictions"):
            baselines.assign(texture=CLASSES[0]).to_csv(reports / f"{name}.csv", index=False)
        for name in PICTURES:
            plots.save(Figure(figsize=(1, 1), facecolor=colour), reports / name, synthetic=False)
        changed = merged(self.params, params) | {"runtime": self.params["runtime"]}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(changed))
        self.lock()

    def lock(self) -> None:
        """Note in dvc.lock that the stages ran with the parameters and made the reports as they are."""
        params = yaml.safe_load((self.folder / "params.yaml").read_text())
        ran = {key: {"params.yaml": {key: params[key]}} for key in ("datasets", "train")}
        (self.folder / "code").mkdir(exist_ok=True)
        (self.folder / "code" / "model.py").write_text("width = 8\n")
        (self.folder / "loop.py").write_text("epochs = 1\n")
        code = {"path": "code", "md5": md5_of_folder({"model.py": b"width = 8\n"}), "nfiles": 1}
        outs = [{"path": "models/weights", "md5": "of a file that Git does not have"}]
        outs += [self.entry(f"reports/{path.name}") for path in sorted((self.folder / "reports").iterdir())]
        stages = {
            "choose": {"params": ran["datasets"]},
            "train": {"params": ran["train"], "deps": [code, self.entry("loop.py")], "outs": outs},
        }
        commands = {name: {"cmd": f"run {name}"} for name in [*stages, "report"]}
        ran = {name: command | stages.get(name, {}) for name, command in commands.items()}
        (self.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": commands}))
        (self.folder / "dvc.lock").write_text(yaml.safe_dump({"stages": ran | {"removed": {"cmd": "x"}}}))

    def entry(self, path: str) -> dict[str, str]:
        """What dvc.lock says of a file."""
        return {"path": path, "md5": hashlib.md5((self.folder / path).read_bytes()).hexdigest()}

    def commit(self, message: str = "state") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def run(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess:
        """What `python -m landcover compare` does here, in this process, which has imported its libraries."""
        out, err, code = StringIO(), StringIO(), 0
        with chdir(self.folder), redirect_stdout(out), redirect_stderr(err):
            try:
                cli.guard(lambda: compare.main(list(arguments)))
            except SystemExit as end:
                code = end.code
        message = err.getvalue() if isinstance(code, int) else f"{err.getvalue()}{code}\n"
        code = code if isinstance(code, int) else 1
        assert code == expect, message
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), message)

    def compare(self, *arguments: str, expect: int = 0) -> str:
        """Run it, and return the page, or the message if there is none."""
        page = self.folder / "comparison.md"
        page.unlink(missing_ok=True)
        done = self.run(*arguments, expect=expect)
        return source(page) if page.is_file() else done.stderr

    def figures(self, *arguments: str, expect: int = 0) -> dict:
        """What it prints with --json."""
        return json.loads(self.run("--json", *arguments, expect=expect).stdout)


def source(page: Path) -> str:
    """The page, without the blanks by which tables are padded for people who read the source."""
    return re.sub(" +", " ", page.read_text())


@pytest.fixture
def repository(tmp_path, default_params) -> Repository:
    """A repository whose main branch is right on 100 of 150 patches."""
    result = Repository(tmp_path, default_params)
    result.write(wrong(50))
    result.commit()
    return result


def test_equal_revisions_show_no_difference(repository):
    repository.commit()
    page = repository.compare("--base", "HEAD~1", "--head", "HEAD")
    assert page.startswith("**No difference**: every prediction is the same, on the same 150 test patches.")
    assert "No parameter changed." in page
    assert "Stages that ran again: none." in page
    assert "with several seeds" not in page


def test_a_better_experiment_is_better_with_all_that_changed(repository):
    repository.write(wrong(20), train={"learning_rate": 0.001}, colour="blue")
    page = repository.compare()
    assert "95% interval, p < 0.001, on the same 150 test patches. This verdict is about " in page.splitlines()[0]
    # Thirty patches fixed and none broken: sqrt(30) standard errors of sqrt(30) / 150.
    assert page.splitlines()[2] == (
        "Evidence: the difference is 5.48 times its standard error of 3.7 points; better or worse takes 1.96 times. "
        "That error comes from the 150 patches. Method: Tango's score test for paired proportions (McNemar's test), "
        "normal distribution."
    )
    assert "| accuracy | 0.667 | 0.867 | +0.200 | +0.1" in page
    for metric in ("macro F1", "balanced accuracy", f"{LIKELIHOOD}, lower is better", "Brier score, lower is better"):
        assert re.search(rf"^\| {re.escape(metric)} \|.*\| better \|$", page, re.MULTILINE), metric
    assert "repeat.folds=5" in page  # how to compare the configurations
    assert "| `train.learning_rate` | `0.0001` | `0.001` |" in page
    assert "Stages that ran again: train." in page
    assert "| class | tree cover | 50 | 10 | 0 | +20.0 points (+11." in page
    assert "| purity | below 50% | 43 | 23 | 0 | +53.5 points (" in page
    assert "## Fixed: 30 patches" in page
    assert "## Broken: 0 patches\n\nNone." in page


@pytest.mark.parametrize("labels", [LABELS, LABELS[:140]], ids=["comparable", "not comparable"])
def test_synthetic_data_is_named_under_the_verdict(repository, labels):
    code = 0 if labels is LABELS else 4
    message = "> **The data is synthetic.**"
    repository.write(labels, labels=labels)
    assert repository.compare(expect=code).split("\n\n")[2 if code == 0 else 1].startswith(message)
    repository.write(labels, labels=labels, synthetic=False)
    assert message in repository.compare(expect=code)  # one side is
    repository.commit()
    assert message not in repository.compare("--base", "HEAD")


def test_pictures_are_of_both_revisions(repository):
    before = (repository.folder / "reports" / "errors.png").read_bytes()
    repository.write(wrong(20), colour="blue")
    page = repository.compare()
    pictures = repository.folder / "comparison"
    assert (pictures / "before_errors.png").read_bytes() == before
    assert (pictures / "after_errors.png").read_bytes() == (repository.folder / "reports" / "errors.png").read_bytes()
    assert before != (pictures / "after_errors.png").read_bytes()
    assert (pictures / "confusion_difference.png").is_file()
    order = ("(comparison/confusion_difference.png)", "## Fixed", "(comparison/before_reliability", "before_errors")
    assert sorted(order, key=page.index) == list(order)
    assert re.search(r"^\| !\[Reliability before\]\(.*\) \| !\[Reliability after\]\(.*\) \|$", page, re.MULTILINE)
    assert "\n\n![Most confident errors before](" in page  # too wide to stand side by side

    # Curves are drawn on the same axes, if both sides have them.
    history = pd.DataFrame({name: [1.0, 2.0] for name in CURVES})
    history.to_csv(repository.folder / "reports" / "history.csv", index=False)
    assert "learning_curves.png" not in repository.compare("--base", "HEAD")
    repository.commit()
    assert "![Learning curves before and after](comparison/learning_curves.png)" in repository.compare("--base", "HEAD")
    assert (pictures / "learning_curves.png").is_file()


def test_the_gate_has_the_first_word_and_fails_on_a_loss_or_on_grown_leakage(repository):
    repository.write(wrong(52))
    page = repository.compare("--gate")
    assert page.startswith("**Gate: passed**, accuracy undecided: a loss of up to ")
    assert page.split("\n\n")[1].startswith("Negative log-likelihood undecided: a loss of up to ")
    assert page.split("\n\n")[2].startswith("**Undecided**: accuracy -1.3 points (")
    assert repository.compare().startswith("**Undecided**")
    failed = repository.run("--gate", "--strict", expect=3).stdout.splitlines()[0]
    assert re.fullmatch("Gate: failed, accuracy undecided: .*; negative log-likelihood undecided: .* out.", failed)
    repository.write(wrong(80))
    assert repository.compare("--gate", expect=3).startswith(f"**Gate: failed**, accuracy worse; {LIKELIHOOD} worse.")
    repository.write(wrong(20), touching=0.25)
    page = repository.compare("--gate", expect=3)
    leak = "on the same ground: 0.0% before, 25.0% after"
    assert page.startswith(f"**Gate: failed**, leakage grew ({leak} and 4 more).\n\nAccuracy better.")
    assert f"> **Leakage grew**: share of test patches with a train patch {leak}" in page


@pytest.mark.parametrize(("errors", "word"), [(50, "equivalent within the tolerance of 3 points"), (38, "better")])
def test_a_loss_of_likelihood_fails_the_gate_whatever_metric_decides(repository, errors, word):
    """What is wrong is now wrong with more confidence."""
    repository.write(wrong(errors), sure=0.9999)
    done = repository.run("--gate", "--json", "--output", "comparison.md", expect=3)
    page, fields = source(repository.folder / "comparison.md"), json.loads(done.stdout)
    assert page.startswith(f"**Gate: failed**, {LIKELIHOOD} worse.\n\nAccuracy {word}.\n\n")
    assert fields["losses"] == ["nll"]
    assert fields["gate"] == {"passed": False, "reason": f"{LIKELIHOOD} worse", "notes": [f"accuracy {word}"]}


def test_a_regression_is_accepted_by_a_trailer_in_a_commit(repository):
    repository.write(wrong(80), touching=0.25)
    repository.commit("Cleaner labels\n\nThey cost accuracy.\n\nAccept-Regression: the labels are cleaner")
    between = ("--base", "HEAD~1", "--head", "HEAD", "--gate")
    page = repository.compare(*between)
    assert page.startswith("**Gate: passed**, accepted: accuracy worse; negative log-likelihood worse; leakage grew (")
    assert page.splitlines()[0].endswith(" and 4 more) (the labels are cleaner).")
    # It is of its own commits, and does not excuse what is stale.
    repository.write(wrong(140))
    assert repository.compare("--base", "HEAD", "--gate", expect=3).startswith("**Gate: failed**, accuracy worse")
    (repository.folder / "loop.py").write_text("epochs = 2\n")
    assert repository.compare("--base", "HEAD~1", "--gate", expect=3).startswith("**Gate: failed**, stale: in the work")


def test_the_heads_parameters_name_the_decisive_metric(repository):
    repository.write(wrong(38), sure=0.9999, evaluate={"verdict": "nll"})
    first = repository.compare().splitlines()[0]
    assert first.startswith(f"**Worse**: {LIKELIHOOD} +1.")
    assert " nats (" in first
    assert repository.compare("--verdict", "accuracy").startswith("**Better**: accuracy +8.0 points (")
    repository.commit()
    repository.write(wrong(60), evaluate={"verdict": "macro_f1"})
    assert repository.figures()["metric"] == "macro_f1"
    assert repository.figures("--head", "HEAD", "--base", "HEAD~1")["metric"] == "nll"


def test_a_change_of_the_tolerance_is_told_by_the_gate(repository):
    repository.write(wrong(50), evaluate={"tolerance": {"accuracy": 0.03}})
    repository.commit()
    repository.write(wrong(45), evaluate={"tolerance": {"accuracy": 0.2}})
    page = repository.compare("--base", "HEAD", "--gate")
    assert "The tolerance is another one than before: {'accuracy': 0.2}, not {'accuracy': 0.03}." in page
    repository.write(wrong(45), evaluate={"tolerance": {"accuracy": 3}})
    done = repository.run("--base", "HEAD", expect=1)
    assert "evaluate.tolerance.accuracy = 3: must be a share below 1; write 0.03 for 3 points" in done.stderr


def test_a_side_that_is_worse_than_its_baselines_is_named(repository):
    assert "Worse than baselines" not in repository.compare("--base", "HEAD")
    repository.write(wrong(20), statistics=LABELS)
    page = repository.compare()
    assert page.startswith("**Better**")
    assert "> **Worse than baselines that need no network**: logistic regression on band statistics." in page
    rows = page.partition("### Compared with the baselines\n\n")[2].split("\n\n")[0].splitlines()
    assert rows[0] == "| accuracy compared with | before | after |"
    assert rows[2].startswith("| majority class | better: +33.3 points (")
    assert re.match(r"\| logistic .* \| better: \+6.7 points \(.*\) \| worse: -13.3 points \(.*\) \|$", rows[3])
    result = repository.figures()["baselines"]
    assert [result[when]["band_statistics"]["verdict"] for when in ("before", "after")] == ["better", "worse"]

    # The other way round it is the side before that is worse, which is no fault of the head.
    repository.commit()
    repository.write(wrong(0))
    page = repository.compare("--base", "HEAD")
    assert "Worse than baselines" not in page
    assert "| worse: -13.3 points (" in page


def test_patches_in_fewer_places_give_wider_intervals(repository):
    def compare_in(places: int) -> str:
        """The page for the same predictions of patches in so many places."""
        lat = np.arange(150) * places // 150 - 75.0  # in each place, all patches are right or all are wrong
        repository.write(wrong(50), lat=lat)
        repository.commit()
        repository.write(wrong(30), lat=lat)
        return repository.compare("--base", "HEAD")

    page = compare_in(150)
    low, high = (f"{100 * limit:+.1f}" for limit in tango(20, 0, 150))
    assert page.startswith(f"**Better**: accuracy +13.3 points ({low} to {high})")
    assert "on the same 150 test patches in 150 places." in page.splitlines()[0]
    page = compare_in(15)
    assert page.startswith("**Undecided**: accuracy +13.3 points")
    assert "paired t-test with the cluster-robust variance CR2 over places, 14.0 degrees of freedom" in page
    assert "That error comes from the 15 places." in page
    assert "The test patches lie in" not in page
    assert "> The test patches lie in only 2 places." in compare_in(2)
    assert "> All test patches lie in one place." in compare_in(1)


def test_reports_of_an_older_version_are_compared_by_the_columns_they_have(repository):
    """Without places, Brier scores, chance in the calibration error, the third baseline and probabilities of seeds."""
    repository.write(wrong(50), seeds=[wrong(48), wrong(52)])
    reports = repository.folder / "reports"
    for name, columns in (
        ("predictions", ["brier", "lon", "lat", "rank_actual"]),
        ("seed_predictions", ["p_actual", "brier", "lon", "lat", "rank_actual"]),
        ("baseline_predictions", ["texture"]),
    ):
        path = reports / f"{name}.csv"
        pd.read_csv(path).drop(columns=columns).to_csv(path, index=False)
    scores = json.loads((reports / "metrics.json").read_text())
    del scores["test"]["ece_by_chance"], scores["test"]["brier"]
    (reports / "metrics.json").write_text(json.dumps(scores))
    repository.lock()
    repository.commit()
    repository.write(wrong(20), seeds=[wrong(18), wrong(22)], lat=np.arange(150) / 2)
    page = repository.compare("--base", "HEAD")
    assert page.startswith("**Better**: accuracy +20.0 points")
    assert list(repository.figures("--base", "HEAD")["metrics"]) == ["accuracy", "macro_f1", "balanced_accuracy"]
    assert re.search(r"^\| gradient boosting on texture features \| - \| better: ", page, re.MULTILINE)
    assert re.search(r"^\| before \| 0.[0-9]{3} \| - \| - \|$", page, re.MULTILINE)
    message = repository.run("--base", "HEAD", "--verdict", "nll", expect=1).stderr
    assert message.startswith("error: the verdict by nll needs a column p_actual on both sides")
    assert message.count("\n") == 1


@pytest.mark.parametrize("change", ["labels", "patches"])
def test_other_test_splits_are_compared_by_their_margins_over_a_baseline(repository, change):
    labels = np.roll(LABELS, 1) if change == "labels" else LABELS[:140]
    repository.write(labels, labels=labels)
    page = repository.compare(expect=4)
    assert page.startswith("**Not comparable**: the test splits")
    assert "No verdict is given." in page
    assert re.search(r"^\| logistic .* \| better: \+6.7 points \(.*\) \| better: \+4[0-9.]* points", page, re.MULTILINE)
    over = "logistic regression on band statistics"
    assert re.search(rf"that both have, {over}: \*\*better\*\*, \+3[0-9.]* points \(", page)
    page = repository.compare("--gate")
    assert page.startswith(
        f"**Gate: passed**, margin over {over} better.\n\nNo paired comparison was possible: the test"
    )
    result = repository.figures("--gate")
    assert (result["verdict"], result["comparable"], result["gate"]["passed"]) == (None, False, True)
    assert result["reasons"][0].startswith("the test splits")
    assert "metrics" not in result
    # It does not pass in silence where the network is no longer better than the baseline.
    repository.write(np.where(np.arange(len(labels)) < 100, 7, labels), labels=labels)
    assert repository.compare("--gate", expect=3).startswith(f"**Gate: failed**, margin over {over} worse.")
    result = repository.figures("--gate", expect=3)["margin"]
    assert (result["baseline"], result["verdict"]) == ("band_statistics", "worse")
    assert result["before"] == pytest.approx(10 / 150)
    assert result["after"] == pytest.approx(-40 / len(labels))
    (repository.folder / "reports" / "baseline_predictions.csv").unlink()
    repository.lock()
    assert "and both sides have no baseline in common" in repository.compare("--gate", expect=3).splitlines()[0]


def edit_parameter(folder: Path) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["train"]["epochs"] = 99
    params["datasets"]["ben-ge-800"]["source"] = "https://example.org/moved.tar.gz"  # of a dataset that is not used
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def edit_predictions(folder: Path) -> None:
    table = pd.read_csv(folder / "reports" / "predictions.csv")
    table.assign(predicted=table["actual"]).to_csv(folder / "reports" / "predictions.csv", index=False)


STALE = {
    "a parameter": (edit_parameter, "train.epochs"),
    "predictions": (edit_predictions, "reports/predictions.csv"),
    "code": (lambda folder: (folder / "loop.py").write_text("epochs = 2\n"), "loop.py"),
    "code in a folder": (lambda folder: (folder / "code" / "model.py").write_text("width = 16\n"), "code"),
    "a new module": (lambda folder: (folder / "code" / "new.py").write_text(""), "code"),
}


@pytest.mark.parametrize(("edit", "changed"), STALE.values(), ids=STALE)
def test_what_was_not_run_gets_no_verdict(repository, edit, changed):
    """Neither in the workspace nor in a commit, as of `dvc exp save`."""
    assert repository.compare("--base", "HEAD", "--gate").startswith("**Gate: passed**, every prediction is the same.")
    edit(repository.folder)
    short = repository.git("rev-parse", "--short=7", "HEAD")
    stale = f"in the workspace on {short}, {changed} changed after the run"
    done = repository.run("--base", "HEAD", "--gate", expect=3)
    assert done.stdout.splitlines()[:2] == [
        f"Gate: failed, stale: {stale}; run dvc repro.",
        f"Stale: {stale}. No verdict is given: run `dvc repro` there.",
    ]
    assert repository.compare("--base", "HEAD").startswith(f"**Stale**: {stale}")
    result = repository.figures("--base", "HEAD")
    assert (result["verdict"], result["stale"]) == (None, {"before": [], "after": [changed]})
    commit = repository.commit()
    repository.git("update-ref", "refs/exps/00/0000/mine", commit)
    page = repository.compare("--base", "HEAD~1", "--head", "mine")
    assert page.startswith(f"**Stale**: in mine ({commit[:7]}), {changed} changed after the run.")


def test_seeds_on_both_sides_are_part_of_the_verdict(repository):
    repository.write(wrong(50), seeds=[wrong(30), wrong(50), wrong(70)])
    repository.commit()
    repository.write(wrong(20), seeds=[wrong(20), wrong(45), wrong(67)])
    page = repository.compare()
    first = page.splitlines()[0]
    assert first.startswith("**Undecided**: accuracy +4.0 points (")
    assert "Means over 3 seeds before and 3 seeds after; the interval includes the variation between seeds." in first
    assert "| 0 | 0.800 | 0.867 |" in page
    assert "| **mean** | 0.667 | 0.707 |" in page
    assert "| standard deviation | 0.133 | 0.157 |" in page
    assert "| accuracy | 0.667 | 0.707 | +0.040 |" in page
    assert re.search(
        r"from the 150 patches \(\d+%\) and the 3 seeds before \(\d+%\) and the 3 seeds after \(\d+%\)\.", page
    )
    # A single seed is no repetition: it is the run that counts, and its variance is taken from the other side.
    repository.write(wrong(45), seeds=[wrong(1)])
    page = repository.compare()
    assert page.startswith("**Undecided**: accuracy +3.3 points (")
    assert "Means over 3 seeds before and one run after" in page.splitlines()[0]
    assert "> One side has a single seed." in page
    repository.commit()
    page = repository.compare("--base", "HEAD")
    assert page.startswith("**No difference**: every prediction is the same")
    for caution in ("One side has a single seed", "in folds", "Evidence"):
        assert caution not in page


def test_folds_on_both_sides_describe_all_of_their_patches(repository):
    folds = np.arange(150) // 30 + 1
    known = {"folds": folds, "lat": np.arange(150) // 5 * 1.0}
    repository.write(wrong(50), seeds=[wrong(60)], **known)
    repository.commit()
    repository.write(wrong(50), seeds=[wrong(30)], **known)
    page = repository.compare("--base", "HEAD")
    first = page.splitlines()[0]
    assert ", on the same 150 patches in 30 places, tested in 5 folds." in first
    assert first.endswith("about the configurations on new ground, by 5 networks on each side, not about a model file.")
    assert "| fold | patches | places | before | after |" in page
    assert "| 1 | 30 | 6 | 0.000 | 0.000 |\n| 2 | 30 | 6 | 0.000 | 1.000 |" in page
    assert "Folds of whole places estimate how well a configuration does on new ground" in page
    assert "## Fixed: 30 patches" in page  # of the single runs, none is
    assert "| class | tree cover | 50 | 30 | 10 | 0 |" in page
    assert "| ground | elsewhere, in blocks with fewer than 5 places | 150 |" not in page  # it would be all of them
    assert (repository.folder / "comparison" / "changes.png").is_file()
    assert "> Where the patches lie is not known" not in page
    repository.write(wrong(50), seeds=[wrong(60)], folds=folds)
    repository.commit()
    repository.write(wrong(50), seeds=[wrong(30), wrong(30), wrong(60)], folds=folds)
    page = repository.compare("--base", "HEAD")
    assert page.splitlines()[0].endswith(
        "This verdict is about the configurations, by 5 and 15 networks, not about a model file."
    )
    assert "> Where the patches lie is not known, so neighbours may be in different folds" in page
    assert "| 2 | 30 | 0.000 | 0.667 |" in page
    assert "## Fixed: 30 patches" in page  # by two of three networks
    assert "A patch counts as right if more than half of its networks are right." in page


def test_an_undecided_verdict_says_what_it_takes(repository):
    repository.write(wrong(50, 10))
    page = repository.compare()
    assert page.startswith("**Undecided**")
    rows = page.partition("### What it takes\n\n")[2].splitlines()[2:7]
    assert rows[0] == "| to detect | patches, with 1 seed on each side |"
    assert [row.split("|")[1] for row in rows[2:]] == [" 3 points ", " 5 points ", " 10 points "]
    repository.write(wrong(0))
    assert "### What it takes" not in repository.compare()


def test_a_plan_from_one_run_says_what_a_comparison_with_it_can_tell(repository):
    plan = repository.run("--plan", "--head", "HEAD").stdout
    # Ten patches differ from the closest baseline: 1.960 + 0.842 standard errors of sqrt(10) / 150.
    assert "- on this test split, 5.9 points\n" in plan
    # With the four degrees of freedom of five folds: 2.776 + 0.941 standard errors.
    assert "- in 5 folds, which test all 150 patches, 7.8 points (`dvc exp run -S repeat.folds=5`)" in plan
    assert "the baseline closest in accuracy, logistic regression on band statistics." in plan
    assert "A single run does not show how much networks vary" in plan
    repository.write(wrong(50), seeds=[wrong(50)], folds=np.arange(150) // 30 + 1, lat=np.arange(150) // 5 * 1.0)
    plan = repository.run("--plan").stdout
    assert "150 test patches in 30 places, one seed, in 5 folds.\n" in plan
    assert "- in these 5 folds, " in plan
    assert "| places, with 1 seed on each side |" in re.sub(" +", " ", plan)


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


def test_a_shallow_clone_and_a_folder_without_git_are_told_as_such(repository, tmp_path):
    repository.git("checkout", "--quiet", "-b", "experiment")
    repository.commit()
    clone = Repository.__new__(Repository)
    clone.folder = tmp_path / "clone"
    repository.git("clone", "--quiet", "--depth", "1", f"file://{repository.folder}", str(clone.folder))
    repository.git("-C", "clone", "remote", "set-head", "origin", "--delete")
    told = "in this clone, which is shallow; fetch the whole history and all branches, by git fetch --unshallow origin "
    assert told in clone.compare(expect=1)
    assert f"error: no revision or experiment 'main' {told}" in clone.compare("--base", "main", expect=1)
    shutil.rmtree(clone.folder / ".git")
    with mock.patch.dict(os.environ, GIT_CEILING_DIRECTORIES=str(tmp_path)):
        message = clone.compare(expect=1)
    assert message == (
        "error: this folder is not in a Git repository, as a ZIP from GitHub is not; git clone the project\n"
    )


def test_compare_reports_missing_revision_and_file(repository):
    message = repository.compare("--base", "nonsense", expect=1)
    assert message == "error: no revision or experiment 'nonsense'; choose from workspace, HEAD, main, or a commit\n"
    assert "no revision or experiment '*'" in repository.compare("--base", "*", expect=1)
    (repository.folder / "reports" / "metrics.json").unlink()
    short = repository.git("rev-parse", "--short=7", "HEAD")
    missing = f"the workspace on {short} has no reports/metrics.json; run dvc repro there and commit the result"
    assert repository.compare("--base", "HEAD", expect=1) == f"error: {missing}\n"
    assert "ending in .md" in repository.compare("--output", "page.html", expect=1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reports/predictions.csv", "garbage"),
        ("reports/data.json", "[]"),
        ("reports/data.json", "{"),
        ("reports/metrics.json", "{}"),
        ("reports/seed_predictions.csv", "seed,patch_id,actual,predicted\n1,a,tree_cover,x\n2,b,tree_cover,x\n"),
        ("dvc.lock", ""),
        ("params.yaml", "evaluate: {resamples: 5, seed: 0}"),
        ("params.yaml", "evaluate: {resamples: 1000, seed: 0, verdict: luck}"),
        ("reports/baseline_predictions.csv", "patch_id,actual,majority\na,tree_cover,x\nb,tree_cover,x\n"),
    ],
)
def test_broken_reports_are_one_clear_line(repository, name, content):
    (repository.folder / name).write_text(content)
    message = repository.compare("--base", "HEAD", expect=1)
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert "the workspace on " in message or name.removeprefix("reports/") in message


def test_all_figures_are_printed_as_json(repository):
    repository.write(wrong(20), touching=0.25)
    result = repository.figures()
    facts = {"verdict": "better", "comparable": True, "metric": "accuracy", "scope": "two runs", "patches": 150}
    facts |= {"places": None, "seeds": {"before": 1, "after": 1}, "losses": [], "reasons": []}
    assert result.items() >= facts.items()
    assert list(result["metrics"]) == [name for name in METRICS if name not in ("cross_entropy", "rmse")]  # of shares
    for one in result["metrics"].values():
        assert list(one) == [
            "before", "after", "difference", "low", "high", "p", "verdict", "tolerance",
            "metric", "method", "standard_error", "degrees_of_freedom", "components",
        ]  # fmt: skip
    assert list(result["baselines"]["after"]) == ["majority", "band_statistics", "texture"]
    assert result["grown_leakage"][0] == "on the same ground: 0.0% before, 25.0% after"
    assert result["stale"] == {"before": [], "after": []}
    assert result["gate"]["passed"] is False
    assert not (repository.folder / "comparison.md").exists()
    assert repository.figures("--output", "page.md") == result
    assert (repository.folder / "page.md").read_text().startswith("**Better**")


def test_of_experiments_of_one_name_the_newest_is_meant(repository, monkeypatch):
    for i, errors in enumerate((70, 20)):
        repository.write(wrong(errors))
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2026-01-0{i + 1}T00:00:00")
        commit = repository.commit()
        repository.git("update-ref", f"refs/exps/{i}{i}/0000/mine", commit)
    page = repository.compare("--base", "HEAD~2", "--head", "mine")
    assert page.startswith("**Better**: accuracy +20.0")


# -- two tables of predictions, of any models

NAMES = np.array(["oak", "fir", "no tree"])
TRUTH = np.array([0, 1, 2] * 50)


def mistaken(count: int) -> np.ndarray:
    return np.where(np.arange(150) < count, (TRUTH + 1) % 3, TRUTH)


def a_table(*predicted: np.ndarray, **columns) -> pd.DataFrame:
    """A row a patch, in no order; of several predictions, a row a patch and seed."""
    facts = {"patch_id": [f"{i:03}" for i in range(150)], "actual": NAMES[TRUTH]}
    parts = [pd.DataFrame(facts | {"predicted": NAMES[one], "seed": 10 + i}) for i, one in enumerate(predicted)]
    result = pd.concat(parts).assign(**columns).sample(frac=1, random_state=len(predicted))
    return result if len(predicted) > 1 else result.drop(columns="seed")


def likely(predicted: np.ndarray, sure: float) -> np.ndarray:
    return np.where(predicted == TRUTH, sure, (1 - sure) / 2)


GOOD = a_table(mistaken(50))


@pytest.fixture
def run_tables(tmp_path, monkeypatch, capsys):
    """Compare two tables in an empty folder that is no repository: the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(before: pd.DataFrame, after: pd.DataFrame, *arguments: str) -> tuple[int, str, str]:
        before.to_csv("a.csv", index=False)
        after.to_csv("b.csv", index=False)
        code = 0
        try:
            compare.main(["--base", "a.csv", "--head", "b.csv", *arguments])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_folds_may_stand_in_either_table(run_tables, tmp_path):
    before, after = a_table(mistaken(50)), a_table(mistaken(20))
    folded = {"fold": np.arange(150) % 5 + 1, "place": np.arange(150) % 25}
    pages = []
    for sides in ((before.assign(**folded), after), (before, after.assign(**folded))):
        assert run_tables(*sides)[0] == 0
        pages.append(source(tmp_path / "comparison.md"))
    assert pages[0] == pages[1]
    assert "on the same 150 patches in 25 places, tested in 5 folds" in pages[0].splitlines()[0]
    assert "| 5 | 30 | 5 |" in pages[0]


def test_two_tables_are_compared_on_a_page(run_tables, tmp_path):
    code, out, err = run_tables(a_table(mistaken(50)), a_table(mistaken(20)))
    page = source(tmp_path / "comparison.md")
    first = page.splitlines()[0]
    assert first.startswith("**Better**: accuracy +20.0 points (")
    assert "p < 0.001, on the same 150 test patches. This verdict is about these two runs" in first
    assert (code, out) == (0, f"{first.replace('**', '')}\n{page.splitlines()[2]}\n")
    assert err.endswith("comparison.md\n")
    assert "Before: a.csv. After: b.csv." in page
    assert "| accuracy | 0.667 | 0.867 | +0.200 |" in page
    assert "likelihood" not in page
    assert "| oak | 50 | 0.667 | " in page
    assert "by seed" not in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "comparison.md"]  # no pictures


def test_tables_of_several_seeds_are_compared_by_their_means(run_tables, tmp_path):
    before = a_table(mistaken(30), mistaken(50), mistaken(70))
    named = a_table(mistaken(20), mistaken(45)).replace({"seed": {10: "first", 11: "second"}})
    assert run_tables(before, named)[0] == 0
    page = source(tmp_path / "comparison.md")
    assert page.startswith("**Undecided**: accuracy +11.7 points (")
    assert "Means over 3 seeds before and 2 seeds after" in page.splitlines()[0]
    for row in ("10 | 0.800 | -", "first | - | 0.867", "**mean** | 0.667 | 0.783"):
        assert f"| {row} |" in page
    assert "A patch counts as right if more than half of its networks are right." in page


def test_tables_with_probabilities_are_compared_by_them(run_tables, tmp_path):
    predicted, facts = mistaken(50), {"brier": 0.5, "lon": 10, "lat": 50}
    before, after = (
        a_table(predicted).sort_values("patch_id").assign(p_actual=likely(predicted, sure), **facts)
        for sure in (0.5, 0.999)
    )
    options = ("--json", "--verdict", "nll", "--gate", "--output", "page.md")
    code, out, _ = run_tables(before, after, *options)
    result = json.loads(out)
    assert code == 3
    assert (result["verdict"], result["places"], result["losses"]) == ("worse", 1, ["nll"])
    assert result["gate"]["reason"].startswith("negative log-likelihood worse")
    nll = result["metrics"]["nll"]
    assert nll["before"] == pytest.approx(-(2 * np.log(0.5) + np.log(0.25)) / 3)
    assert nll["after"] == pytest.approx(-(2 * np.log(0.999) + np.log(0.0005)) / 3)
    assert result["metrics"]["brier"]["p"] == 1
    assert "**Worse**: negative log-likelihood +" in (tmp_path / "page.md").read_text()
    with pytest.raises(InputError, match="the verdict by nll needs a column p_actual on both sides"):
        run_tables(before, GOOD, "--verdict", "nll")


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (GOOD.assign(actual="oak"), "100 of 150 patches have a different actual class"),
        (GOOD.head(140), "the patches differ (150 before, 140 after)"),
        (GOOD.assign(patch_id=GOOD["patch_id"].astype(int)), "the patches differ (150 before, 150 after)"),
    ],
    ids=["labels", "fewer patches", "ids without their zeros"],
)
def test_tables_of_other_patches_or_labels_get_no_verdict(run_tables, tmp_path, after, reason):
    code, out, _ = run_tables(GOOD, after, "--json", "--output", "comparison.md")
    result = json.loads(out)
    assert (code, result["verdict"], result["comparable"], result["reasons"]) == (4, None, False, [reason])
    page = (tmp_path / "comparison.md").read_text()
    assert page == f"**Not comparable**: {reason}. No verdict is given.\n"
    code, out, _ = run_tables(GOOD, after, "--gate")
    assert (code, out.splitlines()[0]) == (
        3,
        f"Gate: failed, no paired comparison was possible: {reason}, and both sides have no baseline in common.",
    )


BAD = {
    "no column": (GOOD.drop(columns="actual").to_csv(index=False), "has no column actual; needs patch_id, actual"),
    "bad number": (GOOD.assign(p_actual="0,5").to_csv(index=False), "p_actual is not a number from 0 to 1"),
    "one patch": (GOOD.head(1).to_csv(index=False), "has fewer than two patches"),
    "empty": ("", "cannot be read as CSV"),
    "cell too many": ("patch_id,actual,predicted\na,b,c\na,b,c,d\n", "cannot be read as CSV"),
    "missing": (None, "not found; give a table of predictions, or a revision"),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_a_bad_table_is_refused_in_one_line(run_tables, tmp_path, content, reason):
    if content is not None:
        (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(InputError) as error:
        run_tables(GOOD, GOOD, "--head", "bad.csv")
    assert str(error.value).startswith(f"bad.csv: {reason}")
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "comparison.md").exists()


def test_tables_are_compared_outside_a_repository(run_tables, tmp_path):
    run_tables(GOOD, GOOD)
    command = [sys.executable, "-m", "landcover", "compare", "--base", "a.csv", "--head", "b.csv"]
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": ""}  # there is no git either
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "comparison.md\n")
    assert done.stdout == "No difference: every prediction is the same, on the same 150 test patches.\n"


def test_a_table_and_a_revision_do_not_go_together(repository):
    a_table(mistaken(50)).to_csv(repository.folder / "a.csv", index=False)
    for arguments in (("--base", "a.csv"), ("--head", "a.csv")):
        message = repository.compare(*arguments, expect=1)
        assert message == "error: --base and --head: give two revisions, or two tables (.csv), not one of each\n"


# -- where the project lies, and what Git says


def test_a_project_may_lie_below_the_top_of_its_repository_and_in_a_worktree(tmp_path, default_params):
    above = Repository(tmp_path, default_params)
    below = Repository.__new__(Repository)
    below.folder, below.params = tmp_path / "below", default_params
    below.folder.mkdir()
    below.write(wrong(50))
    above.commit()
    assert below.compare("--base", "main", "--head", "main").startswith("**No difference**")
    above.git("worktree", "add", "--quiet", "tree", "-b", "branch")
    below.folder = tmp_path / "tree" / "below"
    assert below.compare("--base", "main").startswith("**No difference**")


def test_gits_own_reason_is_passed_on(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    message = repository.compare(expect=1)
    assert re.match("error: git [a-z-]+: fatal: detected dubious ownership in repository at .*\n$", message)

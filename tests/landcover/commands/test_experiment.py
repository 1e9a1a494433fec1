import copy
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from tiny import REPOSITORY

from landcover import config, constants
from landcover.commands import experiment
from landcover.commands.experiment import Setting
from landcover.errors import InputError
from landcover.evaluation.comparison import compare_scores, score_test, tango
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import BASELINES, parse
from landcover.evaluation.revisions import Revision
from landcover.evaluation.selection import optimism
from landcover.report.experiments import Experiments, recommendation, summarize, summarize_splits
from landcover.report.verdicts import points

CLASSES = np.array(constants.CLASSES)
ACCURACY = METRICS["accuracy"]
GROUPS = yaml.safe_load((REPOSITORY / experiment.EXPERIMENTS).read_text())
CHANGES = {name: changes for group in GROUPS.values() for name, changes in group.items()}
LABELS = np.array([0, 2, 3] * 50)
IDS = [f"p{i:03}" for i in range(150)]
MAJORITY, STATISTICS, TEXTURE = BASELINES.values()


@pytest.mark.parametrize("name", CHANGES)
def test_every_experiment_changes_parameters_that_exist_to_valid_values(name, default_params):
    changed = copy.deepcopy(default_params)
    for key, value in CHANGES[name].items():
        *sections, parameter = key.split(".")
        place = functools.reduce(dict.__getitem__, sections, changed)
        assert parameter in place
        place[parameter] = value
    config.check(changed)


def test_a_name_stands_for_one_experiment_or_group():
    assert all(CHANGES[name] == changes for group in GROUPS.values() for name, changes in group.items())
    assert not CHANGES.keys() & GROUPS.keys()


def test_a_group_stands_for_its_experiments_and_the_first_is_its_reference():
    groups = {"network": {"notebook": {}, "wider": {}}, "inputs": {"bands": {}, "radar": {}}}
    assert experiment.select(["inputs", "wider"], groups) == {"bands": "bands", "radar": "bands", "wider": "notebook"}


def test_experiments_need_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"experiments.yaml: not found; run from the root of the repository"):
        experiment.main(["run"])


@pytest.mark.parametrize("names", [[""], ["strnog"]])
def test_an_unknown_name_is_reported_with_the_known_ones(names):
    known = r"(no NAME is given|no experiment strnog in .*); choose from notebook, or a group: network$"
    with pytest.raises(InputError, match=known):
        experiment.select(names, {"network": {"notebook": {}}})


# -- tables


def correct(count: int) -> np.ndarray:
    """Class names of which the first `count` are right."""
    return CLASSES[np.where(np.arange(150) < count, LABELS, 7)]


def table(*predicted: np.ndarray) -> pd.DataFrame:
    """A row per seed and patch, in random order."""
    columns = {"patch_id": IDS, "actual": CLASSES[LABELS]}
    parts = [pd.DataFrame({"seed": i, **columns, "predicted": one}) for i, one in enumerate(predicted)]
    return pd.concat(parts).sample(frac=1, random_state=0)


def experiments(test: dict[str, list[int]], statistics: int, texture: int, val: dict | None = None) -> Experiments:
    """From the number of correct predictions of each seed, and of two baselines."""
    val, test = (
        {name: parse(table(*map(correct, seeds))) for name, seeds in side.items()} for side in (val or test, test)
    )
    baselines = {"majority": CLASSES[0], "band_statistics": correct(statistics), "texture": correct(texture)}
    return Experiments(val, test, pd.DataFrame({"patch_id": IDS, "actual": CLASSES[LABELS]} | baselines), "notebook")


def test_the_table_compares_each_experiment_with_the_reference_and_the_baselines():
    test = {"notebook": [72, 75, 78], "strong": [118, 120, 122]}
    rows = summarize(experiments(test, 90, 100, val={"notebook": [60] * 3, "strong": [90] * 3}))
    assert [row["predictor"] for row in rows] == [MAJORITY, STATISTICS, TEXTURE, "notebook", "strong"]
    assert [row["seeds"] for row in rows] == ["-", "-", "-", 3, 3]
    assert [row["val accuracy"] for row in rows] == ["-", "-", "-", "0.400", "0.600"]
    accuracies = [row["test accuracy (95% interval)"].split()[0] for row in rows]
    assert accuracies == ["0.333", "0.600", "0.667", "0.500", "0.800"]
    differences = [[row[f"against {other}"].split(" ")[0] for row in rows] for other in ("notebook", STATISTICS)]
    # Each pair once, and in bold what is significant.
    assert differences == [
        ["**-16.7", "**+10.0", "**+16.7", "-", "**+30.0"],
        ["**-26.7", "-", "**+6.7", "-", "**+20.0"],
    ]


def test_a_baseline_adds_no_variation_between_seeds():
    test = {"notebook": [60, 75, 90], "strong": [105, 120, 135]}
    rows = {row["predictor"]: row for row in summarize(experiments(test, 90, 100))}
    notebook, strong = (ACCURACY.scores(parse(table(*map(correct, seeds)))) for seeds in test.values())
    regression = ACCURACY.scores(parse(table(correct(90))))
    for name, network, column, sign in (("strong", strong, STATISTICS, 1), (STATISTICS, notebook, "notebook", -1)):
        result = compare_scores(ACCURACY, regression, network, seedless=True)
        low, high = sorted((sign * result.low, sign * result.high))
        assert rows[name][f"against {column}"].strip("*") == points(sign * result.difference, low, high), name


def test_a_difference_is_bold_if_it_is_significant_after_correction_for_the_whole_table():
    """Six patches of 150 fixed and none broken: p = 0.014, but one of several such comparisons is that by chance."""
    rows = summarize(experiments({"notebook": [75], "six": [81], "twelve": [87]}, 75, 75))
    by_name = {row["predictor"]: row for row in rows}
    assert score_test(6, 0) < 0.05
    assert by_name["six"]["against notebook"] == points(0.04, *tango(6, 0, 150))
    assert by_name["twelve"]["against notebook"] == f"**{points(0.08, *tango(12, 0, 150))}**"


def test_the_recommendation_is_chosen_on_val_and_judged_on_test():
    val = {"notebook": [75] * 2, "good": [118] * 2, "best": [120] * 2}
    test = {"notebook": [70] * 2, "good": [110] * 2, "best": [105] * 2}
    chosen, on_test, other = recommendation(experiments(test, 90, 90, val)).splitlines()
    reach = scipy.stats.t.ppf(0.975, 149) * np.sqrt(0.8 * 0.2 / 149)
    assert chosen == (
        f"- Chosen on the val split: **best**, val accuracy 0.800 ({0.8 - reach:.3f} to {0.8 + reach:.3f}); "
        "not significantly worse: good."
    )
    assert on_test.startswith("- Its test accuracy is 0.700 (")
    too_good = optimism({name: parse(table(*map(correct, seeds))) for name, seeds in test.items()}, "good")
    assert other == (
        "- Choosing on the test split would pick good, whose test accuracy is then probably "
        f"{100 * too_good:.1f} points too good."
    )


def test_with_folds_the_figure_of_a_choice_is_that_within_folds():
    """In folds of 30 patches; `late` is best over all folds, and `early` is by the patches that the first validates."""
    folds = np.arange(150) // 30 + 1
    right = {"early": [10, 30, 10, 10, 10], "late": [20, 20, 20, 20, 20]}  # val and test predictions are the same here
    within = {
        name: replace(parse(table(predicted)), folds=folds)
        for name, counts in right.items()
        for predicted in [CLASSES[np.where(np.arange(150) % 30 < np.repeat(counts, 30), LABELS, 7)]]
    }
    baselines = pd.DataFrame({"patch_id": IDS, "actual": CLASSES[LABELS]} | dict.fromkeys(BASELINES, CLASSES[0]))
    chosen, accuracy, over_all, too_good = recommendation(Experiments(within, within, baselines, "late")).splitlines()
    assert chosen == "- Chosen within each fold, by its val patches: late in 4 of 5 folds, early in 1 of 5 folds."
    assert accuracy.startswith("- Accuracy of this choice: **0.600 (")  # 4 x 20 and 10 of 150
    assert over_all.startswith("- Chosen over all folds, by all val patches: **late**.")
    assert too_good.startswith("- Its accuracy over all folds, 0.667 (")


def test_the_table_says_how_alike_differences_are_within_a_place():
    """Three places of 50 patches: one experiment is right in the first alone, as a whole, and the reference nowhere."""
    right = {"notebook": 0, "place": 50}
    placed = {
        name: replace(parse(table(correct(count))), stated_places=np.arange(150) // 50) for name, count in right.items()
    }
    baselines = pd.DataFrame({"patch_id": IDS, "actual": CLASSES[LABELS]} | dict.fromkeys(BASELINES, CLASSES[0]))
    last = recommendation(Experiments(placed, placed, baselines, "notebook")).splitlines()[-1]
    assert last.endswith("intraclass correlation within places of 1.00 to 1.00, in the median 1.00.")


def test_splits_are_compared_with_an_interval():
    """Whatever the seed, 120 and 90 of 150 are right, so that the noise is that of the patches alone."""
    sides = {name: experiments({"notebook": [count] * 2}, 90, 90) for name, count in (("order", 120), ("place", 90))}
    rows = {row["predictor"]: row for row in summarize_splits(sides)}
    variances = np.array([0.8 * 0.2, 0.6 * 0.4]) / 149
    reach = scipy.stats.t.ppf(0.975, 149) * np.sqrt(variances)
    assert rows["notebook"]["order"] == f"0.800 ({0.8 - reach[0]:.3f} to {0.8 + reach[0]:.3f})"
    freedom = 149 * variances.sum() ** 2 / (variances**2).sum()
    reach = 100 * scipy.stats.t.ppf(0.975, freedom) * np.sqrt(variances.sum())
    assert rows["notebook"]["difference"] == f"**+20.0 points ({20 - reach:+.1f} to {20 + reach:+.1f})**"
    assert rows[MAJORITY]["difference"].startswith("+0.0 points (")


def test_experiments_on_other_patches_or_labels_are_refused():
    one = table(correct(75))
    experiment.demand_same_patches({"notebook": parse(one), "strong": parse(one.iloc[::-1])}, "test")
    other_ids, other_labels = one.assign(patch_id="q" + one["patch_id"]), one.assign(actual=CLASSES[5])
    for other, reason in ((other_ids, "the patches differ"), (other_labels, "150 of 150 patches have a different")):
        message = f"notebook and strong were run on other data: in the test split, {reason}"
        with pytest.raises(InputError, match=message):
            experiment.demand_same_patches({"notebook": parse(one), "strong": parse(other)}, "test")


# -- in a repository; `dvc` notes its arguments and the checkpoints' folder, and ends as `code` says

DVC = """#!/bin/bash
echo "$@" > called; echo $LANDCOVER_CHECKPOINTS > checkpoints
trap 'sleep 0.3; touch tidied; exit 130' INT
if [ -e wait ]; then rm wait; while true; do sleep 0.02; done; fi
exit $(cat code)
"""


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A Git repository with two commits in which all predictions are right, or, in the later one, wrong."""
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    subprocess.run(["git", "init", "--quiet"], check=True)
    for name, text in {
        "experiments.yaml": "network: {notebook: {}, deep: {model.convolutions: [8, 16]}}\n",
        "params.yaml": "dataset: ours\n", "bin/dvc": DVC, "code": "0", "landcover/a.py": "",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bin" / "dvc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "data.json").write_text('{"synthetic": true}')
    for predicted in (CLASSES[LABELS], CLASSES[LABELS + 1]):
        for name in ("seed_val_predictions", "seed_predictions"):
            table(predicted).to_csv(tmp_path / "reports" / f"{name}.csv", index=False)
        baselines = pd.DataFrame({"patch_id": IDS, "actual": CLASSES[LABELS]} | dict.fromkeys(BASELINES, CLASSES[0]))
        baselines.to_csv(tmp_path / "reports" / "baseline_predictions.csv", index=False)
        subprocess.run(["git", "add", "."], check=True)
        subprocess.run(["git", "commit", "--quiet", "--message", "reports"], check=True)
    return tmp_path


def test_an_experiment_is_read_from_its_own_ref_and_not_from_a_branch_of_its_name(repository):
    subprocess.run(["git", "update-ref", "refs/exps/00/11/deep-split", "HEAD~1"], check=True)
    subprocess.run(["git", "branch", "deep-split"], check=True)
    result = experiment.collect(["deep"], {"deep": "notebook"}, Setting(None, seeds=3))
    assert result.reference == "notebook"  # that of its group, even if it is not in the table
    assert ACCURACY.scores(result.test["deep"]).mean() == 1


def test_a_curve_has_a_row_for_each_number_of_train_patches(repository, capsys):
    for name, commit in (("notebook-20", "HEAD"), ("deep-20", "HEAD~1"), ("notebook-40", "HEAD~1")):
        subprocess.run(["git", "update-ref", f"refs/exps/00/11/{name.replace('-', '-split-')}", commit], check=True)
    experiment.main(["curve", "--split", "--patches", "20", "40"])
    *table, path = capsys.readouterr().out.strip().splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table if row]
    assert [row[0] for row in cells[2:]] == ["20", "40"]
    assert [cell[:5] for cell in cells[2][1:3]] == ["0.000", "1.000"]
    assert cells[2][3].startswith("**+100.0 points")
    assert path == "comparison/network-curve.png"
    assert Path(path).is_file()
    with pytest.raises(InputError, match="give two or more numbers of train patches, such as --patches 50 100 200"):
        experiment.main(["curve", "--split"])
    with pytest.raises(InputError, match=r"first python -m landcover experiment run deep --patches 9 --split$"):
        experiment.main(["table", "deep", "--split", "--patches", "9"])


def test_splits_needs_experiments_on_two_datasets(repository):
    with pytest.raises(InputError, match=r"was run; first python -m landcover experiment run network --split$"):
        experiment.main(["splits"])
    with pytest.raises(InputError, match="--dataset ours: is the dataset of the last commit; name another one"):
        experiment.main(["splits", "--dataset", "ours"])


def test_a_killed_experiment_is_said_to_resume(repository):
    (repository / "bin" / "dvc").write_text("#!/bin/bash\nkill -9 $$\n")
    with pytest.raises(
        InputError, match=r"experiment deep: signal 9 ended dvc exp run, .*; run it again, and training"
    ):
        experiment.run("deep", {}, Setting(None))


def test_an_experiment_runs_apart_from_the_workspace_with_its_checkpoints_there(repository):
    old = experiment.reference_of_head("deep-b-50")
    subprocess.run(["git", "update-ref", old, "HEAD"], check=True)
    experiment.run("deep", {"model.convolutions": [8, 16], "train.init": "models/w.pth"}, Setting("b", patches=50))
    assert (repository / "called").read_text() == (
        f'exp run --temp --name deep-b-50 -S model.convolutions=[8, 16] -S train.init="{repository}/models/w.pth" '
        "-S repeat.folds=5 -S repeat.seeds=[1] "
        '-S repeat.test="folds" -S runtime.threads=1 -S dataset="b" -S train.patches=50\n'
    )
    assert (repository / "checkpoints").read_text() == f"{repository}/.partial\n"
    assert not experiment.git("for-each-ref", old)  # or DVC would refuse the name


def test_a_reference_on_another_dataset_has_nothing_to_be_compared_with(repository, capsys):
    experiment.main(["run", "notebook", "--dataset", "b"])
    assert capsys.readouterr().out == (
        "\nnotebook-b: the others of its group are compared with it. To apply it to the workspace, commit what you "
        "have changed since, then: dvc exp apply notebook-b\n"
    )


def test_an_experiment_takes_ignored_lists_along(repository):
    (repository / ".gitignore").write_text("positions.csv\n")
    (repository / "data" / "lists").mkdir(parents=True)
    (repository / "data" / "lists" / "positions.csv").touch()
    experiment.run("deep", {}, Setting(None, seeds=3))
    assert "--name deep-split " in (repository / "called").read_text()
    assert (repository / "called").read_text().endswith(" --copy-paths data/lists/positions.csv\n")


def test_files_that_are_not_committed_are_named(repository, capsys):
    experiment.report_uncommitted()
    assert capsys.readouterr().err == ""
    (repository / "params.yaml").write_text("dataset: b\n")
    (repository / "landcover" / "new.py").touch()
    experiment.report_uncommitted()
    assert capsys.readouterr().err == (
        "params.yaml: not committed; experiments run with the version in the workspace\n"
        "landcover/new.py: not tracked by Git, so experiments run without them; git add those they need\n"
    )


def test_ctrl_c_waits_for_dvc_to_tidy_up(repository):
    (repository / "wait").touch()
    command = [sys.executable, "-m", "landcover", "experiment", "run", "notebook"]
    tool = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, start_new_session=True)
    while (repository / "wait").exists():
        assert tool.poll() is None
        time.sleep(0.01)
    os.killpg(tool.pid, signal.SIGINT)  # as a terminal does
    assert tool.wait() == 130
    assert (repository / "tidied").exists()


# -- with the real dvc, and one stage that fails at first and then finds its checkpoint

STAGE = """
import os, pathlib, shutil, sys
checkpoint = pathlib.Path(os.environ["LANDCOVER_CHECKPOINTS"]) / "train-1"
if not checkpoint.exists():
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.touch()
    sys.exit("error: the disk is full")
shutil.copytree("REPORTS", "reports", dirs_exist_ok=True)
"""


def test_a_repeated_experiment_resumes_and_ends_with_a_verdict(tmp_path, monkeypatch, capfd):
    shutil.copytree(REPOSITORY / "reports", tmp_path / "reports")
    for name in (".dvc/config", ".dvc/.gitignore", "params.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for name, text in {
        "stage.py": STAGE.replace("REPORTS", str(REPOSITORY / "reports")),
        "dvc.yaml": "stages: {train: {cmd: python stage.py, params: [train], outs: [reports: {cache: false}]}}\n",
        "dvc.lock": "schema: '2.0'\nstages: {train: {cmd: python stage.py}}\n", ".gitignore": ".partial\ncomparison\n",
        "experiments.yaml": "network: {notebook: {}, fast: {train.learning_rate: 0.01}}\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *command], check=True)
    with pytest.raises(InputError, match="experiment notebook: dvc exp run failed"):
        experiment.main(["run", "fast"])
    assert "error: the disk is full" in capfd.readouterr().err
    assert (tmp_path / ".partial" / "train-1").exists()
    experiment.main(["run", "fast"])
    # The reference was not run on this commit, so it was before.
    assert "fast against notebook:\nNo difference: every prediction is the same" in capfd.readouterr().out
    assert Revision("fast").yaml("params.yaml")["train"]["learning_rate"] == 0.01
    assert subprocess.run(["git", "status", "--porcelain"], capture_output=True).stdout == b""

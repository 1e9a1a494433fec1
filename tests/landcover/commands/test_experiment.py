import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from tiny import REPOSITORY

from landcover import config, constants
from landcover.commands import experiment
from landcover.errors import InputError
from landcover.evaluation.comparison import compare_scores, score_test, tango
from landcover.evaluation.intervals import mean
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import BASELINES, parse
from landcover.report.experiments import Experiments, recommendation, summarize, summarize_splits
from landcover.report.markdown import points

CLASSES = np.array(constants.CLASSES)
ACCURACY = METRICS["accuracy"]


CHANGES = {name: changes for group in experiment.load().values() for name, changes in group.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_every_experiment_changes_parameters_that_exist_to_values_that_are_valid(name, default_params):
    changed = yaml.safe_load(yaml.safe_dump(default_params))
    for key, value in CHANGES[name].items():
        *section, parameter = key.split(".")
        place = changed[section[0]] if section else changed
        assert parameter in place
        place[parameter] = value
    config.check(changed)


def test_no_name_is_given_twice():
    assert len(CHANGES) == sum(map(len, experiment.load().values()))
    assert not CHANGES.keys() & experiment.load().keys()


def test_a_group_stands_for_its_experiments_and_its_first_one_is_the_reference():
    groups = {"network": {"notebook": {}, "wider": {}}, "inputs": {"bands": {}, "radar": {}}}
    assert experiment.choose(["inputs", "wider"], groups) == {"bands": "bands", "radar": "bands", "wider": "notebook"}


LABELS = np.array([0, 2, 3] * 50)
MAJORITY, STATISTICS, TEXTURE = BASELINES.values()


def right(count: int, start: int = 0) -> np.ndarray:
    """Class names of which `count` in a row are right."""
    rows = np.arange(150) - start
    return CLASSES[np.where((rows >= 0) & (rows < count), LABELS, 7)]


def table(*predicted: np.ndarray) -> pd.DataFrame:
    """A row a seed and patch, in no order."""
    columns = {"patch_id": [f"p{i:03}" for i in range(150)], "actual": CLASSES[LABELS]}
    parts = [pd.DataFrame({"seed": i, **columns, "predicted": one}) for i, one in enumerate(predicted)]
    return pd.concat(parts).sample(frac=1, random_state=0)


def experiments(
    test: dict[str, list[np.ndarray]], statistics: np.ndarray, texture: np.ndarray, val: dict | None = None
) -> Experiments:
    baselines = table(CLASSES[np.zeros(150, int)]).rename(columns={"predicted": "majority"}).drop(columns="seed")
    baselines = baselines.sort_values("patch_id").assign(band_statistics=statistics, texture=texture)
    found = (
        {name: parse(table(*seeds)) for name, seeds in side.items()} for side in (test if val is None else val, test)
    )
    return Experiments(*found, baselines, "notebook")


def test_the_table_sets_each_experiment_beside_the_notebook_and_the_baselines():
    test = {"notebook": [right(72), right(75), right(78)], "strong": [right(118), right(120), right(122)]}
    val = {"notebook": [right(60)] * 3, "strong": [right(90)] * 3}
    rows = summarize(experiments(test, right(90), right(100), val))
    by_name = {row["predictor"]: row for row in rows}
    assert list(by_name) == [MAJORITY, STATISTICS, TEXTURE, "notebook", "strong"]
    assert [row["seeds"] for row in rows] == ["-", "-", "-", 3, 3]
    assert [row["val accuracy"] for row in rows] == ["-", "-", "-", "0.400", "0.600"]
    accuracies = [row["test accuracy (95% interval)"].split()[0] for row in rows]
    assert accuracies == ["0.333", "0.600", "0.667", "0.500", "0.800"]
    assert by_name["notebook"]["against notebook"] == "-"
    assert by_name[STATISTICS]["against notebook"].startswith("**+10.0 points")
    assert by_name[TEXTURE]["against notebook"].startswith("**+16.7 points")
    assert by_name[TEXTURE][f"against {STATISTICS}"].startswith("**+6.7 points")
    assert by_name["strong"]["against notebook"].startswith("**+30.0 points")
    assert by_name["strong"][f"against {STATISTICS}"].startswith("**+20.0 points")
    assert by_name["strong"][f"against {TEXTURE}"].startswith("**+13.3 points")
    # Each pair stands in the table once.
    pairs = [(row["predictor"], key) for row in rows for key, text in row.items() if "against" in key and text != "-"]
    assert len(pairs) == 3 + 1 + 2 + 0 + 3
    one_seed = mean(ACCURACY.scores(parse(table(right(90))))).interval()
    assert by_name[STATISTICS]["test accuracy (95% interval)"] == f"0.600 ({one_seed[0]:.3f} to {one_seed[1]:.3f})"


def test_a_baseline_has_no_noise_of_seeds_on_either_side_of_a_difference():
    test = {"notebook": [right(60), right(75), right(90)], "strong": [right(105), right(120), right(135)]}
    rows = {row["predictor"]: row for row in summarize(experiments(test, right(90), right(100)))}
    notebook, strong = (ACCURACY.scores(parse(table(*seeds))) for seeds in test.values())
    regression = ACCURACY.scores(parse(table(right(90))))
    for name, network, column, sign in (("strong", strong, STATISTICS, 1), (STATISTICS, notebook, "notebook", -1)):
        found = compare_scores(ACCURACY, regression, network, seedless=True)
        low, high = sorted((sign * found.low, sign * found.high))
        assert rows[name][f"against {column}"].strip("*") == points(sign * found.difference, low, high), name


def test_a_difference_is_bold_if_it_stands_out_of_all_that_the_table_shows():
    """Six patches of 150 fixed and none broken: p = 0.014, but one of several such comparisons is that by chance."""
    same = right(75)
    test = {"notebook": [same], "six": [right(81)], "twelve": [right(87)]}
    by_name = {row["predictor"]: row for row in summarize(experiments(test, same, same))}
    low, high = tango(6, 0, 150)
    assert score_test(6, 0) < 0.05
    assert low > 0
    assert by_name["six"]["against notebook"] == points(0.04, low, high)
    low, high = tango(12, 0, 150)
    assert by_name["twelve"]["against notebook"] == f"**{points(0.08, low, high)}**"


def test_the_recommendation_is_chosen_on_val_and_judged_on_test():
    val = {"notebook": [right(75)] * 2, "good": [right(118)] * 2, "best": [right(120)] * 2}
    test = {"notebook": [right(70)] * 2, "good": [right(110)] * 2, "best": [right(105)] * 2}
    chosen, there, other = recommendation(experiments(test, right(90), right(90), val)).splitlines()
    reach = scipy.stats.t.ppf(0.975, 149) * np.sqrt(0.8 * 0.2 / 149)
    assert chosen == (
        f"- Chosen on the val split: **best**, val accuracy 0.800 ({0.8 - reach:.3f} to {0.8 + reach:.3f}); "
        "not significantly worse: good."
    )
    assert there.startswith("- Its test accuracy is 0.700 (")
    assert other.startswith("- Choosing on the test split would pick good and, by a bootstrap")
    alone = recommendation(experiments({"notebook": [right(70)]}, right(90), right(90))).splitlines()
    assert alone[0].endswith(").")


def test_experiments_on_other_patches_or_labels_are_refused():
    one = table(right(75))
    same = {"notebook": parse(one), "strong": parse(one.sample(frac=1, random_state=1))}
    experiment.demand_same_patches(same, "test")
    other_ids, other_labels = one.assign(patch_id="q" + one["patch_id"]), one.assign(actual=CLASSES[5])
    for other, reason in ((other_ids, "the patches differ"), (other_labels, "150 of 150 patches have a different")):
        with pytest.raises(
            InputError, match=f"notebook and strong were run on other data: in the test split, {reason}"
        ):
            experiment.demand_same_patches({"notebook": parse(one), "strong": parse(other)}, "test")


def test_what_a_split_flatters_is_told_with_its_interval():
    """100 test patches: 80 and 60 right whatever the seed, so that the noise is that of the patches alone."""
    labels = np.array([0, 2] * 50)

    def side(count: int) -> Experiments:
        predicted = np.where(np.arange(100) < count, labels, 7)
        columns = {"patch_id": [f"p{count}-{i:03}" for i in range(100)], "actual": CLASSES[labels]}
        seeds = pd.concat(pd.DataFrame({"seed": seed, **columns, "predicted": CLASSES[predicted]}) for seed in (1, 2))
        baselines = {"majority": CLASSES[0], "band_statistics": CLASSES[labels], "texture": CLASSES[labels]}
        test = {"notebook": parse(seeds)}
        return Experiments(val=test, test=test, baselines=pd.DataFrame(columns | baselines), reference="notebook")

    rows = {row["predictor"]: row for row in summarize_splits({"by-order": side(80), "by-place": side(60)})}
    variances = np.array([0.8 * 0.2, 0.6 * 0.4]) / 99
    reach = scipy.stats.t.ppf(0.975, 99) * np.sqrt(variances)
    assert rows["notebook"]["by-order"] == f"0.800 ({0.8 - reach[0]:.3f} to {0.8 + reach[0]:.3f})"
    assert rows["notebook"]["by-place"] == f"0.600 ({0.6 - reach[1]:.3f} to {0.6 + reach[1]:.3f})"
    freedom = 99 * variances.sum() ** 2 / (variances**2).sum()
    reach = 100 * scipy.stats.t.ppf(0.975, freedom) * np.sqrt(variances.sum())
    assert rows["notebook"]["difference"] == f"**+20.0 points ({20 - reach:+.1f} to {20 + reach:+.1f})**"
    assert rows[MAJORITY]["difference"].startswith("+0.0 points (")


# -- where they are read from


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A Git repository with two commits in which all predictions are right, or, in the later one, wrong."""
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    subprocess.run(["git", "init", "--quiet"], check=True)
    (tmp_path / "experiments.yaml").write_text("network: {notebook: {}}\n")
    (tmp_path / "params.yaml").write_text("dataset: ours\n")
    (tmp_path / "reports").mkdir()
    for predicted in (CLASSES[LABELS], CLASSES[LABELS + 1]):
        for name in ("seed_val_predictions", "seed_predictions"):
            table(predicted).to_csv(tmp_path / "reports" / f"{name}.csv", index=False)
        columns = {"patch_id": [f"p{i:03}" for i in range(150)], "actual": CLASSES[LABELS]}
        baselines = pd.DataFrame(columns | dict.fromkeys(BASELINES, CLASSES[0]))
        baselines.to_csv(tmp_path / "reports" / "baseline_predictions.csv", index=False)
        subprocess.run(["git", "add", "."], check=True)
        subprocess.run(["git", "commit", "--quiet", "--message", "reports"], check=True)
    return tmp_path


def test_an_experiment_is_read_from_its_own_ref_and_not_from_a_branch_of_its_name(repository):
    subprocess.run(["git", "update-ref", "refs/exps/00/11/notebook", "HEAD~1"], check=True)
    subprocess.run(["git", "branch", "notebook"], check=True)
    found = experiment.read({"notebook": "notebook"}, None)
    assert found.reference == "notebook"
    assert ACCURACY.scores(found.test["notebook"]).mean() == 1


def test_splits_needs_two_datasets(repository):
    for arguments in ([], ["--dataset", "other"]):
        with pytest.raises(InputError, match=r"no experiment of experiments\.yaml was run over seeds"):
            experiment.main(["splits", *arguments])
    with pytest.raises(InputError, match="--dataset ours: is the dataset of the last commit; name another one"):
        experiment.main(["splits", "--dataset", "ours"])


# -- where they run; `dvc` is ours, and runs until it is told to end

DVC = """#!/bin/bash
if [ "$1" = cache ]; then echo /cache; exit; fi
trap 'touch .partial/interrupted; exit 130' INT TERM
echo $$ > .partial/pid
while true; do sleep 0.02; done
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    """A repository with a commit, and nothing of the pipeline but what the tool asks for."""
    for name, text in {
        "params.yaml": "dataset: a\n", "experiments.yaml": "network: {notebook: {}}\n", ".gitignore": ".partial\nbin\n",
        ".dvc/config": "", "landcover/a.py": "", "stages/b.py": "", "bin/dvc": DVC,
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bin" / "dvc").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *command], check=True)
    return tmp_path


def test_code_that_is_not_committed_is_named_and_parameters_are_told_of(workspace, capsys):
    experiment.demand_committed_code()
    assert capsys.readouterr().err == ""
    (workspace / "params.yaml").write_text("dataset: b\n")
    experiment.demand_committed_code()
    assert capsys.readouterr().err == "experiments start from config.yaml in the last commit, not in the workspace\n"
    (workspace / "landcover" / "a.py").write_text("a = 1\n")
    (workspace / "stages" / "new.py").touch()
    with pytest.raises(InputError, match=r"^landcover/a\.py, stages/new\.py: changed since the last commit, .* commit"):
        experiment.demand_committed_code()


@pytest.mark.parametrize("names", [[""], ["strnog"]])
def test_a_name_that_is_none_is_told_with_those_that_are(workspace, names):
    with pytest.raises(
        InputError, match=r"(no NAME is given|no experiment strnog in .*); choose from notebook, or a group: network$"
    ):
        experiment.main(["run", *names])


def test_a_clone_shares_the_cache_keeps_the_checkpoints_and_goes(workspace):
    for _ in range(2):
        with experiment.clone() as work:
            assert (work / "params.yaml").read_text() == "dataset: a\n"
            assert (work / ".dvc" / "config.local").read_text() == '[cache]\n    dir = "/cache"\n    type = symlink\n'
            status = subprocess.run(
                ["git", "status", "--porcelain"], cwd=work, capture_output=True, check=True, text=True
            )
            assert status.stdout.strip() in ("", "?? .dvc/config.local")  # which DVC's own .gitignore names
            with (work / ".partial" / "checkpoint").open("a") as file:
                file.write("epoch\n")
        assert not work.exists()
    assert (workspace / ".partial" / "experiments" / "checkpoint").read_text() == "epoch\nepoch\n"


def start() -> tuple[subprocess.Popen, int]:
    """The tool, and its dvc, once that runs."""
    pid = Path(".partial/experiments/pid")
    pid.unlink(missing_ok=True)
    command = [sys.executable, "-m", "landcover", "experiment", "run", "notebook"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    tool = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not (pid.is_file() and pid.read_text()):
        assert tool.poll() is None
        time.sleep(0.01)
    return tool, int(pid.read_text())


def test_an_interrupt_reaches_dvc_and_leaves_no_clone(workspace):
    tool, _ = start()
    tool.send_signal(signal.SIGTERM)  # to this process alone, unlike Ctrl-C
    assert tool.communicate()[1] == (
        "interrupted: run the same command again; experiment notebook will resume where it stopped\n"
    )
    assert tool.returncode == 130
    assert (workspace / ".partial" / "experiments" / "interrupted").exists()
    assert not (workspace / ".partial" / "clone").exists()


def test_the_next_waits_for_a_dvc_that_outlived_its_tool(workspace):
    tool, dvc = start()
    tool.kill()
    tool.wait()
    assert (workspace / ".partial" / "clone").exists()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "landcover", "experiment", "run", "notebook"]
    following = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert following.stderr.readline().startswith("waiting for another experiment in this folder to end")
    finally:
        following.terminate()
        with suppress(ProcessLookupError):
            os.kill(dvc, signal.SIGINT)
    assert following.wait() == 130


def test_an_interrupt_while_a_process_is_started_waits_until_it_is_known():
    before, done = signal.getsignal(signal.SIGTERM), []

    def start_interrupted() -> None:
        with experiment.deferred_interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            done.append("started")

    with pytest.raises(KeyboardInterrupt):
        start_interrupted()
    assert done == ["started"]
    assert signal.getsignal(signal.SIGTERM) == before
    with experiment.deferred_interrupts():
        pass


def test_a_table_of_a_few_experiments_keeps_the_reference_of_their_group(monkeypatch):
    one = parse(table(right(75)))
    monkeypatch.setattr(experiment, "git", lambda *arguments: "ref")
    monkeypatch.setattr(
        experiment, "Revision", lambda name: type("R", (), {"csv": lambda self, path: table(right(75))})()
    )
    found = experiment.read({"strong": "notebook", "deeper": "notebook"}, None)
    assert found.reference == "notebook"
    assert (found.test["strong"].actual == one.actual).all()

import json
import re

import pandas as pd
import pytest
import yaml

from landcover.data import tensors
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import BASELINES
from landcover.report.page import headline
from landcover.report.verdicts import direction

REPORT = (
    "stages report tensors m.safetensors data.json baselines.json h.csv reports/metrics.json reports/seeds.json "
    "reports/predictions.csv reports/per_class.csv report.md card.md model.stac.json"
)


@pytest.fixture
def report(prepared, in_turn, tmp_path):
    """Run the stages from the tensors to the page, and give the page and the reports by their names."""
    params = prepared(12, 4, 8) | {"train": {"epochs": 2}, "evaluate": {"resamples": 100}}

    def run(seeds: list[int], folds: int = 0) -> tuple[str, dict[str, dict]]:
        done = in_turn(
            "stages folds tensors folds.csv",
            "stages baseline tensors shares folds.csv baselines.json b.csv fb.csv",
            "stages pretrained w.safetensors",
            "stages train tensors shares w.safetensors m.safetensors l.safetensors h.csv",
            "stages repeat tensors shares w.safetensors folds.csv s.safetensors e.safetensors",
            "stages evaluate tensors shares folds.csv l.safetensors s.safetensors h.csv b.csv fb.csv reports",
            REPORT,
            params=params | {"repeat": {"seeds": seeds, "folds": folds}},
        )
        assert (done.returncode, done.stderr) == (0, "")
        result = {name: json.loads((tmp_path / f"reports/{name}.json").read_text()) for name in ("metrics", "seeds")}
        result["baselines"] = json.loads((tmp_path / "baselines.json").read_text())
        return re.sub(" +", " ", (tmp_path / "report.md").read_text()), result

    return run


def interval(values: dict[str, float], name: str) -> str:
    return f"{values[name]:.3f} ({values[f'{name}_ci_low']:.3f} to {values[f'{name}_ci_high']:.3f})"


def test_one_run_is_told_with_its_intervals_and_beside_the_baselines(report, in_turn, tmp_path, monkeypatch, capsys):
    page, result = report([1])  # a single seed more is no repetition
    assert result["seeds"]["seeds"] == 1
    test = result["metrics"]["test"]
    assert f"classifies **{test['accuracy']:.1%}** of 8 test patches correctly" in page
    assert "This is a single run." in page
    assert "mean over seeds" not in page
    for name, words in BASELINES.items():
        against = test["against"][name]
        assert f"- {words}: **{against['verdict']}, {100 * against['difference']:+.1f} points (" in page
        assert (
            f" times its standard error of {100 * against['standard_error']:.1f} points; better or worse takes" in page
        )
    columns = [test, *(result["baselines"][name] for name in BASELINES), result["metrics"]["val"]]
    for name, metric in METRICS.items():
        assert f"| {direction(metric)} | {' | '.join(interval(one, name) for one in columns)} |" in page
    errors = [f"{one['ece']:.3f} (by chance {one['ece_by_chance']['mean']:.3f})" for one in columns]
    assert f"| expected calibration error, lower is better | {' | '.join(errors)} |" in page
    miscalibrated = test["ece"] > test["ece_by_chance"]["high"]
    assert ("not well calibrated" if miscalibrated else "no significant miscalibration was detected") in page
    train = result["metrics"]["train"]["accuracy"]
    assert f"classifies {train:.1%} of the train patches correctly" in page.replace("\n", " ")
    assert " * |" in page  # every class has few test patches
    assert "_" not in re.sub(r"`[^`]*`|\([a-z_]*\.(png|csv)\)", "", page)  # names are for people, except those of files

    card = re.sub(" +", " ", (tmp_path / "card.md").read_text())
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["pipeline_tag"], front["datasets"]) == ("mit", "image-classification", ["small"])
    facts = tensors.load(tmp_path / "m.safetensors")[1]
    assert f"temperature {facts['temperature']:.3f}, " in card
    assert f"negative log-likelihood then goes from {test['nll']:.3f} to {test['calibrated']['nll']:.3f}," in card
    assert f"| accuracy | {interval(test, 'accuracy')} |" in card
    low, high = facts["patch_means"]["B08"]
    assert f"| B08 | {low:.3f} | {high:.3f} |" in card
    assert "- Never seen in training: shrubland, " in card
    assert "synthetic" not in card
    monkeypatch.chdir(tmp_path)
    exec(re.search("```python\n(.*?)```", card, re.DOTALL)[1], {})
    assert capsys.readouterr().out.strip() in facts["classes"]

    # Warnings stand first on the page and on the terminal, before it is said that the data is synthetic.
    assert "split by row order, as in the notebook." in page
    data = json.loads((tmp_path / "data.json").read_text())
    data |= {"warnings": ["150 of 194 labels are ties; correct them"], "synthetic": True}
    data["split_by"] = {"method": "random", "train": None, "val": 4, "test": 8, "seed": 7}
    data["split"]["unused"] = 30
    (tmp_path / "data.json").write_text(json.dumps(data))
    done = in_turn(REPORT, params={})
    first = "> {}Check the data{}: 150 of 194 labels are ties; correct them."
    assert done.stdout.splitlines()[0] == first.format("", "")
    page = (tmp_path / "report.md").read_text()
    assert page.splitlines()[2] == first.format("**", "**")
    assert "split at random within each class (seed 7), so neighbours can be on both sides, such as" in page
    assert "- Not used, because the split does not ask for them: 30 patches.\n" in page


@pytest.mark.parametrize("rest", ["## Results\n\nMore.\n", "| metric | value |\n\nMore.\n\n## Results\n"])
def test_the_headline_is_what_stands_above_the_first_table_or_section(rest):
    page = f"# Title\n\n> Synthetic.\n\nRight on **40.0%**.\n\n- **Worse** than #1.\n\n{rest}"
    assert headline(page) == "> Synthetic.\n\nRight on 40.0%.\n\n- Worse than #1."


def test_what_seeds_say_stands_before_what_a_single_run_says(report, tmp_path):
    page, result = report([1, 42])
    seeds = result["seeds"]
    # The seed of the single run predicts what the single run does.
    rows, once = (pd.read_csv(tmp_path / "reports" / f"{name}.csv") for name in ("seed_predictions", "predictions"))
    assert rows.loc[rows["seed"] == 42, "predicted"].tolist() == once["predicted"].tolist()
    first, _, single = page.partition("The rest of this page describes the single run with seed 42.")
    assert (
        f"Trained with 2 seeds, the network classifies **{seeds['accuracy']['mean']:.1%}** of 8 test patches" in first
    )
    for name, metric in METRICS.items():
        test, val = (
            f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})" for one in (seeds[name], seeds["val"][name])
        )
        assert f"| {direction(metric)} | {test} | {val} | {seeds[name]['std']:.3f} |" in first
    for split, found_together in (("test", seeds["ensemble"]), ("val", seeds["ensemble"]["val"])):
        accuracy, nll = found_together["accuracy"], found_together["nll"]
        assert f"- on {split}, accuracy {accuracy['value']:.1%}, {100 * accuracy['difference']:+.1f} points (" in first
        gain = f"{nll['difference']:+.3f} nats ({nll['low']:+.3f} to {nll['high']:+.3f})"
        assert f"; negative log-likelihood {nll['value']:.3f}, {gain}" in first
    difference = 100 * seeds["against"]["texture"]["difference"]
    assert re.search(rf"^- gradient boosting .* {difference:+.1f} points ".replace("+", "[+]"), first, re.MULTILINE)
    assert f"The network from the single run classifies **{result['metrics']['test']['accuracy']:.1%}**" in single
    assert "This is a single run." not in page


def test_folds_test_every_patch_once_and_judge_the_configuration(report, tmp_path):
    """The four places are 71 km apart; without listed seeds, that of train counts."""
    page, result = report([], folds=4)
    tables = {name: pd.read_csv(tmp_path / path) for name, path in (
        ("test", "reports/seed_predictions.csv"), ("val", "reports/seed_val_predictions.csv"), ("baselines", "fb.csv"),
        ("folds", "folds.csv"), ("single", "reports/predictions.csv"),
    )}  # fmt: skip
    folds = tables["folds"]
    for name in ("test", "val", "baselines"):
        assert tables[name][["patch_id", "fold", "place"]].equals(folds[["patch_id", "fold", "place"]]), name
    assert folds["patch_id"].nunique() == 24
    assert set(tables["test"]["seed"]) == {42}
    assert (tables["test"]["p_actual"] != tables["val"]["p_actual"]).all()  # of other networks
    for name in BASELINES:
        accuracy = (tables["baselines"][name] == tables["baselines"]["actual"]).mean()
        assert result["seeds"]["against"][name]["before"] == pytest.approx(accuracy, abs=1e-6)

    seeds = result["seeds"]
    accuracy = (tables["test"]["predicted"] == tables["test"]["actual"]).mean()
    assert (seeds["seeds"], seeds["accuracy"]["mean"]) == (1, pytest.approx(accuracy, abs=1e-6))
    assert seeds["accuracy"]["low"] <= accuracy <= seeds["accuracy"]["high"]
    headline = json.loads((tmp_path / "reports" / "headline.json").read_text())
    assert headline["mean_accuracy"] == round(accuracy, 3)
    made = seeds["folds"]
    assert (made["count"], made["by"], made["locked"], "ensemble" in seeds) == (4, "place", 0, False)
    assert made["each"][0].keys() == {"fold", "train", "val", "test", "left_out", "missing", "accuracy"}
    assert [(each["train"], each["val"], each["test"], each["left_out"]) for each in made["each"]] == [
        (12, 6, 6, 0)
    ] * 4
    assert tensors.load(tmp_path / "e.safetensors")[0] == {}

    first, _, single = page.partition("The rest of this page describes the single run with seed 42.")
    assert (
        f"Tested in 4 folds of whole places, each patch once, the network classifies **{accuracy:.1%}** of 24" in first
    )
    assert "on new ground, so they are pessimistic" in first.replace("\n", " ")
    assert re.search(rf"^\| 1 \| 12 \| 6 \| 6 \| 0 \| .* \| {made['each'][0]['accuracy']:.3f} \|$", first, re.MULTILINE)
    assert sum(each["accuracy"] for each in made["each"]) / 4 == pytest.approx(accuracy, abs=1e-6)
    assert f"Its standard error is {100 * seeds['accuracy']['standard_error']:.1f} points. That error comes" in first
    assert "Folds judge the configuration, not `models/model.safetensors`" in first
    assert (
        f"classifies **{result['metrics']['test']['accuracy']:.1%}** of {len(tables['single'])} test patches" in single
    )

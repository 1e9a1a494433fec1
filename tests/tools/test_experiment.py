import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml

from landcover.ground import benge
from landcover.ground.params import Architecture, Training, validate
from landcover.judgement.comparison import compare_scores, mcnemar, tango
from landcover.judgement.predictions import BASELINES, parse
from landcover.judgement.scores import scores
from landcover.judgement.variance import mean
from landcover.pages.experiments import Experiments, recommendation, summarize, summarize_splits
from landcover.pages.markdown import points
from tools import experiment

CLASSES = np.array(benge.CLASSES)


@pytest.mark.parametrize("name", experiment.load())
def test_every_experiment_changes_parameters_that_exist_to_values_that_are_valid(name, default_params):
    params = yaml.safe_load(yaml.safe_dump(default_params))
    for key, value in experiment.load()[name].items():
        section, parameter = key.split(".")
        assert parameter in params[section]
        params[section][parameter] = value
    validate("model", Architecture, params["model"])
    validate("train", Training, params["train"])


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
    return Experiments(*found, baselines)


def test_the_table_sets_each_experiment_beside_the_notebook_and_the_baselines():
    test = {"notebook": [right(72), right(75), right(78)], "strong": [right(118), right(120), right(122)]}
    val = {"notebook": [right(60)] * 3, "strong": [right(90)] * 3}
    rows = summarize(experiments(test, right(90), right(100), val))
    by_name = {row["predictor"]: row for row in rows}
    assert list(by_name) == [MAJORITY, STATISTICS, TEXTURE, "notebook", "strong"]
    assert [row["seeds"] for row in rows] == ["-", "-", "-", 3, 3]
    assert [row["val accuracy"] for row in rows] == ["-", "-", "-", "0.400", "0.600"]
    accuracies = [row["test accuracy (95 % interval)"].split()[0] for row in rows]
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
    one_seed = mean(scores(parse(table(right(90))), "accuracy")).interval()
    assert by_name[STATISTICS]["test accuracy (95 % interval)"] == f"0.600 ({one_seed[0]:.3f} to {one_seed[1]:.3f})"


def test_a_baseline_has_no_noise_of_seeds_on_either_side_of_a_difference():
    test = {"notebook": [right(60), right(75), right(90)], "strong": [right(105), right(120), right(135)]}
    rows = {row["predictor"]: row for row in summarize(experiments(test, right(90), right(100)))}
    notebook, strong = (scores(parse(table(*seeds)), "accuracy") for seeds in test.values())
    regression = scores(parse(table(right(90))), "accuracy")
    for name, network, column, sign in (("strong", strong, STATISTICS, 1), (STATISTICS, notebook, "notebook", -1)):
        found = compare_scores("accuracy", regression, network, fixed=True)
        low, high = sorted((sign * found["low"], sign * found["high"]))
        assert rows[name][f"against {column}"].strip("*") == points(sign * found["difference"], low, high), name


def test_a_difference_is_bold_if_it_stands_out_of_all_that_the_table_shows():
    """Six patches of 150 fixed and none broken: p = 0.016, but one of several such comparisons is that by chance."""
    same = right(75)
    test = {"notebook": [same], "six": [right(81)], "twelve": [right(87)]}
    by_name = {row["predictor"]: row for row in summarize(experiments(test, same, same))}
    low, high = tango(6, 0, 150)
    assert mcnemar(6, 0) < 0.05
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


def test_what_a_split_flatters_is_told_with_its_interval():
    """100 test patches: 80 and 60 right whatever the seed, so that the noise is that of the patches alone."""
    labels = np.array([0, 2] * 50)

    def side(count: int) -> Experiments:
        predicted = np.where(np.arange(100) < count, labels, 7)
        columns = {"patch_id": [f"p{count}-{i:03}" for i in range(100)], "actual": CLASSES[labels]}
        seeds = pd.concat(pd.DataFrame({"seed": seed, **columns, "predicted": CLASSES[predicted]}) for seed in (1, 2))
        baselines = {"majority": CLASSES[0], "band_statistics": CLASSES[labels], "texture": CLASSES[labels]}
        test = {"notebook": parse(seeds)}
        return Experiments(val=test, test=test, baselines=pd.DataFrame(columns | baselines))

    rows = {row["predictor"]: row for row in summarize_splits(side(80), side(60))}
    variances = np.array([0.8 * 0.2, 0.6 * 0.4]) / 99
    reach = scipy.stats.t.ppf(0.975, 99) * np.sqrt(variances)
    assert rows["notebook"]["by order"] == f"0.800 ({0.8 - reach[0]:.3f} to {0.8 + reach[0]:.3f})"
    assert rows["notebook"]["by place"] == f"0.600 ({0.6 - reach[1]:.3f} to {0.6 + reach[1]:.3f})"
    freedom = 99 * variances.sum() ** 2 / (variances**2).sum()
    reach = 100 * scipy.stats.t.ppf(0.975, freedom) * np.sqrt(variances.sum())
    assert rows["notebook"]["difference"] == f"**+20.0 points ({20 - reach:+.1f} to {20 + reach:+.1f})**"
    assert rows[MAJORITY]["difference"].startswith("+0.0 points (")

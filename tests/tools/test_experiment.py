import numpy as np
import pandas as pd
import pytest
import yaml

from landcover.ground import benge
from landcover.ground.params import Architecture, Training, validate
from landcover.judgement import predictions
from landcover.pages.experiments import summarize, summarize_splits
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


def test_the_table_sets_each_experiment_beside_the_notebook_and_the_baselines():
    labels = np.array([0, 2, 3] * 50)
    ids = [f"p{i:03}" for i in range(150)]

    def seeds(*right: int) -> pd.DataFrame:
        parts = [
            pd.DataFrame({"seed": i, "patch_id": ids, "actual": CLASSES[labels],
                          "predicted": CLASSES[np.where(np.arange(150) < count, labels, 7)]})
            for i, count in enumerate(right)
        ]  # fmt: skip
        return pd.concat(parts).sample(frac=1, random_state=0)

    baselines = pd.DataFrame(
        {"patch_id": ids, "actual": CLASSES[labels], "majority": CLASSES[0],
         "band_statistics": CLASSES[np.where(np.arange(150) < 90, labels, 7)]}
    )  # fmt: skip
    rows = summarize({"notebook": seeds(72, 75, 78), "strong": seeds(118, 120, 122)}, baselines)
    by_name = {row["predictor"]: row for row in rows}
    assert list(by_name) == [*predictions.BASELINES.values(), "notebook", "strong"]
    assert by_name["notebook"]["accuracy (mean ± deviation)"] == "0.500 ± 0.020"
    assert by_name["notebook"]["against notebook"] == "-"
    assert by_name["notebook"]["against band statistics"].startswith("**-10.0 points")
    assert by_name["strong"]["against notebook"].startswith("**+30.0 points")
    assert by_name["strong"]["against band statistics"].startswith("**+20.0 points")
    assert by_name["always the largest class"]["accuracy (mean ± deviation)"] == "0.333"


def test_what_a_split_flatters_is_told_with_its_interval():
    """100 test patches: 80 and 60 right whatever the seed, so that the noise is that of the patches alone."""
    labels = np.array([0, 2] * 50)

    def side(count: int) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
        predicted = np.where(np.arange(100) < count, labels, 7)
        columns = {"patch_id": [f"p{count}-{i:03}" for i in range(100)], "actual": CLASSES[labels]}
        seeds = [pd.DataFrame({"seed": seed, **columns, "predicted": CLASSES[predicted]}) for seed in (1, 2)]
        baselines = pd.DataFrame({**columns, "majority": CLASSES[0], "band_statistics": CLASSES[labels]})
        return {"notebook": pd.concat(seeds)}, baselines

    rows = {row["predictor"]: row for row in summarize_splits(side(80), side(60))}
    reach = 1.96 * np.sqrt((0.8 * 0.2 + 0.6 * 0.4) / 100)
    low, high = 20 - 100 * reach, 20 + 100 * reach
    assert rows["notebook"]["by order"] == f"0.800 ± {1.96 * 0.04:.3f}"
    assert rows["notebook"]["difference"] == f"**+20.0 points ({low:+.1f} to {high:+.1f})**"
    assert rows["always the largest class"]["difference"].startswith("+0.0 points (")

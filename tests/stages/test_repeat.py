import json

import numpy as np
import pandas as pd
import pytest

from stages import repeat


def test_summarize_by_hand():
    rows = [dict.fromkeys(repeat.METRICS, value) for value in (0.5, 0.7)]
    assert repeat.summarize(rows)["accuracy"] == {"mean": pytest.approx(0.6), "std": pytest.approx(0.1 * np.sqrt(2))}
    assert repeat.summarize(rows[:1]) == {"seeds": 1} | {name: {"mean": 0.5} for name in repeat.METRICS}
    assert repeat.summarize([]) == {"seeds": 0}


def test_each_seed_is_trained_as_train_does_it(prepared, run_stage, tmp_path):
    params = prepared(12, 4, 8) | {"train": {"epochs": 3, "learning_rate": 0.003, "shuffle": True}}
    done = run_stage("repeat", "tensors", "s.json", "s.csv", params=params | {"repeat": {"seeds": [7, 8]}})
    assert (done.returncode, done.stderr) == (0, "")
    rows = pd.read_csv(tmp_path / "s.csv")
    assert rows["seed"].tolist() == [7] * 8 + [8] * 8
    found = json.loads((tmp_path / "s.json").read_text())
    accuracies = (rows["actual"] == rows["predicted"]).groupby(rows["seed"]).mean()
    assert found["seeds"] == 2
    assert found["accuracy"]["mean"] == pytest.approx(accuracies.mean(), abs=1e-6)
    assert found["accuracy"]["std"] == pytest.approx(accuracies.std(), abs=1e-6)

    params["train"] |= {"seed": 8}
    assert run_stage("train", "tensors", "m.safetensors", "l.safetensors", "h.csv", params=params).returncode == 0
    assert run_stage("baseline", "tensors", "b.json", "b.csv", params=params).returncode == 0
    outputs = ("metrics.json", "predictions.csv", "per_class.csv", "pictures")
    done = run_stage("evaluate", "tensors", "l.safetensors", "h.csv", "b.csv", *outputs, params=params)
    assert done.returncode == 0, done.stderr
    trained = pd.read_csv(tmp_path / "predictions.csv")
    again = rows[rows["seed"] == 8].reset_index(drop=True)
    assert again[["patch_id", "actual", "predicted"]].equals(trained[["patch_id", "actual", "predicted"]])
    assert not list((tmp_path / ".partial").iterdir())

import numpy as np
import pandas as pd
import pytest

from landcover.dataset import tensors


def test_each_seed_is_trained_as_train_does_it(prepared, run_stage, tmp_path):
    params = prepared(12, 4, 8) | {"train": {"epochs": 3, "learning_rate": 0.003, "shuffle": True}}
    done = run_stage("repeat", "tensors", "s.safetensors", params=params | {"repeat": {"seeds": [8, 7]}})
    assert (done.returncode, done.stderr) == (0, "")
    found, facts = tensors.load(tmp_path / "s.safetensors")
    assert facts.pop("seeds") == [7, 8]
    assert {name: values.shape for name, values in found.items()} == {"val": (2, 4, 11), "test": (2, 8, 11)}
    assert not np.array_equal(found["test"][0], found["test"][1])
    assert not list((tmp_path / ".partial").iterdir())

    params["train"] |= {"seed": 8}
    assert run_stage("train", "tensors", "m.safetensors", "l.safetensors", "h.csv", params=params).returncode == 0
    trained, metadata = tensors.load(tmp_path / "l.safetensors")
    assert facts == {name: metadata[name] for name in ("bands", "classes", "scale", "device")}
    for name in ("val", "test"):
        assert found[name][1] == pytest.approx(trained[name], abs=1e-5), name

    assert run_stage("baseline", "tensors", "b.json", "b.csv", params=params).returncode == 0
    paths = ("tensors", "l.safetensors", "s.safetensors", "h.csv", "b.csv", "reports")
    done = run_stage("evaluate", *paths, params=params)
    assert done.returncode == 0, done.stderr
    rows, single = (pd.read_csv(tmp_path / "reports" / f"{name}.csv") for name in ("seed_predictions", "predictions"))
    again = rows[rows["seed"] == 8].reset_index(drop=True)
    assert again[["patch_id", "actual", "predicted"]].equals(single[["patch_id", "actual", "predicted"]])


def test_without_a_seed_nothing_is_trained(tmp_path, run_stage):
    """Not even the tensors are needed."""
    done = run_stage("repeat", "tensors", "s.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert tensors.load(tmp_path / "s.safetensors") == ({}, {"seeds": []})

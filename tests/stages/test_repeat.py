import numpy as np
import pandas as pd
import pytest
import torch

from landcover.dataset import tensors
from landcover.ground.errors import InputError
from landcover.network.calibration import fit_temperature
from landcover.network.loader import load
from landcover.network.model import load_ensemble, predict

REPEATED = ("tensors", "s.safetensors", "e.safetensors")


def test_each_seed_is_trained_as_train_does_it(prepared, run_stage, tmp_path):
    params = prepared(12, 4, 8) | {"train": {"epochs": 3, "learning_rate": 0.003, "shuffle": True}}
    done = run_stage("repeat", *REPEATED, params=params | {"repeat": {"seeds": [8, 7]}})
    assert (done.returncode, done.stderr) == (0, "")
    found, facts = tensors.load(tmp_path / "s.safetensors")
    assert facts.pop("seeds") == [7, 8]
    assert {name: values.shape for name, values in found.items()} == {"val": (2, 4, 11), "test": (2, 8, 11)}
    assert not np.array_equal(found["test"][0], found["test"][1])
    networks, about = load_ensemble(tmp_path / "e.safetensors")
    assert (about["seeds"], about["epochs"], about["dataset"], about["synthetic"]) == ([7, 8], [3, 3], "small", False)
    val, test = (tensors.load_split(tmp_path / "tensors", name) for name in ("val", "test"))
    patches = load(test, torch.device("cpu"))
    for network, predicted in zip(networks, found["test"], strict=True):
        assert predict(network, patches, 8) == pytest.approx(predicted, abs=1e-5)
    together = np.log(np.exp(found["val"]).mean(0))
    assert about["temperature"] == pytest.approx(fit_temperature(val.labels, together))
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
    done = run_stage("repeat", *REPEATED)
    assert (done.returncode, done.stderr) == (0, "")
    for name in REPEATED[1:]:
        assert tensors.load(tmp_path / name) == ({}, {"seeds": []})
    with pytest.raises(InputError, match=r"holds no network; name seeds in repeat\.seeds, and run dvc repro repeat"):
        load_ensemble(tmp_path / "e.safetensors")

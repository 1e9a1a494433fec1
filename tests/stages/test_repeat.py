import os

import numpy as np
import pytest
import torch

from landcover.config import Runtime
from landcover.data import tensors
from landcover.models.weights import load_ensemble
from landcover.training.calibration import fit_temperature
from landcover.training.loader import load
from landcover.training.prediction import predict
from landcover.training.repetition import at_once

REPEATED = ("tensors", "s.safetensors", "e.safetensors")


def test_each_seed_is_trained_as_train_does_it(prepared, run_stage, in_turn, tmp_path):
    params = prepared(12, 4, 8) | {"train": {"seed": 8, "epochs": 3, "learning_rate": 0.003, "shuffle": True}}
    params |= {"repeat": {"seeds": [8, 7]}}
    stages = "stages train tensors m.safetensors l.safetensors h.csv", f"stages repeat {' '.join(REPEATED)}"
    done = in_turn(*stages, params=params)
    assert (done.returncode, done.stderr) == (0, "")
    stored, facts = tensors.load(tmp_path / "s.safetensors")
    assert facts.pop("seeds") == [7, 8]
    assert {name: values.shape for name, values in stored.items()} == {"val": (2, 4, 11), "test": (2, 8, 11)}
    assert not np.array_equal(stored["test"][0], stored["test"][1])
    networks, metadata = load_ensemble(tmp_path / "e.safetensors")
    assert (metadata.seeds, metadata.epochs) == ([7, 8], [3, 3])
    assert (metadata.dataset, metadata.synthetic) == ("small", False)
    val, test = (tensors.load_split(tmp_path / "tensors", name) for name in ("val", "test"))
    patches = load(test, torch.device("cpu"))
    for network, predicted in zip(networks, stored["test"], strict=True):
        assert predict(network, patches, 8) == pytest.approx(predicted, abs=1e-5)
    together = np.log(np.exp(stored["val"]).mean(0))
    assert metadata.temperature == pytest.approx(fit_temperature(val.labels, together))
    assert not list((tmp_path / ".partial").iterdir())
    # Where there are cores, both trained at once; in turn, they come out the same.
    if hasattr(os, "sched_setaffinity"):
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        try:
            run_stage("repeat", "tensors", "s2.safetensors", "e2.safetensors", params=params)
        finally:
            os.sched_setaffinity(0, cores)
        assert (tmp_path / "s2.safetensors").read_bytes() == (tmp_path / "s.safetensors").read_bytes()
        assert (tmp_path / "e2.safetensors").read_bytes() == (tmp_path / "e.safetensors").read_bytes()

    trained, stated = tensors.load(tmp_path / "l.safetensors")
    assert facts == {name: stated[name] for name in ("bands", "classes", "scale", "device")}
    for name in ("val", "test"):
        assert stored[name][1] == pytest.approx(trained[name], abs=1e-5), name


def test_without_a_seed_nothing_is_trained(tmp_path, run_stage):
    """Not even the tensors are needed."""
    done = run_stage("repeat", *REPEATED)
    assert (done.returncode, done.stderr) == (0, "")
    for name in REPEATED[1:]:
        assert tensors.load(tmp_path / name) == ({}, {"seeds": []})


@pytest.mark.parametrize(("seeds", "threads", "count"), [(5, 2, 4), (3, 2, 3), (5, 16, 1), (1, 1, 1)])
def test_as_many_train_side_by_side_as_eight_cores_have_threads_for(monkeypatch, default_params, seeds, threads, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    runtime = Runtime(**default_params["runtime"] | {"device": "cpu", "threads": threads})
    assert at_once(seeds, runtime) == count

import os

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import LOCAL, architecture

from landcover.config import Runtime, Training
from landcover.data import tensors
from landcover.models.weights import load_ensemble
from landcover.training import repetition
from landcover.training.calibration import fit_temperature
from landcover.training.inputs import make_network
from landcover.training.loader import load
from landcover.training.loop import Run, derived_seed
from landcover.training.prediction import predict
from landcover.training.repetition import Trial, at_once

REPEATED = ("tensors", "shares", "w.safetensors", "folds.csv", "s.safetensors", "e.safetensors")


def test_each_seed_is_trained_as_train_does_it(prepared, run_stage, in_turn, tmp_path):
    params = prepared(12, 4, 8)
    params |= {"train": {"seed": 8, "patches": 10, "epochs": 3, "learning_rate": 0.003, "shuffle": True}}
    params |= {"repeat": {"seeds": [8, 7]}}
    stages = (
        "stages folds tensors folds.csv",
        "stages pretrained w.safetensors",
        "stages train tensors shares w.safetensors m.safetensors l.safetensors h.csv",
        f"stages repeat {' '.join(REPEATED)}",
    )
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
            run_stage("repeat", *REPEATED[:4], "s2.safetensors", "e2.safetensors", params=params)
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
    for name in REPEATED[4:]:
        assert tensors.load(tmp_path / name) == ({}, {"seeds": []})


def test_a_fold_trains_on_its_own_patches_alone_with_a_seed_of_its_own(tmp_path, default_params, monkeypatch):
    """As by hand, on copies of its patches; and side by side as in turn."""
    rng, labels = np.random.default_rng(0), np.arange(8) % 2
    images = rng.random((8, 2, 32, 32), np.float32) * (1 + np.arange(8, dtype=np.float32))[:, None, None, None] / 9
    facts = {"bands": ["B02", "B08"], "classes": ["a", "b"], "scale": {}}
    (tmp_path / "tensors").mkdir()
    rows = {"train": slice(0, 4), "val": slice(4, 6), "test": slice(6, 8)}
    for split, part in rows.items():
        tensors.save(
            tmp_path / "tensors" / f"{split}-00000.safetensors", {"images": images[part], "labels": labels[part]}, facts
        )
    splits = np.repeat([*rows], [4, 2, 2])
    pd.DataFrame({"split": splits, "patch_id": [*"abcdefgh"]}).to_csv(tmp_path / "tensors" / "index.csv", index=False)
    numbers = np.array([1, 2, 3, 4, 4, 3, 2, 1])
    table = pd.DataFrame({"patch_id": [*"abcdefgh"], "split": splits, "row": 0, "place": 0, "fold": numbers})
    for fold in range(1, 5):
        table[f"role_{fold}"] = np.select([numbers == fold, numbers == fold % 4 + 1], ["test", "val"], "train")
    table.loc[0, "role_2"] = "left_out"
    table.to_csv(tmp_path / "folds.csv", index=False)

    tensors.save(tmp_path / "w.safetensors", {}, {})  # no weights to start from
    monkeypatch.setattr(repetition, "set_deterministic", lambda threads, device: None)  # which is for good
    monkeypatch.chdir(tmp_path)
    settings = Training(**default_params["train"] | {"epochs": 2, "batch_size": 2, "shuffle": True, "keep": "best"})
    model = architecture(standardize="moments", convolutions=[2], linear=[], global_pooling=True)
    done = {}
    for count in (1, 2):
        monkeypatch.setattr(repetition, "at_once", lambda trials, runtime, count=count: count)
        inputs = (tmp_path / name for name in REPEATED[:4])
        done[count] = repetition.repeat_training(*inputs, [3, 5], model, settings, LOCAL)
        assert len(done[count].checkpoints) == len({path for path in done[count].checkpoints if path.is_file()}) == 8
        for path in done[count].checkpoints:
            path.unlink()
    predicted = done[1].log_probabilities
    for name, values in done[2].log_probabilities.items():
        assert np.array_equal(values, predicted[name])
    assert (done[1].facts["seeds"], done[1].facts["folds"], done[1].networks) == ([3, 5], 4, {})

    roles = table["role_2"].to_numpy()
    parts = {role: np.flatnonzero(roles == role) for role in ("train", "val", "test")}
    assert parts["train"].tolist() == [3, 4, 7]
    by_hand = {role: tensors.Split(images[part], labels[part], *facts.values()) for role, part in parts.items()}
    own = settings.model_copy(update={"seed": derived_seed(5, 2)})
    network = make_network(by_hand["train"], model, own.seed, torch.device("cpu"))
    patches = {role: load(split, torch.device("cpu")) for role, split in by_hand.items()}
    for _ in Run(network, patches["train"], patches["val"], own).epochs(tmp_path / "by_hand.safetensors"):
        pass
    for name in ("val", "test"):
        assert predict(network, patches[name], 16) == pytest.approx(predicted[name][1, parts[name]], abs=1e-6)


def test_every_seed_and_fold_has_a_seed_of_its_own():
    """And without folds, a network has the seed that is listed."""
    trials = [Trial(seed, fold) for seed in (0, 1, 2, 42) for fold in (0, 1, 2, 3, 4, 5)]
    assert len({trial.own_seed for trial in trials}) == len(trials)
    assert Trial(42).own_seed == 42


@pytest.mark.parametrize(("seeds", "threads", "count"), [(5, 2, 4), (3, 2, 3), (5, 16, 1), (1, 1, 1)])
def test_as_many_train_side_by_side_as_eight_cores_have_threads_for(monkeypatch, default_params, seeds, threads, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    runtime = Runtime(**default_params["runtime"] | {"device": "cpu", "threads": threads})
    assert at_once(seeds, runtime) == count

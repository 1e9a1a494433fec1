"""All inputs through all stages, and to predictions."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import call
from tiny import LOCAL, architecture, write_tile

from landcover import modalities
from landcover.mapping.patches import predict_patches
from landcover.mapping.predictor import Predictor
from landcover.models.weights import load

EVERYTHING = list(modalities.MODALITIES)
SHARES = "data/shares.safetensors"
STAGES = {
    "preprocess": ("data/patches", "data/tensors", SHARES, "reports/data.json"),
    "folds": ("data/tensors", "data/folds.csv"),
    "baseline": ("data/tensors", SHARES, "data/folds.csv", "reports/baselines.json", "reports/baseline_predictions.csv",
                 "reports/fold_baseline_predictions.csv"),
    "pretrained": ("models/pretrained.safetensors",),
    "train": ("data/tensors", SHARES, "models/pretrained.safetensors", "models/model.safetensors",
              "models/log.safetensors", "reports/history.csv"),
    "repeat": ("data/tensors", SHARES, "models/pretrained.safetensors", "data/folds.csv", "models/seeds.safetensors",
               "models/ensemble.safetensors"),
    "evaluate": ("data/tensors", SHARES, "data/folds.csv", "models/log.safetensors", "models/seeds.safetensors",
                 "reports/history.csv", "reports/baseline_predictions.csv", "reports/fold_baseline_predictions.csv",
                 "reports"),
    "report": ("data/tensors", "models/model.safetensors", "reports/data.json", "reports/baselines.json",
               "reports/history.csv", "reports/metrics.json", "reports/seeds.json", "reports/predictions.csv",
               "reports/per_class.csv", "reports/report.md", "models/card.md", "models/model.stac.json"),
}  # fmt: skip
PARAMS = {
    "dataset": "tiny",
    "datasets": {"tiny": {"source": "x", "split": {"method": "order", "train": 4, "val": 2, "test": 2}}},
    "inputs": EVERYTHING,
    "bands": ["B08", "B02"],
    "model": architecture(standardize="moments", fusion="late").model_dump(),
    "train": {"epochs": 1, "batch_size": 2, "modality_dropout": 0.3},
    "repeat": {"seeds": [1]},
}


@pytest.fixture
def run_through(dataset, run_stage, tmp_path):
    """The folder in which all stages have run, with all inputs fused late."""
    dataset.add_modalities()
    rng = np.random.default_rng(0)
    for i in range(len(dataset.ids)):
        for band in ("VV", "VH"):
            write_tile(dataset.radar_tile(i, band), rng.normal(-12 - i, 2, (120, 120)).astype(np.float32))
    for stage, paths in STAGES.items():
        done = run_stage(stage, *paths, params=PARAMS)
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_all_inputs_go_through_all_stages_and_to_predictions(dataset, run_through):
    reports = run_through / "reports"
    importance = json.loads((reports / "metrics.json").read_text())["test"]["importance"]
    assert {row["input"] for row in importance} == set(EVERYTHING)
    page = (reports / "report.md").read_text()
    assert "Inputs: B08, B02, VV, VH, elevation, climate_zone, season, weather." in page
    assert "Days between the Sentinel-2 and the Sentinel-1 image of a patch: 2 in the median, 2 at most." in page
    assert "![Accuracy lost without each input](inputs.png)" in page
    assert "context = torch.rand(1, len(inputs" in (run_through / "models/card.md").read_text()
    network, metadata = load(run_through / "models/model.safetensors")
    assert network.modalities == EVERYTHING
    assert (metadata.modality_dropout, metadata.architecture.parameters.fusion) == (0.3, "late")

    # The patches of the folder are predicted as the stages predicted them.
    predictor = Predictor.load(run_through / "models/model.safetensors")
    table, _ = predict_patches(dataset.root, predictor, "auto", LOCAL)
    of_test = pd.read_csv(reports / "predictions.csv").set_index("patch_id")
    found = table.set_index("patch_id").loc[of_test.index]
    assert found["predicted"].tolist() == of_test["predicted"].tolist()

    # Trained with modality dropout, the network also predicts without some of its inputs.
    shutil.rmtree(dataset.root / "sentinel-1")
    (dataset.root / "tiny_era-5.csv").unlink()
    done = call(run_through, "landcover", "predict", "data/patches/tiny", "--out", "out")
    assert (done.returncode, done.stderr) == (0, "data/patches/tiny: predicted without sentinel-1, weather\n")
    table = pd.read_csv(run_through / "out" / "predictions.csv")
    assert table["problem"].isna().all()
    assert table["confidence"].between(0, 1).all()

import json

import numpy as np
import pandas as pd
import pytest

from landcover.dataset import tensors
from landcover.ground import benge

FACTS = {"bands": ["B04"], "classes": list(benge.CLASSES), "scale": {"divisor": 10_000}}
NETWORK = FACTS | {"parameters": 99, "epochs": 2}
PATHS = (
    "tensors", "log.safetensors", "history.csv", "baselines.csv",
    "metrics.json", "predictions.csv", "per_class.csv", "pictures",
)  # fmt: skip


@pytest.fixture
def bright_or_dark(tmp_path):
    """Of a network that takes bright patches for class 3 and dark ones for class 0; of ten, it errs in two."""
    columns = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate"]
    pd.DataFrame([[1, 2.0, 0.5, 2.0, 0.5, 0.1]], columns=columns).to_csv(tmp_path / "history.csv", index=False)

    bright = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 0])
    labels = np.array([3, 3, 3, 3, 0, 0, 0, 0, 0, 3])
    images = np.broadcast_to((0.2 + 0.6 * bright)[:, None, None, None], (10, 1, 120, 120)).astype(np.float32)
    logits = np.full((10, 11), -100.0)
    logits[:, 0], logits[:, 3] = 0, np.where(bright, 6, -6)
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    tensors.save(tmp_path / PATHS[1], {"val": log_probabilities, "test": log_probabilities}, NETWORK)
    rows = []
    (tmp_path / "tensors").mkdir()
    for split in ("val", "test"):
        arrays = {"images": np.ascontiguousarray(images), "labels": labels}
        tensors.save(tmp_path / "tensors" / tensors.shard_name(split, 0), arrays, FACTS)
        rows += [[split, i, f"{split}{i}", label, 0.5, 0, 0] for i, label in enumerate(labels)]
    columns = ["split", "row", "patch_id", "label", "majority_fraction", "lon", "lat"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "tensors" / "index.csv", index=False)
    names = np.array(benge.CLASSES)[labels]
    baselines = {"patch_id": [f"test{i}" for i in range(10)], "majority": "cropland", "band_statistics": names}
    pd.DataFrame(baselines).to_csv(tmp_path / "baselines.csv", index=False)
    return tmp_path


def test_every_file_says_what_the_model_does(bright_or_dark, run_stage):
    done = run_stage("evaluate", *PATHS)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((bright_or_dark / "metrics.json").read_text())
    assert list(found) == ["test", "val", "model"]
    assert found["model"] == {"parameters": 99, "epochs": 2}
    test = found["test"]
    calibrated, against = test.pop("calibrated"), test.pop("against")
    assert against["majority"]["difference"] == 0.3
    assert against["band_statistics"]["difference"] == -0.2
    assert against["band_statistics"]["p"] == 0.5  # two patches, both of which only the baseline has right
    assert test == found["val"]
    assert calibrated["temperature"] == pytest.approx(
        6 / np.log(4), abs=1e-3
    )  # then it is sure to 80 %, as it is right
    assert calibrated["ece"] == pytest.approx(0, abs=1e-4)
    assert (test["n"], test["accuracy"], test["balanced_accuracy"], test["macro_f1"]) == (10, 0.8, 0.8, 0.8)
    assert 0.4 <= test["accuracy_ci_low"] < 0.8 < test["accuracy_ci_high"] <= 1
    sure = 1 / (1 + np.exp(-6))  # logits 6 apart
    assert test["nll"] == pytest.approx(-0.8 * np.log(sure) - 0.2 * np.log(1 - sure), abs=1e-4)
    assert test["ece"] == pytest.approx(sure - 0.8, abs=1e-4)

    predictions = pd.read_csv(bright_or_dark / "predictions.csv")
    assert predictions.columns.tolist() == [
        "patch_id", "actual", "predicted", "confidence", "p_actual", "majority_fraction"
    ]  # fmt: skip
    assert predictions.loc[8, ["patch_id", "actual", "predicted"]].tolist() == ["test8", "tree_cover", "cropland"]
    assert predictions.loc[8, "confidence"] == pytest.approx(sure, abs=1e-5)
    assert predictions.loc[8, "p_actual"] == pytest.approx(1 - sure, abs=1e-5)

    per_class = pd.read_csv(bright_or_dark / "per_class.csv").set_index("class")
    assert per_class.index.tolist() == list(benge.CLASSES)
    assert per_class.loc["cropland"].tolist() == [5, 0.8, 0.8, 0.8]
    assert per_class.loc["mangroves", "support"] == 0
    assert per_class.loc["mangroves", ["precision", "recall", "f1"]].isna().all()

    pictures = sorted(p.name for p in (bright_or_dark / "pictures").iterdir())
    assert pictures == [
        "confusion_matrix.png", "confusion_matrix_normalized.png", "errors.png", "examples.png",
        "learning_curves.png", "places.png", "purity.png", "reliability.png",
    ]  # fmt: skip


def test_two_runs_give_the_same_bytes(bright_or_dark, run_stage):
    runs = []
    for _ in range(2):
        assert run_stage("evaluate", *PATHS).returncode == 0
        files = [bright_or_dark / name for name in PATHS[4:7]] + sorted((bright_or_dark / "pictures").iterdir())
        runs.append([path.read_bytes() for path in files])
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("arrays", "facts", "expected"),
    [
        ({"test": np.zeros((9, 11))}, {}, "not of the 10 patches of the test split"),
        ({"test": np.zeros((10, 10))}, {}, "not of the 10 patches of the test split"),
        ({"test": np.full((10, 11), np.nan)}, {}, "is not finite"),
        ({}, {}, "not of the 10 patches of the test split"),
        (
            {"test": np.zeros((10, 11))},
            {"classes": ["a"]},
            "trained with classes ['a'], the tensors have ['tree_cover'",
        ),
        ({"test": np.zeros((10, 11))}, {"bands": ["B08"]}, "trained with bands ['B08'], the tensors have ['B04']"),
        ({"test": np.zeros((10, 11))}, {"scale": {}}, "trained with scale {}, the tensors have {'divisor': 10000}"),
    ],
    ids=["fewer patches", "fewer classes", "not finite", "no test split", "classes", "bands", "scale"],
)
def test_predictions_of_other_tensors_are_refused(bright_or_dark, run_stage, arrays, facts, expected):
    tensors.save(bright_or_dark / PATHS[1], {"val": np.zeros((10, 11))} | arrays, NETWORK | facts)
    done = run_stage("evaluate", *PATHS)
    assert done.returncode == 1
    assert done.stderr.startswith("error: log.safetensors: ")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (bright_or_dark / "metrics.json").exists()

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from landcover import constants
from landcover.data import tensors
from landcover.evaluation.comparison import tango
from landcover.evaluation.intervals import wilson
from landcover.evaluation.results import SEED_COLUMNS

FACTS = {"bands": ["B04"], "classes": list(constants.CLASSES), "scale": {"divisor": 10_000}}
# With this temperature it is sure to 80 %, as it is right.
NETWORK = FACTS | {"temperature": 6 / np.log(4), "parameters": 99, "epochs": 2, "device": "cpu"}
PATHS = (
    "tensors", "shares", "folds.csv", "log.safetensors", "seeds.safetensors", "history.csv", "baselines.csv",
    "fold_baselines.csv", "reports",
)  # fmt: skip
SURE = 1 / (1 + np.exp(-6))  # logits 6 apart


def log_probabilities(bright: np.ndarray) -> np.ndarray:
    logits = np.full((len(bright), 11), -100.0)
    logits[:, 0], logits[:, 3] = 0, np.where(bright, 6, -6)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


@pytest.fixture
def bright_or_dark(tmp_path):
    """Of a network that takes bright patches for class 3 and dark ones for class 0; of ten, it errs in two.

    In the train split it errs in none. There is no seed more.
    """
    columns = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate"]
    pd.DataFrame([[1, 2.0, 0.5, 2.0, 0.5, 0.1]], columns=columns).to_csv(tmp_path / "history.csv", index=False)

    bright = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 0])
    wrong = np.array([3, 3, 3, 3, 0, 0, 0, 0, 0, 3])
    labels = {"train": np.where(bright, 3, 0), "val": wrong, "test": wrong}
    images = np.broadcast_to((0.2 + 0.6 * bright)[:, None, None, None], (10, 1, 120, 120)).astype(np.float32)
    tensors.save(tmp_path / PATHS[3], dict.fromkeys(labels, log_probabilities(bright)), NETWORK)
    tensors.save(tmp_path / PATHS[4], {}, {"seeds": []})
    rows = []
    (tmp_path / "tensors").mkdir()
    tensors.save_origin(tmp_path / "tensors", tensors.Origin("tiny", synthetic=True))
    for split, of_split in labels.items():
        arrays = {"images": np.ascontiguousarray(images), "labels": of_split}
        tensors.save(tmp_path / "tensors" / tensors.shard_name(split, 0), arrays, FACTS)
        rows += [[split, i, f"{split}{i}", label, 0.5, 8.25, 47.5] for i, label in enumerate(of_split)]
    columns = ["split", "row", "patch_id", "label", "majority_fraction", "lon", "lat"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "tensors" / "index.csv", index=False)
    names = np.array(constants.CLASSES)[wrong]
    baselines = {"patch_id": [f"test{i}" for i in range(10)], "actual": names, "majority": "cropland"}
    pd.DataFrame(baselines | {"band_statistics": names}).to_csv(tmp_path / "baselines.csv", index=False)
    tensors.save(tmp_path / "shares", {}, {})
    (tmp_path / "folds.csv").write_text("patch_id,split,row,place,fold\n")
    (tmp_path / "fold_baselines.csv").write_text("fold,place,patch_id,actual,majority,band_statistics,texture\n")
    return tmp_path


def test_every_file_says_what_the_model_does(bright_or_dark, run_stage):
    done = run_stage("evaluate", *PATHS)
    assert (done.returncode, done.stderr) == (0, "")
    reports = bright_or_dark / "reports"
    result = json.loads((reports / "metrics.json").read_text())
    assert list(result) == ["test", "val", "train", "model"]
    assert result["model"] == {"parameters": 99, "epochs": 2, "device": "cpu"}
    assert (result["train"]["accuracy"], result["train"]["nll"]) == (1, pytest.approx(-np.log(SURE), abs=1e-6))
    test = result["test"]
    calibrated, against = test.pop("calibrated"), test.pop("against")
    assert list(against) == ["majority", "band_statistics"]  # the third is not in the table
    assert against["majority"]["difference"] == 0.3
    assert against["band_statistics"]["difference"] == -0.2
    # Two patches, both of which only the baseline has right: the square root of two standard errors.
    assert against["band_statistics"]["p"] == pytest.approx(2 * scipy.stats.norm.sf(np.sqrt(2)), abs=1e-6)
    assert against["band_statistics"]["components"] == [{"source": "patches", "count": 10, "share": 1}]
    assert test == result["val"]
    assert calibrated["temperature"] == pytest.approx(6 / np.log(4), abs=1e-6)
    assert calibrated["ece"] == pytest.approx(0, abs=1e-4)
    assert calibrated["nll"] == pytest.approx(-0.8 * np.log(0.8) - 0.2 * np.log(0.2), abs=1e-4)
    assert (test["n"], test["accuracy"], test["balanced_accuracy"], test["macro_f1"]) == (10, 0.8, 0.8, 0.8)
    assert (test["accuracy_ci_low"], test["accuracy_ci_high"]) == pytest.approx(wilson(0.8, 10), abs=1e-6)
    assert test["nll"] == pytest.approx(-0.8 * np.log(SURE) - 0.2 * np.log(1 - SURE), abs=1e-4)
    assert test["ece"] == pytest.approx(SURE - 0.8, abs=1e-4)

    predictions = pd.read_csv(reports / "predictions.csv")
    assert predictions.columns.tolist() == [
        "patch_id", "actual", "predicted", "confidence", "p_actual", "brier", "majority_fraction", "lon", "lat",
        "rank_actual",
    ]  # fmt: skip
    assert predictions.loc[8, ["patch_id", "actual", "predicted"]].tolist() == ["test8", "tree_cover", "cropland"]
    figures = predictions.loc[8, ["confidence", "p_actual", "brier", "majority_fraction", "lon", "lat"]].tolist()
    assert figures == pytest.approx([SURE, 1 - SURE, 2 * SURE**2, 0.5, 8.25, 47.5], rel=1e-5)

    headline = json.loads((reports / "headline.json").read_text())
    assert headline == {
        "accuracy": 0.8, "macro_f1": 0.8, "nll": round(test["nll"], 3), "margin": -0.2, "val_accuracy": 0.8
    }  # fmt: skip

    matrix = pd.read_csv(reports / "confusion_matrix.csv")
    assert matrix[["actual", "predicted"]].agg(tuple, axis=1).tolist() == list(product(constants.CLASSES, repeat=2))
    assert matrix.query("patches > 0").to_numpy().tolist() == [
        ["tree_cover", "tree_cover", 4, 0.8], ["tree_cover", "cropland", 1, 0.2],
        ["cropland", "tree_cover", 1, 0.2], ["cropland", "cropland", 4, 0.8],
    ]  # fmt: skip

    per_class = pd.read_csv(reports / "per_class.csv").set_index("class")
    assert per_class.columns.tolist() == ["support", "precision", "recall", "recall_low", "recall_high", "f1"]
    assert per_class.index.tolist() == list(constants.CLASSES)
    assert per_class.loc["cropland"].tolist() == pytest.approx([5, 0.8, 0.8, *wilson(0.8, 5), 0.8], rel=1e-5)
    assert per_class.loc["mangroves", "support"] == 0
    assert per_class.loc["mangroves"].drop("support").isna().all()

    pictures = sorted(p.name for p in reports.glob("*.png"))
    assert pictures == [
        "confusion_matrix.png", "confusion_matrix_normalized.png", "errors.png", "examples.png",
        "inputs.png", "learning_curves.png", "places.png", "purity.png", "reliability.png", "shares.png",
        "suspects.png",
    ]  # fmt: skip
    assert json.loads((reports / "seeds.json").read_text()) == {"seeds": 0}
    for name in ("seed_predictions.csv", "seed_val_predictions.csv"):
        assert (reports / name).read_text() == f"{','.join(SEED_COLUMNS)}\n"


def test_other_seeds_are_summed_up_with_their_noise(bright_or_dark, run_stage):
    """Of two seeds, one errs as the network does and one in no test patch; in val, both err as the network does."""
    bright = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 0])
    erring, right = log_probabilities(bright), log_probabilities(np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 1]))
    repeated = {"val": np.stack([erring, erring]), "test": np.stack([erring, right])}
    tensors.save(bright_or_dark / PATHS[4], repeated, {"seeds": [3, 7]} | FACTS)
    done = run_stage("evaluate", *PATHS)
    assert (done.returncode, done.stderr) == (0, "")
    reports = bright_or_dark / "reports"
    result = json.loads((reports / "seeds.json").read_text())
    metrics = ["accuracy", "macro_f1", "balanced_accuracy", "top2_accuracy", "nll", "brier"]
    assert list(result) == ["seeds", *metrics, "val", "against", "ensemble"]
    assert (result["seeds"], list(result["val"])) == (2, metrics)
    nll = -0.8 * np.log(SURE) - 0.2 * np.log(1 - SURE), -np.log(SURE)
    for name, (of_erring, of_right) in {"accuracy": (0.8, 1), "macro_f1": (0.8, 1), "nll": nll}.items():
        test, val = result[name], result["val"][name]
        assert test["mean"] == pytest.approx((of_erring + of_right) / 2, abs=1e-5)
        assert test["std"] == pytest.approx(abs(of_right - of_erring) / np.sqrt(2), abs=1e-5)
        assert test["low"] < test["mean"] < test["high"]
        assert (val["mean"], val["std"]) == (pytest.approx(of_erring, abs=1e-5), 0)
    # In val both are alike, and so are they together. Of the two test patches that only one of them gets right, the
    # mean of their probabilities is a half.
    ensemble = result["ensemble"]
    low, high = tango(0, 0, 10)  # that no patch of ten changed is not certainty
    assert ensemble["val"]["accuracy"] == pytest.approx({"value": 0.8, "difference": 0, "low": low, "high": high})
    assert ensemble["nll"]["value"] == pytest.approx(-0.8 * np.log(SURE) - 0.2 * np.log(0.5), abs=1e-5)
    assert ensemble["nll"]["difference"] == pytest.approx(ensemble["nll"]["value"] - result["nll"]["mean"], abs=2e-6)
    assert result["against"]["majority"]["difference"] == pytest.approx(0.4)
    assert result["against"]["band_statistics"]["difference"] == pytest.approx(-0.1)

    rows = pd.read_csv(reports / "seed_predictions.csv")
    assert rows["seed"].tolist() == [3] * 10 + [7] * 10
    assert rows["patch_id"].tolist() == [f"test{i}" for i in range(10)] * 2
    assert rows.loc[[8, 18], "predicted"].tolist() == ["cropland", "tree_cover"]
    assert rows.loc[[8, 18], "p_actual"].tolist() == pytest.approx([1 - SURE, SURE], rel=1e-5)
    val = pd.read_csv(reports / "seed_val_predictions.csv")
    assert val["patch_id"].tolist() == [f"val{i}" for i in range(10)] * 2
    assert (val["actual"] == val["predicted"]).groupby(val["seed"]).mean().tolist() == [0.8, 0.8]

    assert json.loads((reports / "headline.json").read_text())["mean_accuracy"] == 0.9

    # Of one seed alone, no noise is known.
    alone = {name: values[:1] for name, values in repeated.items()}
    tensors.save(bright_or_dark / PATHS[4], alone, {"seeds": [3]} | FACTS)
    assert run_stage("evaluate", *PATHS).returncode == 0
    result = json.loads((reports / "seeds.json").read_text())
    assert (result["seeds"], result["accuracy"]) == (1, {"mean": 0.8})


def test_pictures_of_synthetic_data_differ_from_those_of_other_data_and_figures_do_not(bright_or_dark, run_stage):
    runs = []
    for origin in (("a", True), ("b", True), ("b", False)):
        tensors.save_origin(bright_or_dark / "tensors", tensors.Origin(*origin))
        assert run_stage("evaluate", *PATHS).returncode == 0
        runs.append({path.name: path.read_bytes() for path in (bright_or_dark / "reports").iterdir()})
    sample, again, other = runs
    assert sample == again  # and so two runs give the same bytes
    assert len(sample) == 20
    assert all((sample[name] != other[name]) == name.endswith(".png") for name in sample)


def test_predictions_of_other_patches_end_in_one_line(bright_or_dark, run_stage):
    tensors.save(bright_or_dark / PATHS[3], dict.fromkeys(constants.SPLITS, np.zeros((9, 11))), NETWORK)
    done = run_stage("evaluate", *PATHS)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith(f"error: {PATHS[3]}: is not finite, or does not cover the 10 ")
    assert not list((bright_or_dark / "reports").glob("*.[!p]*"))  # a picture at most

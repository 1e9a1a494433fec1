"""Predict without a network.  data/tensors -> reports/baselines.json, reports/baseline_predictions.csv"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from landcover import files
from landcover.config import Baseline, Evaluation, Runtime
from landcover.data.index import load_index
from landcover.data.tensors import Split, load_split
from landcover.evaluation import baselines, results
from landcover.evaluation.metrics import named
from landcover.evaluation.predictions import BASELINES, tabulate
from landcover.processes import helpers
from landcover.terminal import showing


def train_and_test(tensors_dir: Path) -> list[Split]:
    """The train and the test split, whose images stay on disk: each is read once, patch by patch."""
    return [load_split(tensors_dir, name, gigabytes=0) for name in ("train", "test")]


def features(splits: list[Split], describe: Callable[[Split], np.ndarray]) -> list[np.ndarray]:
    """Of each split, features of its images (N, F), and beside them its context, if that is an input."""
    described = [(describe(split), split.context) for split in splits]
    return [of_images if context is None else np.hstack([of_images, context]) for of_images, context in described]


def from_band_statistics(tensors_dir: Path, settings: Baseline, threads: int) -> tuple[np.ndarray, float]:
    """Log-probabilities (N, K) for the test split, from a logistic regression, and its C."""
    train, test = splits = train_and_test(tensors_dir)
    known, new = features(splits, lambda one: baselines.band_statistics(one.images, settings.percentiles, threads))
    index = load_index(tensors_dir, "train")
    groups = baselines.ground_groups(index.lon, index.lat)
    with threadpool_limits(threads):
        chosen = baselines.choose_regularization(known, train.labels, groups, settings.inverse_regularization)
        return baselines.logistic_regression(known, train.labels, new, len(test.classes), chosen), chosen


def from_texture(tensors_dir: Path, threads: int) -> np.ndarray:
    """Log-probabilities (N, K) for the test split, from boosted trees."""
    train, test = splits = train_and_test(tensors_dir)
    known, new = features(splits, lambda one: baselines.texture(one.images, one.bands, threads, line=1))
    return baselines.gradient_boosting(known, train.labels, new, len(test.classes))


def baseline(
    tensors_dir: Path,
    baselines_json: Path,
    predictions_csv: Path,
    *,
    baseline: Baseline,
    evaluate: Evaluation,
    runtime: Runtime,
) -> None:
    """Score the majority class, logistic regression and gradient boosting on the test split."""
    named(evaluate.verdict)  # an unknown metric is reported before anything is trained
    threads = max(1, runtime.threads // 2)  # of each process
    with helpers(1) as pool:
        texture = pool.submit(from_texture, tensors_dir, threads)  # meanwhile:
        statistics, chosen = from_band_statistics(tensors_dir, baseline, threads)
        with showing("gradient boosting on texture features"):
            texture = texture.result()
    train, test = train_and_test(tensors_dir)
    majority = baselines.majority(train.labels, len(test.labels), len(test.classes))
    predicted = {"majority": majority, "band_statistics": statistics, "texture": texture}
    index = load_index(tensors_dir, "test")
    tables = {name: tabulate(test, index, log_probabilities) for name, log_probabilities in predicted.items()}
    chance = evaluate.model_dump(include={"resamples", "seed"})
    scores = {name: results.of_run(table, **chance) for name, table in tables.items()}
    scores["band_statistics"]["inverse_regularization"] = chosen
    accuracies = [{"baseline": BASELINES[name], "accuracy": values["accuracy"]} for name, values in scores.items()]
    # A list of records, as `dvc plots` draws them.
    files.write_json(baselines_json, scores | {"accuracies": accuracies})
    predictions = tables["majority"][["patch_id", "actual"]]
    files.write_csv(predictions_csv, predictions.assign(**{name: table["predicted"] for name, table in tables.items()}))

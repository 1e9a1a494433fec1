"""Predict without a network.  data/tensors -> reports/baselines.json, reports/baseline_predictions.csv"""

from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from landcover.dataset.index import load_index
from landcover.dataset.tensors import Split, load_split
from landcover.ground import files
from landcover.ground.params import Baseline, Evaluation, Runtime
from landcover.judgement import baselines, metrics
from landcover.judgement.predictions import tabulate


def with_context(features: np.ndarray, split: Split) -> np.ndarray:
    """Features of images (N, F), and beside them the context of the same patches, if it is an input."""
    return features if split.context is None else np.hstack([features, split.context])


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
    train, test = (load_split(tensors_dir, split, runtime.resident_gigabytes) for split in ("train", "test"))
    of_train, of_test = (load_index(tensors_dir, split) for split in ("train", "test"))
    classes = len(test.classes)
    with threadpool_limits(runtime.threads):
        statistics, test_statistics = (
            with_context(baselines.band_statistics(split.images, baseline.percentiles, runtime.threads), split)
            for split in (train, test)
        )
        texture, test_texture = (
            with_context(baselines.texture(split.images, split.bands, runtime.threads), split)
            for split in (train, test)
        )
        groups = baselines.ground_groups(of_train.lon, of_train.lat)
        chosen = baselines.choose_regularization(statistics, train.labels, groups, baseline.inverse_regularization)
        found = {
            "majority": baselines.majority(train.labels, len(test.labels), classes),
            "band_statistics": baselines.logistic_regression(
                statistics, train.labels, test_statistics, classes, chosen
            ),
            "texture": baselines.gradient_boosting(texture, train.labels, test_texture, classes),
        }
    tables = {name: tabulate(test, of_test, log_probabilities) for name, log_probabilities in found.items()}
    chance = evaluate.model_dump(include={"resamples", "seed"})
    scores = {name: metrics.summary(table, **chance) for name, table in tables.items()}
    scores["band_statistics"]["inverse_regularization"] = chosen
    files.write_json(baselines_json, scores)
    predictions = tables["majority"][["patch_id", "actual"]]
    files.write_csv(predictions_csv, predictions.assign(**{name: table["predicted"] for name, table in tables.items()}))

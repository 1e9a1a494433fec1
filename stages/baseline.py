"""Predict without a network.  data/tensors -> reports/baselines.json, reports/baseline_predictions.csv"""

from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from landcover.dataset.index import load_index
from landcover.dataset.tensors import load_split
from landcover.ground import files
from landcover.ground.params import Baseline, Evaluation, Runtime
from landcover.judgement import metrics
from landcover.judgement.baselines import band_statistics, logistic_regression, majority


def baseline(
    tensors_dir: Path,
    baselines_json: Path,
    predictions_csv: Path,
    *,
    baseline: Baseline,
    evaluate: Evaluation,
    runtime: Runtime,
) -> None:
    """Score the largest class, and a logistic regression of band statistics, on the test split."""
    train, test = (load_split(tensors_dir, split, runtime.resident_gigabytes) for split in ("train", "test"))
    classes = len(test.classes)
    with threadpool_limits(runtime.threads):
        of_train, of_test = (
            band_statistics(split.images, baseline.percentiles, runtime.threads) for split in (train, test)
        )
        found = {
            "majority": majority(train.labels, len(test.labels), classes),
            "band_statistics": logistic_regression(
                of_train, train.labels, of_test, classes, baseline.inverse_regularization
            ),
        }
    scores = {name: metrics.summary(test.labels, values, **evaluate.model_dump()) for name, values in found.items()}
    files.write_json(baselines_json, scores)
    names = np.array(test.classes)
    columns = {"patch_id": load_index(tensors_dir, "test").patch_ids, "actual": names[test.labels]}
    columns |= {name: names[log_probabilities.argmax(1)] for name, log_probabilities in found.items()}
    files.write_csv(predictions_csv, pd.DataFrame(columns))

"""Judge the network.  data/tensors, models/log_probabilities.safetensors -> reports/metrics.json, tables, pictures"""

from pathlib import Path

import numpy as np
import pandas as pd

from landcover.dataset.index import INDEX, load_index
from landcover.dataset.tensors import load_split
from landcover.ground import files
from landcover.ground.params import Evaluation
from landcover.ground.processes import helpers
from landcover.judgement import metrics
from landcover.judgement.calibration import ece
from landcover.judgement.comparison import against_baselines
from landcover.judgement.probabilities import read_log_probabilities
from landcover.pages import plots
from landcover.pages.pictures import Pictures


def evaluate(
    tensors_dir: Path,
    log_probabilities_path: Path,
    history_csv: Path,
    baseline_predictions_csv: Path,
    metrics_json: Path,
    predictions_csv: Path,
    per_class_csv: Path,
    pictures_dir: Path,
    *,
    evaluate: Evaluation,
) -> None:
    """Write the metrics of the val and test splits, and tables and pictures of the test split."""
    with helpers(2) as painters:
        pictures = Pictures(pictures_dir, painters)
        # Images stay on disk: no more are read than the pictures show.
        splits = {name: load_split(tensors_dir, name, gigabytes=0) for name in ("test", "val")}
        test, index = splits["test"], load_index(tensors_dir, "test")
        log_probabilities, cost = read_log_probabilities(log_probabilities_path, splits)
        of_test = log_probabilities["test"]
        labels, confidence = of_test.argmax(1), np.exp(of_test.max(1))
        pictures.draw_predictions(test, index, labels, confidence)
        pictures.draw_examples(test, index)
        pictures.draw_places(tensors_dir / INDEX)
        pictures.draw("learning_curves", plots.learning_curves, pd.read_csv(history_csv))

        names = np.array(test.classes)
        predictions = pd.DataFrame(
            {
                "patch_id": index.patch_ids,
                "actual": names[test.labels],
                "predicted": names[labels],
                "confidence": confidence,
                "p_actual": np.exp(of_test[np.arange(len(labels)), test.labels]),
                "majority_fraction": index.majority_fractions,
            }
        )
        intervals = evaluate.model_dump()
        found = {
            name: metrics.summary(split.labels, log_probabilities[name], **intervals) for name, split in splits.items()
        }
        temperature = metrics.fit_temperature(splits["val"].labels, log_probabilities["val"])
        softened = metrics.soften(of_test, temperature)
        found["test"]["calibrated"] = {
            "temperature": temperature,
            "nll": metrics.nll(test.labels, softened),
            "ece": ece(labels == test.labels, np.exp(softened.max(1))),
        }
        found["test"]["against"] = against_baselines(predictions, pd.read_csv(baseline_predictions_csv), **intervals)
        per_class = metrics.per_class(test.labels, labels, len(names))
        per_class.insert(0, "class", names)
        pictures.wait()

    files.write_json(metrics_json, {**found, "model": cost})
    files.write_csv(predictions_csv, predictions)
    files.write_csv(per_class_csv, per_class)

"""Evaluate the network.  data/tensors, models/*log_probabilities*, reports/history.csv, the baselines -> reports/"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from landcover import files
from landcover.config import Evaluation
from landcover.constants import SPLITS
from landcover.data.index import INDEX, load_index
from landcover.data.tensors import load_origin, load_split
from landcover.evaluation import confusion, metrics, repetition
from landcover.evaluation.calibration import ece
from landcover.evaluation.comparison import against_baselines
from landcover.evaluation.importance import importance
from landcover.evaluation.predictions import parse, tabulate
from landcover.evaluation.probabilities import COST, read_log_probabilities, read_seeds
from landcover.processes import helpers
from landcover.report import plots
from landcover.report.pictures import Pictures


def evaluate(
    tensors_dir: Path,
    log_probabilities_path: Path,
    seeds_path: Path,
    history_csv: Path,
    baseline_predictions_csv: Path,
    reports_dir: Path,
    *,
    evaluate: Evaluation,
) -> None:
    """Write metrics, tables and pictures to `reports_dir`, for the run and for its repetition with other seeds."""
    chance = evaluate.model_dump(include={"resamples", "seed"})
    with helpers(2) as painters:
        pictures = Pictures(reports_dir, painters, synthetic=load_origin(tensors_dir).synthetic)
        # Images stay on disk: no more are read than the pictures show.
        splits = {name: load_split(tensors_dir, name, gigabytes=0) for name in SPLITS}
        indices = {name: load_index(tensors_dir, name) for name in SPLITS}
        test, index = splits["test"], indices["test"]
        log_probabilities, facts = read_log_probabilities(log_probabilities_path, splits)
        of_test = log_probabilities["test"]
        labels, confidence = of_test.argmax(1), np.exp(of_test.max(1))
        pictures.draw_predictions(test, index, labels, confidence)
        pictures.draw_examples(test)
        pictures.draw_places(tensors_dir / INDEX, test.images.shape[-1])
        pictures.draw("learning_curves", plots.learning_curves, pd.read_csv(history_csv))

        seeds, repeated = read_seeds(seeds_path, {name: splits[name] for name in repetition.JUDGED})
        tables = repetition.tables(seeds, repeated, splits, indices)
        baselines = pd.read_csv(baseline_predictions_csv)
        over_seeds = repetition.summary(tables, baselines)
        if len(seeds) > 1:
            over_seeds["ensemble"] = repetition.ensemble(repeated, splits, indices, tables)
        predictions = {name: tabulate(splits[name], indices[name], log_probabilities[name]) for name in SPLITS}
        found = {name: metrics.summary(predictions[name], **chance) for name in ("test", "val")}
        # In evaluation mode, and by the weights that were kept, unlike the history's.
        found["train"] = metrics.accuracy_and_nll(predictions["train"])
        softened = log_softmax(of_test / facts["temperature"], axis=1)
        found["test"]["calibrated"] = {
            "temperature": facts["temperature"],
            "nll": metrics.nll(test.labels, softened),
            "ece": ece(labels == test.labels, np.exp(softened.max(1))),
        }
        found["test"]["against"] = against_baselines(parse(predictions["test"]), baselines)
        inputs = importance(test, index, log_probabilities)
        pictures.draw("inputs", plots.importance, inputs, found["test"]["accuracy"])
        if len(inputs) > 1:
            found["test"]["importance"] = inputs
        per_class = metrics.per_class(test.labels, labels, len(test.classes))
        per_class.insert(0, "class", test.classes)
        matrix = confusion.confusion_matrix(test.labels, labels, len(test.classes))
        pictures.wait()

    files.write_json(reports_dir / "headline.json", metrics.headline(found, over_seeds))
    files.write_json(reports_dir / "metrics.json", {**found, "model": {fact: facts[fact] for fact in COST}})
    files.write_csv(reports_dir / "predictions.csv", predictions["test"])
    files.write_csv(reports_dir / "per_class.csv", per_class)
    files.write_csv(reports_dir / "confusion_matrix.csv", confusion.tabulate(matrix, test.classes))
    files.write_json(reports_dir / "seeds.json", over_seeds)
    files.write_csv(reports_dir / "seed_predictions.csv", tables["test"])
    files.write_csv(reports_dir / "seed_val_predictions.csv", tables["val"])

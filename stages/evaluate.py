"""Evaluate the network.  data/tensors, shares, folds, log-probabilities, history, baselines -> reports/"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from landcover import files
from landcover.config import Dataset, Evaluation
from landcover.constants import SPLITS
from landcover.data.index import INDEX, load_folds, load_index, split_of_each
from landcover.data.tensors import load_origin, load_split
from landcover.evaluation import confusion, label_review, results
from landcover.evaluation.calibration import ece
from landcover.evaluation.importance import importance
from landcover.evaluation.metrics import demand, means
from landcover.evaluation.predictions import parse, tabulate
from landcover.evaluation.probabilities import COST, load_log_probabilities, load_seeds
from landcover.evaluation.shares import of_test as of_shares
from landcover.processes import helpers
from landcover.report import plots
from landcover.report.pictures import Pictures
from landcover.training.calibration import repeated_as_shares, run_as_shares


def evaluate(
    tensors_dir: Path,
    shares_path: Path,
    folds_csv: Path,
    log_probabilities_path: Path,
    seeds_path: Path,
    history_csv: Path,
    baseline_predictions_csv: Path,
    fold_baseline_predictions_csv: Path,
    reports_dir: Path,
    *,
    dataset: str,
    datasets: dict[str, Dataset],
    evaluate: Evaluation,
) -> None:
    """Write metrics, tables and pictures to `reports_dir`, for the run and for what repeat trained."""
    demand(evaluate.verdict, evaluate.tolerance)
    chance = evaluate.model_dump(include={"resamples", "seed"})
    with helpers(2) as painters:
        synthetic, colours = load_origin(tensors_dir).synthetic, datasets[dataset].colours
        pictures = Pictures(reports_dir, painters, synthetic=synthetic, colours=colours)
        # Images stay on disk: no more are read than the pictures show.
        stored = {"gigabytes": 0, "shares": shares_path}
        splits = {name: load_split(tensors_dir, name, **stored) for name in SPLITS}
        indices = {name: load_index(tensors_dir, name) for name in SPLITS}
        test, index = splits["test"], indices["test"]
        log_probabilities, facts = load_log_probabilities(log_probabilities_path, splits)
        of_test = log_probabilities["test"]
        labels, confidence = of_test.argmax(1), np.exp(of_test.max(1))
        as_shares = run_as_shares(splits, log_probabilities)
        pictures.draw_shares(test, as_shares.get("test"))
        pictures.draw_predictions(test, index, labels, confidence)
        pictures.draw_examples(test)
        patch_metres = test.images.shape[-1] * test.metres_per_pixel
        pictures.draw_places(pd.read_csv(tensors_dir / INDEX), patch_metres)
        pictures.draw("learning_curves", plots.learning_curves, pd.read_csv(history_csv))

        folds, baselines = load_folds(folds_csv), pd.read_csv(baseline_predictions_csv)
        if folds:  # test and val are the same patches, all in the folds
            whole = load_split(tensors_dir, *folds.splits, **stored), load_index(tensors_dir, *folds.splits)
            tested, theirs = (dict.fromkeys(results.REPEATED, one) for one in whole)
        else:
            tested, theirs = ({name: of[name] for name in results.REPEATED} for of in (splits, indices))
        seeds, repeated = load_seeds(seeds_path, tested, folds)
        every = [{name: np.arange(len(split.labels)) for name, split in tested.items()}]
        seeds_as_shares = repeated_as_shares(tested, repeated, folds.trials() if folds else every)
        tables = results.tabulate_seeds(seeds, repeated, tested, theirs, folds, seeds_as_shares)
        tolerance, same_patches = evaluate.tolerance.get("accuracy"), baselines
        if folds:
            same_patches = pd.read_csv(fold_baseline_predictions_csv)
        over_seeds = results.of_seeds(tables, same_patches, tolerance)
        if seeds_as_shares:
            of_folds = folds.numbers if folds else None
            over_seeds["shares"] = of_shares(tested["test"], theirs["test"], seeds_as_shares["test"], of_folds)
        suspects = label_review.Suspects()
        if folds:
            locked = 0 if "test" in folds.splits else len(test.labels)
            over_seeds["folds"] = results.of_folds(folds, tested["test"], tables["test"], locked)
            suspects = label_review.review(*whole, split_of_each(tensors_dir, *folds.splits), repeated["test"])
            over_seeds["label_review"] = suspects.figures
        elif len(seeds) > 1:
            over_seeds["ensemble"] = results.of_ensemble(repeated, splits, indices, tables)
        pictures.draw_suspects(tested["test"], suspects.rows, suspects.table)
        predictions = {
            name: tabulate(splits[name], indices[name], log_probabilities[name], as_shares.get(name)) for name in SPLITS
        }
        run = {name: results.of_run(predictions[name], **chance) for name in ("test", "val")}
        # In evaluation mode, and by the weights that were kept, unlike the history's.
        run["train"] = means(parse(predictions["train"]))
        calibrated = tabulate(test, index, log_softmax(of_test / facts["temperature"], axis=1))
        run["test"]["calibrated"] = {
            "temperature": facts["temperature"],
            "nll": means(parse(calibrated))["nll"],
            "ece": ece(labels == test.labels, calibrated["confidence"].to_numpy()),
        }
        run["test"]["against"] = results.differences_from(baselines, parse(predictions["test"]), tolerance)
        if as_shares:
            run["test"]["shares"] = of_shares(test, index, as_shares["test"][None])
        inputs = importance(test, index, log_probabilities)
        pictures.draw_importance(inputs, run["test"]["accuracy"])
        if len(inputs) > 1:
            run["test"]["importance"] = inputs
        matrix = confusion.confusion_matrix(test.labels, labels, len(test.classes))
        pictures.wait()

    files.write_json(reports_dir / "headline.json", results.headline(run, over_seeds))
    files.write_json(reports_dir / "metrics.json", {**run, "model": {fact: facts[fact] for fact in COST}})
    files.write_csv(reports_dir / "predictions.csv", predictions["test"])
    files.write_csv(reports_dir / "label_review.csv", suspects.table)
    files.write_csv(reports_dir / "per_class.csv", confusion.per_class(matrix, test.classes))
    files.write_csv(reports_dir / "confusion_matrix.csv", confusion.tabulate(matrix, test.classes))
    files.write_json(reports_dir / "seeds.json", over_seeds)
    files.write_csv(reports_dir / "seed_predictions.csv", tables["test"])
    files.write_csv(reports_dir / "seed_val_predictions.csv", tables["val"])

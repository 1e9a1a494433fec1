"""Predict without a network.  data/tensors, data/shares.safetensors, data/folds.csv -> reports/*baseline*"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from landcover import files
from landcover.config import Baseline, Evaluation, Runtime
from landcover.constants import SPLITS
from landcover.data.embeddings import load_embeddings
from landcover.data.index import Index, load_folds, load_index, rows_by_split
from landcover.data.tensors import Split, load_split
from landcover.evaluation import baselines, results
from landcover.evaluation.metrics import demand
from landcover.evaluation.predictions import BASELINE_LABELS, tabulate, tabulate_baselines_in_folds
from landcover.evaluation.shares import of_test
from landcover.processes import helpers
from landcover.terminal import showing


class Trial(NamedTuple):
    """The rows of the patches to fit a baseline to, and of those to predict."""

    train: np.ndarray
    test: np.ndarray


def features(patches: Split, describe: Callable[[Split], np.ndarray]) -> np.ndarray:
    """Features of the images (N, F), and beside them the context, if that is an input."""
    of_images = describe(patches)
    return of_images if patches.context is None else np.hstack([of_images, patches.context])


def regress(
    known: np.ndarray, patches: Split, index: Index, trials: list[Trial], candidates: list[float], threads: int
) -> tuple[list[np.ndarray], float]:
    """Log-probabilities (N, K) of each trial's test patches, from logistic regressions, and the C of the first.

    Args:
        known: features of all patches, float64 (N, F).
    """
    predicted, chosen = [], []
    with threadpool_limits(threads):
        for train, test in trials:
            given = known[train], patches.labels[train]
            groups = baselines.ground_groups(index.lon[train], index.lat[train])
            chosen.append(baselines.choose_regularization(*given, groups, candidates))
            predicted.append(baselines.logistic_regression(*given, known[test], len(patches.classes), chosen[-1]))
    return predicted, chosen[0]


def of_shares(
    known: np.ndarray, patches: Split, index: Index, trial: Trial, candidates: list[float], threads: int
) -> dict[str, np.ndarray]:
    """The logarithms of the shares (N, K) of a trial's test patches, by baseline; none if there are no shares."""
    if patches.shares is None:
        return {}
    train, test = trial
    given = known[train], patches.shares[train]
    groups = baselines.ground_groups(index.lon[train], index.lat[train])
    with threadpool_limits(threads):
        chosen = baselines.choose_share_regularization(*given, groups, candidates)
        regression = baselines.share_regression(*given, known[test], chosen)
    return {"mean_shares": baselines.mean_shares(given[1], len(test)), "share_regression": regression}


def from_texture(patches: Split, trials: list[Trial], threads: int) -> list[np.ndarray]:
    """Log-probabilities (N, K) of each trial's test patches, from boosted trees."""
    known = features(patches, lambda one: baselines.texture(one.images, one.bands, threads, line=1))
    return [
        baselines.gradient_boosting(known[train], patches.labels[train], known[test], len(patches.classes))
        for train, test in trials
    ]


def baseline(
    tensors_dir: Path,
    shares_path: Path,
    folds_csv: Path,
    baselines_json: Path,
    predictions_csv: Path,
    fold_predictions_csv: Path,
    *,
    baseline: Baseline,
    evaluate: Evaluation,
    runtime: Runtime,
) -> None:
    """Score the majority class, logistic regressions and gradient boosting on the test split; predict in folds, too."""
    demand(evaluate.verdict, evaluate.tolerance)  # an unknown metric is reported before anything is trained
    folds = load_folds(folds_csv)
    needed = SPLITS if folds else ("train", "test")
    # Images stay on disk: each is read once, patch by patch.
    patches = load_split(tensors_dir, *needed, gigabytes=0, shares=shares_path)
    index = load_index(tensors_dir, *needed)
    rows = rows_by_split(tensors_dir, *needed)
    trials = [Trial(rows["train"], rows["test"])]
    if folds:
        trials += [Trial(rows["train"], rows["test"]) for rows in folds.trials()]
    threads = max(1, runtime.threads // 2)  # of each process
    embedded = {}
    if baseline.embeddings:  # a missing patch is reported before anything is computed
        embedded["embeddings"] = load_embeddings(Path(baseline.embeddings).expanduser(), index.patch_ids)
    with helpers(1) as pool:
        texture = pool.submit(from_texture, patches, trials, threads)  # meanwhile:
        statistics = features(patches, lambda one: baselines.band_statistics(one.images, baseline.percentiles, threads))
        known = {"band_statistics": statistics} | embedded
        candidates = baseline.inverse_regularization
        regressions = {
            name: regress(values, patches, index, trials, candidates, threads) for name, values in known.items()
        }
        shares = of_shares(statistics, patches, index, trials[0], candidates, threads)
        with showing("gradient boosting on texture features"):
            texture = texture.result()
    majority = [baselines.majority(patches.labels[train], len(test), len(patches.classes)) for train, test in trials]
    predicted = {"majority": majority, "texture": texture} | {name: one for name, (one, _) in regressions.items()}
    predicted = {name: predicted[name] for name in BASELINE_LABELS if name in predicted}
    test = load_split(tensors_dir, "test", gigabytes=0, shares=shares_path)
    index = load_index(tensors_dir, "test")
    tables = {name: tabulate(test, index, by_trial[0]) for name, by_trial in predicted.items()}
    chance = evaluate.model_dump(include={"resamples", "seed"})
    scores = {name: results.of_run(table, **chance) for name, table in tables.items()}
    for name, (_, chosen) in regressions.items():
        scores[name]["inverse_regularization"] = chosen
    accuracies = [{"baseline": BASELINE_LABELS[name], "accuracy": one["accuracy"]} for name, one in scores.items()]
    # A list of records, as `dvc plots` draws them.
    content = scores | {"accuracies": accuracies}
    if shares:
        content["shares"] = {name: of_test(test, index, logs[None]) for name, logs in shares.items()}
    files.write_json(baselines_json, content)
    predictions = tables["majority"][["patch_id", "actual"]]
    files.write_csv(predictions_csv, predictions.assign(**{name: table["predicted"] for name, table in tables.items()}))
    files.write_csv(fold_predictions_csv, tabulate_baselines_in_folds(folds, patches, predicted))

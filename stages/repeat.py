"""Train again with other seeds.  data/tensors -> reports/seeds.json, reports/seed_predictions.csv"""

import csv
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from landcover.ground import files, partial
from landcover.ground.benge import SPLITS
from landcover.ground.params import Architecture, Evaluation, Repetition, Runtime, Training

METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "nll", "ece")
COLUMNS = ["seed", "patch_id", "actual", "predicted"]


def summarize(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of each metric; the deviation, of two seeds or more."""
    found: dict[str, Any] = {"seeds": len(rows)}
    for name in METRICS if rows else ():
        values = [row[name] for row in rows]
        found[name] = {"mean": fmean(values)} | ({"std": stdev(values)} if len(rows) > 1 else {})
    return found


def train_again(
    tensors_dir: Path, seeds: list[int], model: Architecture, train: Training, evaluate: Evaluation, runtime: Runtime
) -> Iterator[tuple[dict[str, float], list[tuple[int, str, str, str]]]]:
    """Of each seed the metrics on the test split, and a row of COLUMNS for each test patch."""
    # Here, since without a seed, as by default, nobody is to wait for these.
    import numpy as np
    from tqdm import tqdm

    from landcover.dataset.index import load_index
    from landcover.dataset.tensors import load_split
    from landcover.judgement import metrics
    from landcover.network.device import choose_device, set_deterministic
    from landcover.network.loader import load
    from landcover.network.model import predict
    from landcover.network.training import Run, checkpoint_path, make_network

    device = choose_device(runtime.device)
    set_deterministic(runtime.threads, device)
    splits = [load_split(tensors_dir, name, gigabytes=0) for name in SPLITS]
    patches = [load(split, device, runtime.resident_gigabytes) for split in splits]
    names, labels = np.array(splits[-1].classes), splits[-1].labels
    patch_ids = load_index(tensors_dir, "test").patch_ids
    for seed in tqdm(seeds, desc="repeat", unit="seed", disable=None):
        network = make_network(splits[0], model, seed, device)
        settings = train.model_copy(update={"seed": seed})
        options = [section.model_dump() for section in (model, settings)]
        checkpoint = checkpoint_path("repeat", tensors_dir, *options, runtime.threads, str(device))
        for _ in Run(network, *patches[:2], settings).epochs(checkpoint):
            pass
        log_probabilities = predict(network, patches[-1], train.eval_batch_size)
        rows = zip(patch_ids, names[labels], names[log_probabilities.argmax(1)], strict=True)
        yield metrics.summary(labels, log_probabilities, **evaluate.model_dump()), [(seed, *row) for row in rows]


def repeat(
    tensors_dir: Path,
    seeds_json: Path,
    predictions_csv: Path,
    *,
    model: Architecture,
    train: Training,
    repeat: Repetition,
    evaluate: Evaluation,
    runtime: Runtime,
) -> None:
    """Train with each seed and predict the test split, to tell what is owed to the seed. No seed, no work."""
    figures, rows = [], []
    if repeat.seeds:
        for scores, predictions in train_again(tensors_dir, repeat.seeds, model, train, evaluate, runtime):
            figures.append(scores)
            rows += predictions
    files.write_json(seeds_json, summarize(figures))
    with files.replacing(predictions_csv) as part, open(part, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    partial.remove("repeat")

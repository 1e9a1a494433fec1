"""Train again with other seeds.  data/tensors -> reports/seeds.json, reports/seed_predictions.csv"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic
import torch
from tqdm import tqdm

from stages import cli, files, metrics, tensors
from stages.model import Architecture, choose_device, infer, set_deterministic
from stages.training import Training, fit, make_network, on_device

Seed = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "nll", "ece")


class Repetition(cli.Section):
    seeds: list[Seed]

    @pydantic.field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("name each seed once")
        return seeds


def summarize(rows: list[dict[str, float]]) -> dict[str, dict[str, float] | int]:
    """Mean and standard deviation over the seeds of each metric; the deviation, of two seeds or more."""
    found: dict[str, dict[str, float] | int] = {"seeds": len(rows)}
    for name in METRICS if rows else ():
        values = [row[name] for row in rows]
        found[name] = {"mean": float(np.mean(values))}
        if len(rows) > 1:
            found[name]["std"] = float(np.std(values, ddof=1))
    return found


def repeat(
    tensors_dir: Path,
    seeds_json: Path,
    predictions_csv: Path,
    *,
    model: Architecture,
    train: Training,
    repeat: Repetition,
    evaluate: metrics.Evaluation,
    runtime: cli.Runtime,
) -> None:
    """Train with each seed and predict the test split, to tell what is owed to the seed. No seed, no work."""
    rows, predictions = [], [pd.DataFrame(columns=["seed", "patch_id", "actual", "predicted"])]
    if repeat.seeds:
        facts, val, test = (tensors.load_split(tensors_dir, name) for name in ("train", "val", "test"))
        names = np.array(test.classes)
        patch_ids = tensors.load_index(tensors_dir, "test")["patch_id"]
        device = choose_device(runtime.device)
        set_deterministic(runtime.threads, device)
    for seed in tqdm(repeat.seeds, desc="repeat", unit="seed", disable=None):
        network = make_network(facts, model, seed, device)
        settings = train.model_copy(update={"seed": seed})
        for _ in fit(network, on_device(facts, device), on_device(val, device), settings):
            pass
        logits = infer(network, torch.from_numpy(test.images).to(device), train.eval_batch_size)
        log_probabilities = logits.double().log_softmax(1).cpu().numpy()
        rows.append(metrics.summary(test.labels, log_probabilities, **evaluate.model_dump()))
        predicted = names[log_probabilities.argmax(1)]
        columns = {"seed": seed, "patch_id": patch_ids, "actual": names[test.labels], "predicted": predicted}
        predictions.append(pd.DataFrame(columns))

    files.write_json(seeds_json, summarize(rows))
    with files.replacing(predictions_csv) as part:
        pd.concat(predictions).to_csv(part, index=False, lineterminator="\n")


if __name__ == "__main__":
    cli.run(repeat)

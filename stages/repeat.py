"""Train again with other seeds.  data/tensors -> reports/seeds.json, reports/seed_predictions.csv"""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages import cli, files, metrics, tensors
from stages.params import Architecture, Evaluation, Repetition, Runtime, Training

SPLITS = ("train", "val", "test")
METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "nll", "ece")


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
    evaluate: Evaluation,
    runtime: Runtime,
) -> None:
    """Train with each seed and predict the test split, to tell what is owed to the seed. No seed, no work."""
    rows, predictions = [], [pd.DataFrame(columns=["seed", "patch_id", "actual", "predicted"])]
    if repeat.seeds:
        # Here, since without a seed, as by default, nobody is to wait for them.
        from stages.loader import load
        from stages.model import choose_device, infer, set_deterministic
        from stages.training import Run, checkpoint_path, make_network, remove_checkpoints

        splits = [tensors.load_split(tensors_dir, name, runtime.resident_gigabytes) for name in SPLITS]
        device = choose_device(runtime.device)
        set_deterministic(runtime.threads, device)
        patches = [load(split, device) for split in splits]
        names, labels = np.array(splits[-1].classes), splits[-1].labels
        patch_ids = tensors.load_index(tensors_dir, "test")["patch_id"]
    for seed in tqdm(repeat.seeds, desc="repeat", unit="seed", disable=None):
        network = make_network(splits[0], model, seed, device)
        settings = train.model_copy(update={"seed": seed})
        options = [section.model_dump() for section in (model, settings)]
        checkpoint = checkpoint_path("repeat", tensors_dir, *options, runtime.threads, str(device))
        for _ in Run(network, *patches[:2], settings).epochs(checkpoint):
            pass
        logits = infer(network, patches[-1].in_order(train.eval_batch_size))
        log_probabilities = logits.double().log_softmax(1).cpu().numpy()
        rows.append(metrics.summary(labels, log_probabilities, **evaluate.model_dump()))
        predicted = names[log_probabilities.argmax(1)]
        columns = {"seed": seed, "patch_id": patch_ids, "actual": names[labels], "predicted": predicted}
        predictions.append(pd.DataFrame(columns))

    files.write_json(seeds_json, summarize(rows))
    with files.replacing(predictions_csv) as part:
        pd.concat(predictions).to_csv(part, index=False, lineterminator="\n")
    if repeat.seeds:
        remove_checkpoints("repeat")


if __name__ == "__main__":
    cli.run(repeat)

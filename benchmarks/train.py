"""Time the notebook's training loop and ours on the same patches, in one run.

    python -m benchmarks.train [--epochs 30]

Run it after `make repro` with the default parameters: it reads data/patches. Preprocessing, which we do once and the
notebook does in each epoch, is timed too.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks import notebook
from stages import benge, cli
from stages.preprocess import preprocess
from stages.train import train


def seconds(action: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    epochs = parser.parse_args().epochs
    params = cli.load_params()
    params["train"]["epochs"] = epochs
    patches = Path("data/patches")

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        prepared, _ = seconds(
            lambda: preprocess(patches, out / "tensors", out / "data.json", **cli.arguments(preprocess, params))
        )
        ours, _ = seconds(
            lambda: train(out / "tensors", out / "model", out / "history.csv", **cli.arguments(train, params))
        )
        history = pd.read_csv(out / "history.csv")
    theirs, rows = seconds(lambda: pd.DataFrame(notebook.run(benge.find_root(patches), epochs)))

    losses = ["train_loss", "val_loss"]
    apart = (history[losses] - rows[losses]).abs().max(axis=None)
    print(f"{epochs} epochs: the notebook's loop {theirs:.1f} s, ours {ours:.1f} s: {theirs / ours:.1f} times faster")
    print(f"with preprocessing ({prepared:.1f} s): {theirs / (ours + prepared):.1f} times faster")
    print(
        f"largest difference of a loss in any epoch: {apart:.6f}; in the first ten: "
        f"{(history[losses] - rows[losses])[:10].abs().max(axis=None):.6f}"
    )


if __name__ == "__main__":
    main()

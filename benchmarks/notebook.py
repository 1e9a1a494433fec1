"""The teaching notebook's method, unchanged: the results to reproduce and the time to beat.

    python -m benchmarks.notebook ARCHIVE FOLDER

runs it in one process: unpack the whole archive to the folder, unless the folder exists already; train; test. It prints
one line of JSON per epoch, and a last line with the test figures and the seconds that each part took.

Source: M. Mommert, "Image classification with a Convolutional Neural Network for Sentinel-2 Satellite Imagery", 2025.
It joins labels by row, opens four GeoTIFFs per patch and epoch, and averages losses and accuracies over batches. Its
plots, and the libraries that draw them, are left out.
"""

import argparse
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics import Accuracy

ROWS = {"train": slice(0, 500), "val": slice(500, 650), "test": slice(650, 800)}
BATCH_SIZES = {"train": 8, "val": 16, "test": 16}
WORKERS = 4


class Patches(Dataset):
    def __init__(self, root: Path, rows: slice):
        cover = pd.read_csv(root / f"{root.name}_esaworldcover.csv")
        self.root = root
        self.table = pd.read_csv(root / f"{root.name}_meta.csv")
        self.table["label"] = cover.loc[:, "tree_cover":"moss_and_lichen"].to_numpy().argmax(axis=1)
        self.table = self.table.iloc[rows]

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        patch = self.table.iloc[i]
        pixels = np.empty((4, 120, 120))
        for channel, band in enumerate((2, 3, 4, 8)):
            path = self.root / "sentinel-2" / patch.patch_id / f"{patch.patch_id}_B0{band}.tif"
            with rasterio.open(path) as tile:
                pixels[channel] = tile.read(1)
        pixels = np.clip(pixels / 10_000, 0, 1)
        return torch.from_numpy(pixels).float(), torch.tensor(patch.label).long()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(4, 8, 5, stride=2)
        self.conv2 = nn.Conv2d(8, 16, 5, stride=2)
        self.linear1 = nn.Linear(16 * 6 * 6, 100)
        self.linear2 = nn.Linear(100, 11)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        self.logsoftmax = nn.LogSoftmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.conv1(x)))
        x = self.maxpool(self.relu(self.conv2(x)))
        x = self.relu(self.linear1(x.view(-1, 16 * 6 * 6)))
        return self.logsoftmax(self.linear2(x))


def load(root: Path, split: str, rows: dict[str, slice], workers: int) -> DataLoader:
    return DataLoader(Patches(root, rows[split]), batch_size=BATCH_SIZES[split], num_workers=workers)


def go_through(
    loader: DataLoader, network: Net, accuracy: Accuracy, optimizer: torch.optim.Optimizer | None = None
) -> tuple[float, float, float]:
    """One pass: the means over batches of loss and accuracy, and the accuracy over patches, which is ours."""
    criterion = nn.NLLLoss()
    training = optimizer is not None
    network.train(training)
    losses, accuracies, hits, seen = [], [], 0, 0
    with torch.set_grad_enabled(training):
        for images, labels in loader:
            output = network(images)
            network.zero_grad()
            loss = criterion(output, labels)
            if training:
                loss.backward()
                optimizer.step()
            losses.append(loss.detach())
            predictions = output.argmax(1)
            accuracies.append(accuracy(predictions, labels))
            hits, seen = hits + int((predictions == labels).sum()), seen + len(labels)
    return float(np.mean(losses)), float(np.mean(accuracies)), hits / seen


def train(network: Net, root: Path, epochs: int, rows: dict[str, slice], workers: int) -> Iterator[dict[str, float]]:
    loaders = {split: load(root, split, rows, workers) for split in ("train", "val")}
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0001)
    accuracy = Accuracy(task="multiclass", num_classes=11)
    for _ in range(epochs):
        figures = {}
        for split, loader in loaders.items():
            means = go_through(loader, network, accuracy, optimizer if split == "train" else None)
            figures |= zip((f"{split}_loss", f"{split}_accuracy", f"{split}_patch_accuracy"), means, strict=True)
        yield figures


def seeded() -> Net:
    np.random.seed(42)
    torch.manual_seed(42)
    return Net()


def run(root: Path, epochs: int, rows: dict[str, slice] = ROWS, workers: int = WORKERS) -> Iterator[dict[str, float]]:
    """Train as the notebook does and yield, after each epoch, the four means over batches that it prints.

    `train_patch_accuracy` and `val_patch_accuracy` are added: accuracies over patches, which the notebook lacks.
    """
    return train(seeded(), root, epochs, rows, workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()

    marks = [time.perf_counter()]
    if not given.folder.exists():
        with tarfile.open(given.archive) as archive:
            archive.extraction_filter = lambda member, path: member  # Python 3.11.2 knows no argument `filter`
            archive.extractall(given.folder)
    (table,) = given.folder.glob("*/*_meta.csv")
    marks.append(time.perf_counter())
    network = seeded()
    for figures in train(network, table.parent, given.epochs, ROWS, WORKERS):
        print(json.dumps(figures), flush=True)
    marks.append(time.perf_counter())
    accuracy = Accuracy(task="multiclass", num_classes=11)
    loss, mean_of_batches, _ = go_through(load(table.parent, "test", ROWS, WORKERS), network, accuracy)
    marks.append(time.perf_counter())
    seconds = dict(zip(("unpack", "train", "test"), np.diff(marks), strict=True))
    print(json.dumps({"test_loss": loss, "test_accuracy": mean_of_batches, "seconds": seconds}))


if __name__ == "__main__":
    main()

"""The teaching notebook's method, as it stands there: what this project must equal, and be faster than.

Source: M. Mommert, "Image classification with a Convolutional Neural Network for Sentinel-2 Satellite Imagery", 2025.
It joins labels by row, opens four GeoTIFFs a patch an epoch, and averages losses and accuracies over batches.
"""

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


def run(root: Path, epochs: int, rows: dict[str, slice] = ROWS, workers: int = 4) -> Iterator[dict[str, float]]:
    """Train as the notebook does and yield, after each epoch, the four means over batches that it prints.

    Over patches, which the notebook does not count, stand beside them `train_patch_accuracy` and
    `val_patch_accuracy`.
    """
    np.random.seed(42)
    torch.manual_seed(42)
    loaders = {
        split: DataLoader(Patches(root, rows[split]), batch_size=size, num_workers=workers)
        for split, size in (("train", 8), ("val", 16))
    }
    network, criterion = Net(), nn.NLLLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0001)
    accuracy = Accuracy(task="multiclass", num_classes=11)
    for _ in range(epochs):
        figures: dict[str, float] = {}
        for split, loader in loaders.items():
            network.train(split == "train")
            losses, accuracies, hits, seen = [], [], 0, 0
            with torch.set_grad_enabled(split == "train"):
                for images, labels in loader:
                    output = network(images)
                    network.zero_grad()
                    loss = criterion(output, labels)
                    if split == "train":
                        loss.backward()
                        optimizer.step()
                    losses.append(loss.detach())
                    predictions = output.argmax(1)
                    accuracies.append(accuracy(predictions, labels))
                    hits, seen = hits + int((predictions == labels).sum()), seen + len(labels)
            figures[f"{split}_loss"] = float(np.mean(losses))
            figures[f"{split}_accuracy"] = float(np.mean(accuracies))
            figures[f"{split}_patch_accuracy"] = hits / seen
        yield figures

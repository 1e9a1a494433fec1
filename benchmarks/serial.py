"""Preprocess without this project: open each tile with rasterio, one after another.

    python -m benchmarks.serial ROOT FOLDER

writes one safetensors file per split, with the values of data/tensors, from the unpacked dataset in ROOT. It does not
import torch, because it does not need it.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from safetensors.numpy import save_file

BANDS = ("B02", "B03", "B04", "B08")
ROWS = {"train": slice(0, 500), "val": slice(500, 650), "test": slice(650, 800)}


def convert(root: Path, folder: Path, rows: dict[str, slice] = ROWS) -> None:
    table = pd.read_csv(root / f"{root.name}_meta.csv")
    cover = pd.read_csv(root / f"{root.name}_esaworldcover.csv")
    labels = cover.loc[:, "tree_cover":"moss_and_lichen"].to_numpy().argmax(axis=1)
    folder.mkdir(parents=True)
    for split, part in rows.items():
        images = []
        for patch_id in table["patch_id"][part]:
            pixels = np.empty((len(BANDS), 120, 120), np.float32)
            for channel, band in enumerate(BANDS):
                with rasterio.open(root / "sentinel-2" / patch_id / f"{patch_id}_{band}.tif") as tile:
                    pixels[channel] = tile.read(1)
            images.append(np.clip(pixels / 10_000, 0, 1))
        save_file({"images": np.stack(images), "labels": labels[part]}, folder / f"{split}.safetensors")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))

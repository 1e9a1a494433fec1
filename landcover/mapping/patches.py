"""The patches of a folder in the ben-ge layout, predicted one by one."""

import functools
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from landcover.config import Runtime
from landcover.constants import TILES_FOLDERS
from landcover.data import context, offsets
from landcover.data.context import COLUMNS, weather_table
from landcover.data.conversion import PATCHES_PER_SHARD, read_patches, tiles_of
from landcover.data.tables import read_table
from landcover.data.tiles import Tiles
from landcover.mapping.predictor import Predictor
from landcover.modalities import IMAGES, SENTINEL_2, modality
from landcover.processes import executor

BATCH = 25  # patches that a network predicts at a time


def _available(root: Path) -> set[str]:
    """The modalities that a dataset's folder has, at least for some patches."""
    columns = pd.read_csv(root / f"{root.name}_meta.csv", nrows=0).columns
    folders = zip((SENTINEL_2, *IMAGES), TILES_FOLDERS, strict=True)
    found = {name for name, folder in folders if (root / folder).is_dir() or (root / f"{folder}.csv").is_file()}
    found |= {name for name, column in COLUMNS.items() if column in columns}
    return found | ({"weather"} if weather_table(root).is_file() else set())


@torch.inference_mode()
def _probabilities(images: np.ndarray, features: np.ndarray, model: Predictor, available: set[str]) -> np.ndarray:
    """The class probabilities of patches (N, K), from the available ones of the model's modalities.

    Args:
        images: float32 (N, C, H, W), of the available channels.
        features: float32 (N, F), the available context features.
    """
    network = model.networks[0]
    device = model.device
    x = _among(images, model.channels, available)
    context = _among(features, model.context, available) if model.context else None
    present = None
    if len(network.modalities) > 1:
        present = torch.tensor([name in available for name in network.modalities], device=device)
    found = []
    for rows in torch.arange(len(x)).split(BATCH):
        batch = [None if values is None else values[rows].to(device) for values in (x, context)]
        found.append(model.probabilities(lambda network, batch=batch: network(*batch, present)))
    return torch.cat(found).cpu().numpy()


def _among(values: np.ndarray, names: list[str], available: set[str]) -> torch.Tensor:
    """The values (N, ...) of the available names, and 0 for the others."""
    found = torch.zeros(len(values), len(names), *values.shape[2:])
    found[:, [place for place, name in enumerate(names) if modality(name) in available]] = torch.from_numpy(values)
    return found


def predict_patches(
    root: Path, model: Predictor, offset: int | Literal["auto"], runtime: Runtime
) -> tuple[pd.DataFrame, offsets.Suspicion | None]:
    """Classify the patches in the meta table; no label table is needed.

    Args:
        root: the dataset's folder.
        offset: of all patches, or `auto` for each patch's own.

    Returns:
        One row per patch: `patch_id`, `predicted`, `confidence`, `p_<class>` for each class, and `problem`, why a patch
        has no prediction, or ''. Also, the evidence in the pixels against the offsets, if any.

    Raises:
        InputError: there is no meta table, or it is damaged.
    """
    meta = read_table(root / f"{root.name}_meta.csv", [], texts=["processing_baseline"]).reset_index()
    meta["offset"] = offsets.by_product(meta["patch_id"], meta.pop("processing_baseline"))
    meta["problem"] = ""
    available = _available(root)
    model.check_inputs(available, str(root))
    channels, features = (
        [name for name in names if modality(name) in available] for names in (model.channels, model.context)
    )
    meta = context.join(meta, root, channels, features)
    problems = dict(meta.loc[meta["problem"] != "", ["patch_id", "problem"]].to_numpy())
    sound = meta[meta["problem"] == ""]
    tiles = Tiles.find(root.resolve())
    chunks = [sound.iloc[start : start + PATCHES_PER_SHARD] for start in range(0, len(sound), PATCHES_PER_SHARD)]
    probabilities = np.full((len(meta), len(model.classes)), np.nan, np.float32)
    subtracted, blue = Counter(), np.zeros(1 << 16, np.int64)
    work = functools.partial(read_patches, bands=channels, resampling="bilinear", offset=offset, size=model.patch_size)
    with executor(runtime) as pool:
        reads = pool.map(work, chunks, [tiles.select(tiles_of(chunk, channels)) for chunk in chunks])
        progress = tqdm(reads, total=len(chunks), desc=f"predict {root.name}", unit="chunk", disable=None)
        for chunk, read in zip(chunks, progress, strict=True):
            problems |= read.problems
            subtracted += read.offsets
            if read.good:
                own = context.scaled(chunk.iloc[read.good], features)
                probabilities[chunk.index[read.good]] = _probabilities(read.images(), own, model, available)
            if offsets.BLUE in channels:
                blue += np.bincount(read.numbers[:, channels.index(offsets.BLUE)].ravel(), minlength=len(blue))
    blue[0] = 0
    good = ~np.isnan(probabilities[:, 0])
    table = pd.DataFrame({"patch_id": meta["patch_id"]})
    names = np.array(model.classes, object)
    table["predicted"] = np.where(good, names[np.nan_to_num(probabilities).argmax(1)], "")
    table["confidence"] = probabilities.max(1)
    table[[f"p_{name}" for name in names]] = probabilities
    table["problem"] = [problems.get(patch_id, "") for patch_id in table["patch_id"]]
    return table, offsets.suspect(blue, subtracted.total(), any(subtracted), "--offset") if blue.any() else None

"""The patches of a folder in the ben-ge layout, predicted one by one."""

import functools
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from landcover.dataset import offsets
from landcover.dataset.conversion import PATCHES_PER_SHARD, Read, read_patches, to_reflectance
from landcover.dataset.tables import read_table
from landcover.dataset.tiles import Tiles
from landcover.ground.params import Runtime
from landcover.ground.processes import executor
from landcover.mapping.models import Model

BATCH = 25  # patches that a network predicts at a time


@torch.inference_mode()
def _probabilities(read: Read, model: Model) -> np.ndarray:
    device = model.networks[0].classifier[-1].weight.device
    batches = torch.from_numpy(to_reflectance(read.numbers)).to(device).split(BATCH)
    return torch.cat([model.probabilities(lambda network, x=x: network(x)) for x in batches]).cpu().numpy()


def predict_patches(
    root: Path, model: Model, offset: int | Literal["auto"], runtime: Runtime
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
    meta = meta.reindex(columns=["patch_id", "offset"])
    tiles = Tiles.find(root.resolve())
    chunks = [meta.iloc[start : start + PATCHES_PER_SHARD] for start in range(0, len(meta), PATCHES_PER_SHARD)]
    probabilities = np.full((len(meta), len(model.classes)), np.nan, np.float32)
    problems, subtracted, blue = {}, Counter(), np.zeros(1 << 16, np.int64)
    work = functools.partial(
        read_patches, bands=model.bands, resampling="bilinear", offset=offset, size=model.patch_size
    )
    with executor(runtime) as pool:
        reads = pool.map(work, chunks, [tiles.select(chunk["patch_id"], model.bands) for chunk in chunks])
        progress = tqdm(reads, total=len(chunks), desc=f"predict {root.name}", unit="chunk", disable=None)
        for chunk, read in zip(chunks, progress, strict=True):
            problems |= read.problems
            subtracted += read.offsets
            if read.good:
                probabilities[chunk.index[read.good]] = _probabilities(read, model)
            if offsets.BLUE in model.bands:
                blue += np.bincount(read.numbers[:, model.bands.index(offsets.BLUE)].ravel(), minlength=len(blue))
    blue[0] = 0
    good = ~np.isnan(probabilities[:, 0])
    table = pd.DataFrame({"patch_id": meta["patch_id"]})
    names = np.array(model.classes, object)
    table["predicted"] = np.where(good, names[np.nan_to_num(probabilities).argmax(1)], "")
    table["confidence"] = probabilities.max(1)
    table[[f"p_{name}" for name in names]] = probabilities
    table["problem"] = table["patch_id"].map(problems).fillna("")
    return table, offsets.suspect(blue, subtracted.total(), any(subtracted), "--offset") if blue.any() else None

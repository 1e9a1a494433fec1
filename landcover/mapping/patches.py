"""The patches of a dataset's folder, predicted one by one."""

import functools
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from landcover.config import Runtime
from landcover.constants import LAYOUT
from landcover.data import offsets
from landcover.data.conversion import PATCHES_PER_SHARD, Reading, read_patches, scaled_features
from landcover.data.layout import find_layout
from landcover.mapping.predictor import Predictor
from landcover.modalities import modalities
from landcover.processes import executor

BATCH = 25  # patches that a network predicts at a time


@torch.inference_mode()
def _probabilities(
    images: torch.Tensor, context: torch.Tensor | None, model: Predictor, available: Collection[str]
) -> np.ndarray:
    """The class probabilities of patches, float32 (N, K), from the available ones of the model's modalities.

    Args:
        images: float32 (N, C, H, W), 0 in the channels that are not available.
        context: float32 (N, F), likewise; None if the model has no such inputs.
    """
    network = model.networks[0]
    device = model.device
    present = None
    if len(network.modalities) > 1:
        present = torch.tensor([name in available for name in network.modalities], device=device)
    batches = []
    for rows in torch.arange(len(images)).split(BATCH):
        batch = [None if values is None else values[rows].to(device) for values in (images, context)]
        batches.append(model.probabilities(lambda network, batch=batch: network.predict(*batch, present)))
    return torch.cat(batches).cpu().numpy()


def _placed(values: np.ndarray, names: list[str], wanted: tuple[str, ...]) -> torch.Tensor:
    """The values (N, ...) of some names at their places among the wanted ones, and 0 for the others."""
    placed = torch.zeros(len(values), len(wanted), *values.shape[2:])
    placed[:, [wanted.index(name) for name in names]] = torch.from_numpy(values)
    return placed


def predict_patches(
    root: Path, model: Predictor, offset: int | Literal["auto"], runtime: Runtime
) -> tuple[pd.DataFrame, offsets.Suspicion | None]:
    """Classify the patches of a dataset; no labels are needed.

    Args:
        root: the dataset's folder.
        offset: of all patches, or `auto` for each patch's own.

    Returns:
        One row per patch: `patch_id`, `predicted`, `confidence`, `p_<class>` for each class, and `problem`, why a patch
        has no prediction, or ''. Also, the evidence in the pixels against the offsets, if any.

    Raises:
        InputError: the dataset is damaged, or lacks what the model needs.
    """
    inputs = model.inputs
    patches = find_layout(LAYOUT).read_patches(root, inputs.channels, inputs.context)
    channels, features = [channel.name for channel in patches.channels], patches.features
    available = modalities([*channels, *features]).keys()
    model.check_inputs(available, str(root))
    table = patches.table
    problems = dict(zip(table["patch_id"], table["problem"], strict=True))
    sound = table[table["problem"] == ""]
    chunks = [sound.iloc[start : start + PATCHES_PER_SHARD] for start in range(0, len(sound), PATCHES_PER_SHARD)]
    probabilities = np.full((len(table), len(model.inputs.classes)), np.nan, np.float32)
    subtracted, blue = Counter(), np.zeros(1 << 16, np.int64)
    work = functools.partial(read_patches, reading=Reading.of(patches, size=model.inputs.patch_size, offset=offset))
    with executor(runtime) as pool:
        progress = tqdm(
            pool.map(work, chunks), total=len(chunks), desc=f"predict {patches.name}", unit="chunk", disable=None
        )
        for chunk, read in zip(chunks, progress, strict=True):
            problems |= read.problems
            subtracted += read.offsets
            if read.good:
                good = chunk.iloc[read.good]
                images, context = _placed(read.images(), channels, inputs.channels), None
                images[:, : len(model.bands)].clamp_(max=model.brightest)  # the bands come first
                if inputs.context:
                    context = _placed(scaled_features(good, features), features, inputs.context)
                probabilities[good.index] = _probabilities(images, context, model, available)
            if offsets.BLUE in channels:
                blue += np.bincount(read.numbers[:, channels.index(offsets.BLUE)].ravel(), minlength=len(blue))
    blue[0] = 0
    is_good = ~np.isnan(probabilities[:, 0])
    names = np.array(model.inputs.classes, object)
    predictions = pd.DataFrame({"patch_id": table["patch_id"]})
    predictions["predicted"] = np.where(is_good, names[np.nan_to_num(probabilities).argmax(1)], "")
    predictions["confidence"] = probabilities.max(1)
    predictions[[f"p_{name}" for name in names]] = probabilities
    predictions["problem"] = predictions["patch_id"].map(problems)
    suspicion = None
    if blue.any():
        suspicion = offsets.suspect(blue, subtracted.total(), any(subtracted), "--offset", chosen=offset != "auto")
    return predictions, suspicion

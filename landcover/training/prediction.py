"""What a trained network says of patches."""

import numpy as np
import torch
from tqdm import tqdm

from landcover.modalities import PERMUTATIONS
from landcover.models.model import Model
from landcover.training.distributed import ALONE, Group
from landcover.training.loader import Patches

SEED = 0  # of the permutations


@torch.inference_mode()
def infer(
    network: Model, patches: Patches, batch_size: int, group: Group = ALONE, *, once: bool = False
) -> torch.Tensor:
    """Logits (N, K) of this process's share of the patches, on their device.

    Args:
        once: from the patches as they are, even if predictions are means over symmetries.
    """
    network.eval()
    forward = network if once else network.predict
    # Allocated in advance: a small tensor per batch between large temporary ones would fragment the memory, up
    # to the size of all batches.
    share = len(range(group.rank, len(patches.labels), group.size))
    logits = network.head.weight.new_empty(share, network.head.out_features)
    for rows, batch in zip(logits.split(batch_size), patches.in_order(batch_size, group), strict=True):
        rows.copy_(forward(batch.images, batch.context))
    return logits


def log_probabilities(logits: torch.Tensor) -> np.ndarray:
    """From logits (N, K), float64 (N, K)."""
    return logits.double().log_softmax(1).cpu().numpy()


def predict(network: Model, patches: Patches, batch_size: int) -> np.ndarray:
    """Log-probabilities of the patches, float64 (N, K)."""
    return log_probabilities(infer(network, patches, batch_size))


@torch.inference_mode()
def predict_permuted(network: Model, patches: Patches, batch_size: int) -> dict[str, np.ndarray]:
    """For each modality, log-probabilities with its values exchanged between patches, float64 (PERMUTATIONS, N, K).

    All modalities are exchanged by the same permutations. A network with one modality gives {}.

    Source: Breiman, "Random Forests", Machine Learning 2001, section 10.
    """
    if len(network.modalities) == 1:
        return {}
    network.eval()
    count = len(patches.labels)
    generator = torch.Generator().manual_seed(SEED)
    shape = (PERMUTATIONS, count, network.head.out_features)
    permuted = {name: np.empty(shape) for name in network.modalities}
    for number in tqdm(range(PERMUTATIONS), desc="exchange modalities", unit="permutation", disable=None):
        order = torch.randperm(count, generator=generator)
        others = patches.batches(order.split(batch_size))
        for start, own, other in zip(range(0, count, batch_size), patches.in_order(batch_size), others, strict=True):
            for name, values in permuted.items():
                logits = network.predict(*_exchange(network, own, other, name))
                values[number, start : start + batch_size] = log_probabilities(logits)
    return permuted


def _exchange(network: Model, own: Patches, other: Patches, modality: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Images and context of a batch, with one modality of another's."""
    images, context = own.images, own.context
    if channels := network.inputs.image_modalities.get(modality):
        images = images.clone()
        images[:, channels] = other.images[:, channels]
    else:
        features = network.inputs.context_modalities[modality]
        context = context.clone()
        context[:, features] = other.context[:, features]
    return images, context

"""How much a network relies on each of its modalities: predictions with that modality's values of other patches.

Source: Breiman, "Random Forests", Machine Learning 2001, section 10.
"""

import numpy as np
import torch
from tqdm import tqdm

from landcover.modalities import PERMUTATIONS
from landcover.models.cnn import Network
from landcover.training.loader import Patches

SEED = 0


@torch.inference_mode()
def predict_without(network: Network, patches: Patches, batch_size: int) -> dict[str, np.ndarray]:
    """For each modality, log-probabilities with its values exchanged between patches, float64 (PERMUTATIONS, N, K).

    Each modality is exchanged by the same permutations. A network with one modality gives {}.
    """
    if len(network.modalities) == 1:
        return {}
    network.eval()
    count = len(patches.labels)
    generator = torch.Generator().manual_seed(SEED)
    shape = (PERMUTATIONS, count, network.classifier[-1].out_features)
    found = {name: np.empty(shape) for name in network.modalities}
    for number in tqdm(range(PERMUTATIONS), desc="exchange modalities", unit="permutation", disable=None):
        order = torch.randperm(count, generator=generator)
        others = patches.batches(order.split(batch_size))
        for start, own, other in zip(range(0, count, batch_size), patches.in_order(batch_size), others, strict=True):
            for name, predicted in found.items():
                logits = network(*_exchanged(network, own, other, name))
                predicted[number, start : start + batch_size] = logits.double().log_softmax(1).cpu().numpy()
    return found


def _exchanged(
    network: Network, own: Patches, other: Patches, modality: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Images and context of a batch, with one modality of another's."""
    images, context = own.images, own.context
    if channels := network.image_modalities.get(modality):
        images = images.clone()
        images[:, channels] = other.images[:, channels]
    else:
        features = network.context_modalities[modality]
        context = context.clone()
        context[:, features] = other.context[:, features]
    return images, context

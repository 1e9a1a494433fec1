"""Random flips and rotations of patches, and modalities that are hidden at random."""

import torch

from landcover.config import Training


def augment(images: torch.Tensor, flipped: torch.Tensor | None, turns: torch.Tensor | None) -> torch.Tensor:
    """Mirror and rotate the patches of a batch (N, C, H, W).

    Args:
        flipped: bool (N,), on the host, or None for no flips.
        turns: quarter turns, int64 (N,), on the host, or None for no rotations.
    """
    if flipped is not None:
        images = torch.where(flipped.to(images.device).view(-1, 1, 1, 1), images.flip(-1), images)
    if turns is not None:
        turned = images.clone()
        for turn in (1, 2, 3):
            chosen = (turns == turn).nonzero().squeeze(1).to(images.device)
            turned[chosen] = images[chosen].rot90(turn, (-2, -1))
        images = turned
    return images


def draw_symmetries(
    count: int, settings: Training, generator: torch.Generator
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """For each of `count` patches, whether it is flipped and its number of quarter turns.

    Land cover has no preferred orientation, so all eight symmetries are equally likely.
    """
    flipped = torch.rand(count, generator=generator) < 0.5 if settings.flips else None
    turns = torch.randint(4, (count,), generator=generator) if settings.quarter_turns else None
    return flipped, turns


def draw_present(
    count: int, images: int, others: int, settings: Training, generator: torch.Generator
) -> torch.Tensor | None:
    """For each of `count` patches, which modalities are not hidden, bool (count, images + others); None if none are.

    Each is hidden with the same probability, but if that would hide all `images` modalities of a patch, one of them,
    drawn at random, stays: there is no prediction without an image, so nothing is to be learnt for it. A network with
    one image modality always sees it.
    """
    if not settings.modality_dropout or images + others == 1:
        return None
    present = torch.rand(count, images + others, generator=generator) >= settings.modality_dropout
    kept = torch.randint(images, (count,), generator=generator)
    blind = ~present[:, :images].any(1)
    present[blind, kept[blind]] = True
    return present

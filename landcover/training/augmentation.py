"""Random flips and rotations of patches, patches mixed in pairs, and modalities that are hidden at random."""

from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F

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


def draw_gains(count: int, bands: int, settings: Training, generator: torch.Generator) -> torch.Tensor | None:
    """For each of `count` patches, a factor for each band, float32 (count, bands); None without `brightness`.

    Haze, the sun's height and the season change all bands together, and each by itself.
    """
    if not settings.brightness:
        return None
    both = torch.randn(count, 1, generator=generator) + torch.randn(count, bands, generator=generator)
    return (settings.brightness * both).exp()


class Mixture(NamedTuple):
    """How patches are mixed with others of their batch."""

    kept: torch.Tensor  # float32 (N,), the share of a patch that it keeps, at least a half
    corners: torch.Tensor  # float32 (N, 2), where the pasted square lies, from 0, at the upper left, to 1
    pasted: torch.Tensor  # bool (N,), whether a square of the other patch is pasted, not all of it blended

    def select(self, rows: slice) -> Self:
        return Mixture(*(values[rows] for values in self))


def draw_mixture(count: int, settings: Training, generator: np.random.Generator) -> Mixture | None:
    """For each of `count` patches, how it is mixed; None without MixUp and CutMix. With both, each half the time.

    Sources: Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018; Yun et al., "CutMix", ICCV 2019.
    """
    if not settings.mixup and not settings.cutmix:
        return None
    both = settings.mixup and settings.cutmix
    pasted = generator.random(count) < 0.5 if both else np.full(count, settings.cutmix > 0)
    shares = generator.beta(*2 * [np.where(pasted, settings.cutmix, settings.mixup)])
    kept = np.maximum(shares, 1 - shares).astype(np.float32)  # so that a patch has its own label foremost
    corners = generator.random((count, 2), np.float32)
    return Mixture(*map(torch.from_numpy, (kept, corners, pasted)))


def mix(
    images: torch.Tensor, targets: torch.Tensor, classes: int, mixture: Mixture
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each patch of a batch with its counterpart from the batch's other end.

    Args:
        images: (N, C, H, H).
        targets: labels, int64 (N,), or shares of the classes, float32 (N, K).

    Returns:
        The images, and the shares of the classes in them, float32 (N, K).
    """
    side, device = images.shape[-1], images.device
    kept = mixture.kept.to(device)
    square = ((1 - kept).sqrt() * side).round()
    first = ((side - square)[:, None] * mixture.corners.to(device)).floor()
    pixels = torch.arange(side, device=device)
    inside = (pixels >= first[..., None]) & (pixels < (first + square[:, None])[..., None])  # (N, 2, H)
    mask = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]
    pasted = mixture.pasted.to(device)
    kept = torch.where(pasted, 1 - (square / side) ** 2, kept)
    taken = torch.where(pasted.view(-1, 1, 1, 1), mask, 1 - kept.view(-1, 1, 1, 1))
    own = targets if targets.is_floating_point() else F.one_hot(targets, classes).float()
    return torch.lerp(images, images.flip(0), taken), torch.lerp(own, own.flip(0), 1 - kept[:, None])


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

import numpy as np
import pytest
import torch

from landcover.config import Training
from landcover.training.augmentation import (
    Mixture,
    augment,
    draw_gains,
    draw_mixture,
    draw_present,
    draw_symmetries,
    mix,
)


def settings(default_params: dict, **changes) -> Training:
    return Training.model_validate(default_params["train"] | changes)


def test_augmentation_gives_the_eight_symmetries_equally_often(default_params):
    patch = torch.arange(4.0).reshape(1, 1, 2, 2)
    symmetries = {
        tuple(turned.rot90(turn, (-2, -1)).flatten().tolist())
        for turned in (patch, patch.flip(-1))
        for turn in range(4)
    }
    assert len(symmetries) == 8
    both = settings(default_params, flips=True, quarter_turns=True)
    many = augment(patch.repeat(4000, 1, 1, 1), *draw_symmetries(4000, both, torch.Generator().manual_seed(0)))
    kinds, counts = many.flatten(1).unique(dim=0, return_counts=True)
    assert {tuple(kind) for kind in kinds.tolist()} == symmetries
    assert counts.min() > 400

    flips = draw_symmetries(100, settings(default_params, flips=True), torch.Generator().manual_seed(0))
    flipped = augment(patch.repeat(100, 1, 1, 1), *flips).flatten(1)
    assert {tuple(kind) for kind in flipped.unique(dim=0).tolist()} == {(0, 1, 2, 3), (1, 0, 3, 2)}
    assert augment(patch, None, None) is patch


def test_a_modality_is_hidden_as_often_as_asked_but_never_the_whole_image(default_params):
    half = settings(default_params, modality_dropout=0.5)
    present = draw_present(10_000, 2, 1, half, torch.Generator().manual_seed(0))
    kinds, counts = present[:, :2].unique(dim=0, return_counts=True)
    assert kinds.tolist() == [[False, True], [True, False], [True, True]]
    # Both would be hidden for a quarter of the patches, of which each gets half.
    assert (counts / 10_000).tolist() == pytest.approx([3 / 8, 3 / 8, 1 / 4], abs=0.02)
    assert float(present[:, 2].float().mean()) == pytest.approx(0.5, abs=0.02)
    assert draw_present(100, 1, 1, half, torch.Generator())[:, 0].all()


def test_bands_get_brighter_together_and_each_by_itself(default_params):
    logs = draw_gains(10_000, 2, settings(default_params, brightness=0.1), torch.Generator().manual_seed(0)).log()
    assert logs.std(0).tolist() == pytest.approx([0.1 * 2**0.5] * 2, rel=0.03)
    assert float(torch.corrcoef(logs.T)[0, 1]) == pytest.approx(0.5, abs=0.03)
    assert draw_gains(10, 2, settings(default_params), torch.Generator()) is None


def test_patches_are_blended_or_pasted_by_hand():
    """Two patches, of 0 and of 1: the first keeps 3/4 of itself, and the second gets a square of a quarter."""
    images = torch.tensor([0.0, 1]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    mixture = Mixture(torch.tensor([0.75, 0.75]), torch.tensor([[0.0, 0], [0, 0.999]]), torch.tensor([False, True]))
    mixed, shares = mix(images, torch.tensor([2, 0]), 3, mixture)
    assert torch.equal(mixed[0], torch.full((1, 4, 4), 0.25))
    square = torch.ones(4, 4)
    square[:2, 1:3] = 0  # of the places from 0 to 2, the last that 0.999 reaches
    assert torch.equal(mixed[1, 0], square)
    assert shares.tolist() == [[0.25, 0, 0.75], [0.75, 0, 0.25]]
    _, shares = mix(images, torch.tensor([[0, 0.5, 0.5], [1, 0, 0]]), 3, mixture)
    assert shares.tolist() == [[0.25, 0.375, 0.375], [0.75, 0.125, 0.125]]


def test_the_shares_of_a_mixture_follow_its_distribution(default_params):
    drawn = draw_mixture(10_000, settings(default_params, mixup=1, cutmix=1), np.random.default_rng(0))
    assert drawn.kept.min() >= 0.5
    assert drawn.kept.mean() == pytest.approx(3 / 4, abs=0.01)  # of the larger part of a uniform one
    assert drawn.pasted.float().mean() == pytest.approx(1 / 2, abs=0.02)
    assert draw_mixture(10, settings(default_params, mixup=0.2), np.random.default_rng(0)).pasted.sum() == 0
    assert draw_mixture(10, settings(default_params, cutmix=0.2), np.random.default_rng(0)).pasted.all()


def test_nothing_is_drawn_if_nothing_is_hidden(default_params):
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert draw_present(100, 2, 1, settings(default_params), generator) is None
    assert draw_present(100, 1, 0, settings(default_params, modality_dropout=0.5), generator) is None
    assert torch.equal(generator.get_state(), state)

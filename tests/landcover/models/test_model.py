"""What every family does with its input."""

import numpy as np
import pytest
import torch
from tiny import architecture

from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import FAMILIES, build

CHANNELS = ("B02", "B03", "B04", "B08", "VV", "VH", "elevation")
CONTEXT = ("climate_zone_8", "climate_zone_9", "season", "temperature")
INPUTS = Inputs(CHANNELS, tuple("abcdefghijk"), 64, CONTEXT)


def network(*architecture_and_moments) -> Model:
    torch.manual_seed(0)
    return build(*architecture_and_moments)


@pytest.mark.parametrize("family", FAMILIES)
def test_moments_are_subtracted_and_divided_by_channel(family):
    center, spread = torch.arange(11.0), torch.arange(1.0, 12)
    scaled = network(architecture(family, "moments"), INPUTS, center, spread).eval()
    plain = network(architecture(family), INPUTS).eval()
    images, context = torch.rand(2, 7, 64, 64), torch.rand(2, 4)
    by_hand = (images - center[:7].view(1, 7, 1, 1)) / spread[:7].view(1, 7, 1, 1), (context - center[7:]) / spread[7:]
    assert torch.equal(scaled(images, context), plain(*by_hand))


def test_quantiles_scale_the_middle_and_clip_what_lies_far_out():
    inputs = Inputs(("B02",), ("a", "b"), 64, ("temperature",))
    center, spread = torch.tensor([0.2, 0]), torch.tensor([0.1, 0.01])
    model = network(architecture(standardize="quantiles"), inputs, center, spread)
    images = torch.tensor([0.3, 0.9]).view(1, 1, 1, 2)  # one and seven spreads above
    assert model.normalize(images).flatten().tolist() == pytest.approx([1, 5])
    assert model.normalize_context(torch.tensor([[1.0]])).tolist() == [[5]]


@pytest.mark.parametrize("standardize", ["none", "moments", "quantiles"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_absent_modality_is_at_the_center(family, standardize):
    moments = torch.linspace(0.2, 0.7, 11), torch.full((11,), 0.1)
    model = network(architecture(family, standardize), INPUTS, *moments).eval()
    assert model.modalities == ["sentinel-2", "sentinel-1", "elevation", "climate_zone", "season", "weather"]
    images, context = torch.rand(2, 7, 64, 64), torch.rand(2, 4)
    central = torch.zeros(11) if standardize == "none" else moments[0]
    by_hand = images.clone(), context.clone()
    by_hand[0][:, 4:6] = central[4:6].view(2, 1, 1)
    by_hand[1][:, :2] = central[7:9]
    present = torch.tensor([True, False, True, False, True, True])
    expected = model(*by_hand)
    assert torch.equal(model(images, context, present), expected)
    assert not torch.equal(model(images, context), expected)
    # The second patch alone lacks them. What stands in place of a missing value does not matter.
    images[1, 4:6] = torch.nan
    logits = model(images, context, torch.stack([torch.ones(6, dtype=torch.bool), present]))
    torch.testing.assert_close(logits[1], expected[1])
    torch.testing.assert_close(logits[0], model(images[:1], context[:1])[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_turns_embeddings_into_logits(family):
    model = network(architecture(family), INPUTS).train()
    images, context = torch.rand(3, 7, 64, 64), torch.rand(3, 4)
    embeddings = model.embed(images, context)
    assert embeddings.shape == (3, model.head.in_features)
    assert model.eval()(images, context).shape == (3, model.head.out_features) == (3, 11)
    assert torch.equal(model(images, context), model.head(model.embed(images, context)))
    embeddings.sum().backward()
    learnt = [weights for name, weights in model.named_parameters() if weights is not model.head.weight]
    assert all(weights.grad.isfinite().all() for weights in learnt if weights is not model.head.bias)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_patch_is_predicted_alike_in_any_batch(family):
    model = network(architecture(family), INPUTS).eval()
    images, context = torch.rand(5, 7, 64, 64), torch.rand(5, 4)
    alone = [model(images[[i]], context[[i]]) for i in range(5)]
    np.testing.assert_allclose(model(images, context).detach(), torch.cat(alone).detach(), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_over_symmetries_is_the_same_for_a_turned_patch(family):
    images, context = torch.rand(2, 7, 64, 64), torch.rand(2, 4)
    model = network(architecture(family, symmetries=True), INPUTS).eval()
    turned = images.flip(-1).rot90(1, (-2, -1))
    torch.testing.assert_close(model.predict(turned, context), model.predict(images, context))
    assert not torch.allclose(model(turned, context), model(images, context))
    every = [version.rot90(turn, (-2, -1)) for version in (images, images.flip(-1)) for turn in range(4)]
    mean = torch.stack([model(version, context).softmax(1) for version in every]).mean(0)
    torch.testing.assert_close(model.predict(images, context).exp(), mean)
    model.symmetries = False
    assert torch.equal(model.predict(images, context), model(images, context))

import dataclasses

import numpy as np
import pytest
import torch
from tiny import architecture

from landcover.data import tensors
from landcover.errors import InputError
from landcover.models import weights
from landcover.models.metadata import Inputs, Metadata
from landcover.models.registry import FAMILIES, build

INPUTS = Inputs(("B02", "B03", "VV", "VH"), ("x", "y", "z"), 64, ("season",))


@pytest.fixture(params=FAMILIES)
def described(request):
    """A network of each family and its metadata."""
    chosen = architecture(request.param, "moments")
    torch.manual_seed(0)
    network = build(chosen, INPUTS, torch.linspace(0, 1, 5), torch.linspace(1, 2, 5)).eval()
    return network, Metadata(architecture=chosen, inputs=INPUTS, parameters=7, scale={"divisor": 10_000})


def test_a_network_is_rebuilt_from_its_file_alone(tmp_path, described):
    network, metadata = described
    weights.save(tmp_path / "m", network, metadata)
    loaded, stated = weights.load(tmp_path / "m")
    images, context = torch.rand(2, 4, 64, 64), torch.rand(2, 1)
    assert torch.equal(loaded.eval()(images, context), network(images, context))
    assert stated == metadata


def test_an_ensemble_is_rebuilt_network_by_network(tmp_path, described):
    network, metadata = described
    other = build(metadata.architecture, INPUTS)
    both = dataclasses.replace(metadata, seeds=[9, 10], epochs=[1, 2])
    weights.save_ensemble(tmp_path / "e", {9: network, 10: other}, both)
    loaded, stated = weights.load_ensemble(tmp_path / "e")
    assert stated == both
    images, context = torch.rand(2, 4, 64, 64), torch.rand(2, 1)
    for rebuilt, expected in zip(loaded, (network, other), strict=True):
        assert torch.equal(rebuilt.eval()(images, context), expected.eval()(images, context))
    with pytest.raises(
        InputError, match="holds an ensemble, not a single network; name another file, or map with --ensemble"
    ):
        weights.load(tmp_path / "e")
    weights.save(tmp_path / "e", network, metadata)
    with pytest.raises(InputError, match="holds a single network, not an ensemble; leave out --ensemble"):
        weights.load_ensemble(tmp_path / "e")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"bands": ["B02"]}, "size mismatch"),
        ({"context": ["B99"]}, ""),
        ({"classes": None}, "it has no classes"),
        ({"architecture": {"name": "vit", "standardize": "none"}}, "vit"),
        ({"architecture": [1]}, ""),
        ({"future": 1}, "future"),
    ],
    ids=str,
)
def test_metadata_that_do_not_fit_are_refused(tmp_path, described, change, why):
    network, metadata = described
    weights.save(tmp_path / "m", network, metadata)
    arrays, facts = tensors.load(tmp_path / "m")
    facts = {key: value for key, value in (facts | change).items() if value is not None}
    tensors.save(tmp_path / "m", arrays, facts)
    with pytest.raises(InputError, match=rf"is not a model from this pipeline \(.*{why}.*\); run dvc repro") as error:
        weights.load(tmp_path / "m")
    assert "\n" not in str(error.value)


def test_weights_that_are_no_numbers_are_refused(tmp_path, described):
    network, metadata = described
    torch.nn.init.constant_(network.head.bias, torch.nan)
    weights.save(tmp_path / "m", network, metadata)
    with pytest.raises(InputError, match="non-finite values in"):
        weights.load(tmp_path / "m")


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="not found"):
        weights.load(tmp_path / "none")
    tensors.save(tmp_path / "m", {"a": np.zeros(1)}, {"seeds": [1]})  # as the seeds' log-probabilities
    for load in (weights.load, weights.load_ensemble):
        with pytest.raises(InputError, match="is not a model from this pipeline"):
            load(tmp_path / "m")
    tensors.save(tmp_path / "m", {}, {"seeds": []})
    with pytest.raises(InputError, match=r"holds no network; list seeds in repeat\.seeds, and run dvc repro repeat"):
        weights.load_ensemble(tmp_path / "m")

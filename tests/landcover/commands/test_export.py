import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import REPOSITORY, architecture

from landcover.commands import export
from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.metadata import Inputs, Metadata
from landcover.models.model import Model
from landcover.models.registry import build
from landcover.models.weights import save

needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, export.PACKAGES)), reason="requirements-onnx.txt is not installed"
)
INPUTS = Inputs(("B04", "B08"), ("oak", "fir", "sea"), 32)
# All at once that has a layer of its own.
METADATA = Metadata(
    architecture=architecture(
        standardize="quantiles", convolutions=[4], kernel=3, padding="same", residual=True, normalization="group",
        global_pooling=True, linear=[5], dropout=0.5,
    ),
    inputs=INPUTS, scale={"divisor": 10_000}, temperature=1.5, parameters=1, epochs=1,
)  # fmt: skip
MODEL = ("--model", "model.safetensors")


def network() -> Model:
    return build(METADATA.architecture, INPUTS, torch.full((2,), 0.5), torch.full((2,), 0.1))


@pytest.fixture
def images(tmp_path, monkeypatch) -> np.ndarray:
    """Of the test split, with a model beside it."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save(Path("model.safetensors"), network(), METADATA)
    images = np.random.default_rng(0).random((19, 2, 32, 32), np.float32)
    Path("data/tensors").mkdir(parents=True)
    facts = {"bands": list(INPUTS.channels), "classes": list(INPUTS.classes), "scale": METADATA.scale}
    tensors.save(
        Path("data/tensors") / tensors.shard_name("test", 0), {"images": images, "labels": np.zeros(19, int)}, facts
    )
    return images


@needs_onnx
def test_onnx_gives_the_log_probabilities_of_torch_and_what_they_mean(images, capsys):
    import onnxruntime

    export.main([*MODEL])
    line = "model.onnx: on 19 test patches, its log-probabilities agree with torch's to "
    assert capsys.readouterr().out.startswith(line)
    session = onnxruntime.InferenceSession("model.onnx")
    properties = session.get_modelmeta().custom_metadata_map
    assert {name: json.loads(text) for name, text in properties.items()} == METADATA.to_json()
    torch.manual_seed(0)
    with torch.inference_mode():
        expected = network().eval()(torch.from_numpy(images)).log_softmax(1).numpy()
    for count in (1, 19):
        (exported,) = session.run(["log_probabilities"], {"reflectances": images[:count]})
        assert exported == pytest.approx(expected[:count], abs=1e-5)

    assert str(REPOSITORY).encode() not in Path("model.onnx").read_bytes()

    split = tensors.load_split(Path("data/tensors"), "test")
    with pytest.raises(InputError, match="onnxruntime's log-probabilities differ from torch's by up to"):
        export.largest_difference(Path("model.onnx"), network(), split)  # of other weights


@needs_onnx
def test_without_tensors_it_is_told_that_nothing_was_checked(images, monkeypatch, capsys):
    monkeypatch.setattr(export, "export", lambda path, *_: path.touch())
    export.main([*MODEL, "--tensors", "none", "--out", "other.onnx"])
    assert capsys.readouterr().out == "other.onnx: not checked, because there is no none\n"
    assert Path("other.onnx").exists()


@needs_onnx
def test_tensors_of_another_model_are_no_check(images):
    others = replace(INPUTS, channels=("B03", "B08"))
    save(Path("model.safetensors"), network(), replace(METADATA, inputs=others, scale={"divisor": 1}))
    with pytest.raises(InputError, match=r"data/tensors: differs in channels, scale from model\.safetensors; give"):
        export.main([*MODEL])
    assert not Path("model.onnx").exists()


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(export, "PACKAGES", ("torch", "no_onnx"))
    with pytest.raises(InputError, match=r"export needs no_onnx; pip install -r requirements-onnx\.txt"):
        export.main([])

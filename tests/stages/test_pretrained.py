import hashlib

import numpy as np
import pytest
import torch
from server import File, Server
from tiny import architecture

from landcover.archives import source
from landcover.config import Training
from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.metadata import Inputs, Metadata
from landcover.models.registry import build
from landcover.models.weights import save
from stages.pretrained import pretrained


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of weights, and its hash."""
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": torch.ones(2, 4, 5, 5)}, tmp_path / "mine.pth")
    return tmp_path / "mine.pth", hashlib.sha256((tmp_path / "mine.pth").read_bytes()).hexdigest()


def settings(default_params, **changes) -> Training:
    return Training.model_validate(default_params["train"] | changes)


def test_without_weights_the_file_is_empty(run_stage, tmp_path):
    done = run_stage("pretrained", "w.safetensors")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tensors.load(tmp_path / "w.safetensors") == ({}, {})


def test_a_path_becomes_tensors_that_name_their_file_and_its_hash(file, default_params, tmp_path):
    path, digest = file
    pretrained(tmp_path / "w", train=settings(default_params, init=str(path), init_sha256=digest.upper()))
    arrays, facts = tensors.load(tmp_path / "w")
    assert np.array_equal(arrays["conv1.weight"], np.ones((2, 4, 5, 5)))
    assert (facts["file"], facts["sha256"]) == ("mine.pth", digest)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": "none.pth"}, "train.init = 'none.pth': no such file; give an absolute path, or an http"),
        ({"init": "mine.pth", "init_sha256": "0" * 64}, "mine.pth: its sha256 is [0-9a-f]{64}, not 0{64}; get"),
    ],
)  # fmt: skip
def test_what_is_not_the_file_is_refused_and_nothing_is_written(file, default_params, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        pretrained(tmp_path / "w", train=settings(default_params, **changes))
    assert not (tmp_path / "w").exists()


def test_an_address_is_fetched_and_verified(file, default_params, tmp_path, monkeypatch):
    """Whatever kind of file it is; what broke off goes on."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(source, "sleep", lambda seconds: None)
    network = build(chosen := architecture(), inputs := Inputs(("B02",), ("a", "b"), 32))
    save(tmp_path / "m", network, Metadata(architecture=chosen, inputs=inputs, parameters=1))
    content = (tmp_path / "m").read_bytes()
    with Server() as server:
        url = server.on("/m.safetensors", File(content, cut=100), File(content))
        digest = hashlib.sha256(content).hexdigest()
        pretrained(tmp_path / "w", train=settings(default_params, init=url, init_sha256=digest))
        assert server.seen[1].headers.get("Range")
        arrays, facts = tensors.load(tmp_path / "w")
        assert (facts["file"], facts["bands"], facts["removed"]) == (url, ["B02"], "")
        assert arrays.keys() == network.state_dict().keys()
        with pytest.raises(InputError, match="its sha256 is"):
            pretrained(tmp_path / "w", train=settings(default_params, init=url, init_sha256="1" * 64))

import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from landcover.data import tensors
from landcover.errors import InputError
from landcover.models import state_dicts

CONV = torch.arange(8.0).reshape(2, 1, 2, 2)


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_a_state_dict_is_read_in_its_order_on_any_machine(tmp_path):
    content = OrderedDict({"z.weight": CONV, "a.bias": torch.ones(2, dtype=torch.float16), "bn.count": torch.tensor(3)})
    arrays, facts = state_dicts.read(saved(tmp_path / "w.pth", content), "w")
    assert [*arrays] == facts["order"] == ["z.weight", "a.bias", "bn.count"]
    assert np.array_equal(arrays["z.weight"], CONV.numpy())
    assert [values.dtype.name for values in arrays.values()] == ["float32", "float32", "int64"]
    assert (facts["removed"], facts["left_out"]) == ("", {})


@pytest.mark.parametrize(
    ("content", "removed", "left_out"),
    [
        ({"module.conv1.weight": CONV}, "module.", {}),
        (
            {"epoch": 3, "state_dict": {"module.encoder_q.conv1.weight": CONV, "module.encoder_k.conv1.weight": CONV}},
            "state_dict: module.encoder_q.",
            {"module.encoder_k.conv1.weight": 8},
        ),
        ({"model.backbone.conv1.weight": CONV, "model.fc.b": CONV[0, 0, 0]}, "model.backbone.", {"model.fc.b": 2}),
    ],
)  # fmt: skip
def test_what_frameworks_put_before_the_names_is_taken_off_and_told(tmp_path, content, removed, left_out):
    arrays, facts = state_dicts.read(saved(tmp_path / "w.pt", content), "w")
    assert ([*arrays], facts["removed"], facts["left_out"]) == (["conv1.weight"], removed, left_out)


def test_a_model_of_this_pipeline_states_its_facts_and_keeps_its_names(tmp_path):
    stated = {"architecture": {"name": "cnn"}, "bands": ["B02"], "epochs": 3}
    tensors.save(tmp_path / "m", {"model.weight": CONV.numpy()}, stated)
    arrays, facts = state_dicts.read(tmp_path / "m", "m")
    assert [*arrays] == ["model.weight"]
    assert (facts["architecture"], facts["bands"]) == ({"name": "cnn"}, ["B02"])
    assert "epochs" not in facts


class Harm:
    """Makes the folder `harmed` when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-300])
    return path


def ours(path: Path, arrays: dict, facts: dict) -> Path:
    tensors.save(path, arrays, facts)
    return path


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: saved(path, {"w": CONV, "harm": Harm()}), "holds more than tensors, which may be code"),
        (lambda path: cut(saved(path, {"w": torch.rand(500)})), "is no file of weights, damaged or incomplete"),
        (lambda path: path.write_text("<html>") and path, "is no file of weights, damaged or incomplete"),
        (lambda path: path.write_bytes(b"") or path, "is no file of weights, damaged or incomplete"),
        (lambda path: saved(path, {"epoch": 3}), "holds no named tensors, only epoch"),
        (lambda path: saved(path, [CONV]), "holds no named tensors"),
        (lambda path: saved(path, {"a": CONV, "b": torch.tensor([torch.nan])}), "not finite in b"),
        (lambda path: cut(ours(path, {"a": np.ones(200, np.float32)}, {})), "is damaged or incomplete"),
        (lambda path: ours(path, {}, {}), "holds no tensors"),
        (
            lambda path: ours(path, {"1/a": np.ones(2, np.float32)}, {"architecture": {}, "seeds": [1]}),
            "holds an ensemble",
        ),
    ],
)
def test_what_holds_no_weights_is_refused_in_one_line_and_not_run(tmp_path, monkeypatch, write, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"^mine\.pth: .*{message}") as error:
        state_dicts.read(write(tmp_path / "w"), "mine.pth")
    assert "\n" not in str(error.value)
    assert not Path("harmed").exists()

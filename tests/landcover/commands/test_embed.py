from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import architecture

from landcover.commands import embed
from landcover.data import tensors
from landcover.data.embeddings import load_embeddings
from landcover.errors import InputError
from landcover.models.metadata import Inputs, Metadata
from landcover.models.registry import build
from landcover.models.weights import save


@pytest.fixture
def network(prepared, tmp_path, monkeypatch):
    """A model of the bands of the tensors, beside them."""
    prepared(12, 4, 8)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    chosen, inputs = architecture(), Inputs(("B02", "B08"), ("oak", "fir"), 120)  # other classes than the tensors'
    network = build(chosen, inputs)
    save(tmp_path / "m", network, Metadata(architecture=chosen, inputs=inputs, parameters=1))
    return network


@pytest.mark.parametrize("out", ["e.parquet", "e.npz"])
def test_a_table_holds_what_the_last_layer_sees_of_every_patch(network, capsys, out):
    embed.main(["--model", "m", "--tensors", "tensors", "--out", out])
    assert capsys.readouterr().out == f"{out}: 24 patches, vectors of 100 numbers\n"
    split = tensors.load_split(Path("tensors"), "test")
    ids = np.genfromtxt("tensors/index.csv", str, delimiter=",", skip_header=1, usecols=2)[-8:]
    expected = network.embed(torch.from_numpy(split.images)).detach()
    np.testing.assert_allclose(load_embeddings(Path(out), ids), expected, atol=1e-5)


def test_it_is_a_baseline(network, run_stage, tmp_path):
    embed.main(["--model", "m", "--tensors", "tensors", "--out", "e.npz"])
    (tmp_path / "folds.csv").write_text("patch_id,split,row,place,fold\n")
    outputs = ("b.json", "b.csv", "fb.csv")
    done = run_stage(
        "baseline", "tensors", "shares", "folds.csv", *outputs, params={"baseline": {"embeddings": "e.npz"}}
    )
    assert (done.returncode, done.stderr) == (0, "")
    header = (tmp_path / "b.csv").read_text().partition("\n")[0]
    assert header == "patch_id,actual,majority,band_statistics,texture,embeddings"
    assert '"baseline": "logistic regression on embeddings"' in (tmp_path / "b.json").read_text()


def test_tensors_of_other_inputs_and_other_endings_are_refused(network, tmp_path):
    chosen, inputs = architecture(), Inputs(("B02", "B04"), ("oak", "fir"), 140)
    save(tmp_path / "other", build(chosen, inputs), Metadata(architecture=chosen, inputs=inputs, parameters=1))
    with pytest.raises(InputError, match="tensors: differs in channels, patch_size from other; preprocess"):
        embed.main(["--model", "other", "--tensors", "tensors", "--out", "e.npz"])
    with pytest.raises(InputError, match=r"--out e\.csv: give a file that ends in \.parquet or \.npz"):
        embed.main(["--model", "m", "--tensors", "tensors", "--out", "e.csv"])

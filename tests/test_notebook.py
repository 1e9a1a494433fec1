"""The notebooks run from top to bottom, and are kept without what they show."""

import ast
import io
import json
import sys
from functools import partial
from types import SimpleNamespace
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from tiny import REPOSITORY, architecture

from landcover import api
from landcover.constants import CLASSES, SPLITS
from landcover.data import tensors
from landcover.models.metadata import Inputs, Metadata
from landcover.models.registry import build
from landcover.models.weights import save
from landcover.synthetic import scene

NOTEBOOKS = {path.stem: json.loads(path.read_text())["cells"] for path in (REPOSITORY / "notebooks").glob("*.ipynb")}
CELLS = NOTEBOOKS["explore"]
BANDS = ["B02", "B03", "B04", "B08"]


@pytest.fixture
def repository(tmp_path):
    """What the notebook reads: parameters, tensors and a model."""
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    (tmp_path / "data" / "tensors").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    rng = np.random.default_rng(0)
    rows = ["split,row,patch_id,label,majority_fraction,lon,lat"]
    for split in SPLITS:
        labels = np.array([0, 2, 3, 7] * 3)
        arrays = {"images": rng.random((12, 4, 120, 120), np.float32), "labels": labels}
        facts = {"bands": BANDS, "classes": CLASSES, "scale": {}}
        tensors.save(tmp_path / "data" / "tensors" / tensors.shard_name(split, 0), arrays, facts)
        rows += [f"{split},{row},patch-{row},{label},0.75,10,50" for row, label in enumerate(labels)]
    (tmp_path / "data" / "tensors" / "index.csv").write_text("\n".join(rows))
    inputs = Inputs(tuple(BANDS), tuple(CLASSES), 120)
    network = build(architecture(), inputs)
    metadata = Metadata(architecture=architecture(), inputs=inputs, parameters=network.parameter_count, epochs=1)
    save(tmp_path / "models" / "model.safetensors", network, metadata)
    return tmp_path


def test_the_notebook_runs(repository, monkeypatch, capsys):
    def show(value: object) -> None:
        """What a notebook does with the value of a cell."""
        if isinstance(value, Figure):
            value.savefig(io.BytesIO(), dpi=20)
        elif value is not None:
            print(value)

    (repository / "notebooks").mkdir()
    monkeypatch.chdir(repository / "notebooks")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "displayhook", show)
    monkeypatch.setattr(scene, "write_scene", partial(scene.write_scene, patches=2))
    names = {}
    with plt.rc_context({"backend": "agg"}):
        for cell in CELLS:
            if cell["cell_type"] == "code":
                statements = ast.parse("".join(cell["source"])).body
                exec(compile(ast.Interactive(statements), cell["id"], "single"), names)
                for number in plt.get_fignums():
                    show(plt.figure(number))
                plt.close("all")
    told = capsys.readouterr().out
    assert f"accuracy on 12 test patches: {np.mean(names['predictions'] == names['test'].labels):.3f}" in told
    assert f"accuracy over 25 cells: {np.mean(names['truth'] == names['found'].labels):.3f}" in told


def test_the_start_needs_no_more_than_a_clone(monkeypatch):
    """With functions that note how they are called; test_pipeline.py runs those themselves."""
    called = []
    fakes = {
        name: mock.create_autospec(getattr(api, name), side_effect=lambda *given, of=name: called.append((of, *given)))
        for name in ("train", "compare")
    }
    fakes["compare"].side_effect, fakes["compare"].return_value = None, "**Better**: why\n\nmore"
    monkeypatch.chdir(REPOSITORY / "notebooks")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(Markdown=called.append))
    for name, fake in fakes.items():
        monkeypatch.setattr(api, name, fake)
    names = {}
    for cell in NOTEBOOKS["start"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    faster = {"train.learning_rate": 0.001, "train.shuffle": True}
    assert called == [("train", "baseline"), ("train", "faster", faster), "**Better**: why"]
    fakes["compare"].assert_called_once_with("baseline", "faster")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs(name):
    code = [cell for cell in NOTEBOOKS[name] if cell["cell_type"] == "code"]
    assert {(cell["execution_count"], *cell["outputs"]) for cell in code} == {(None,)}

"""Every family goes through everything that knows of a model no more than its contract."""

import re
import shutil
import textwrap
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import IN_TURN, python
from tiny import REPOSITORY, write_tile

from landcover.commands import export
from landcover.data import tensors
from landcover.models.registry import FAMILIES, Architecture
from landcover.models.weights import load
from landcover.training.loader import load as load_patches
from landcover.training.prediction import predict

FILES = "m.safetensors l.safetensors h.csv"
TRAIN = f"stages train tensors shares w.safetensors {FILES}"
BANDS = ["B02", "B08"]


@pytest.fixture
def small(tmp_path) -> dict:
    """Write the tensors of patches of 32 pixels, and give parameters for a short training."""
    rng = np.random.default_rng(0)
    facts = {"bands": BANDS, "classes": ["oak", "fir", "sea"], "scale": {"divisor": 10_000}}
    (tmp_path / "tensors").mkdir()
    tensors.save_origin(tmp_path / "tensors", tensors.Origin("tiny", synthetic=True))
    tensors.save(tmp_path / "w.safetensors", {}, {})  # no weights to start from
    for split, count in (("train", 8), ("val", 4), ("test", 5)):
        images = rng.uniform(0.01, 1, (count, 2, 32, 32)).astype(np.float32)
        arrays = {"images": images, "labels": np.arange(count) % 3}
        tensors.save(tmp_path / "tensors" / tensors.shard_name(split, 0), arrays, facts)
    return {"train": {"epochs": 1, "batch_size": 4}}


def assert_predicts_as_it_was_trained(folder: Path) -> None:
    network, metadata = load(folder / "m.safetensors")
    test = load_patches(tensors.load_split(folder / "tensors", "test"), torch.device("cpu"))
    expected, _ = tensors.load(folder / "l.safetensors")
    np.testing.assert_allclose(predict(network, test, 2), expected["test"], atol=1e-5)
    assert metadata.parameters == network.parameter_count


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_trained_saved_loaded_exported_and_maps(small, default_params, in_turn, tmp_path, family):
    # Of the notebook's network, two layers do not fit on patches this small.
    model = default_params["model"] | {"name": family, "cnn": default_params["model"]["cnn"] | {"convolutions": [4]}}
    rng = np.random.default_rng(1)
    write_tile(tmp_path / "scene.tif", rng.integers(1, 10_000, (2, 70, 90)).astype(np.uint16))
    commands = [TRAIN, "landcover predict scene.tif --model m.safetensors --bands 1,2 --step 16 --out map"]
    if exported := all(map(find_spec, export.PACKAGES)):
        commands.append("landcover export --model m.safetensors --tensors tensors --out m.onnx")
    done = in_turn(*commands, params=small | {"model": model})
    assert done.returncode == 0, done.stderr
    if exported:
        assert "m.onnx: on 5 test patches, its log-probabilities agree with torch's" in done.stdout
    assert (tmp_path / "map" / "classes.tif").exists()
    metadata = load(tmp_path / "m.safetensors")[1]
    assert metadata.architecture == Architecture.model_validate({k: model[k] for k in ("name", "standardize", family)})
    assert_predicts_as_it_was_trained(tmp_path)


def test_a_new_model_takes_the_steps_that_contributing_shows(small, tmp_path):
    """In a copy of the code: the page's example becomes a file, an entry of the registry, and one of params.yaml."""
    page = (REPOSITORY / "CONTRIBUTING.md").read_text().partition("## Add a model\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^   ```\w+\n(.*?)^   ```$", page, re.MULTILINE | re.DOTALL)
    module, parameters, entry, values = map(textwrap.dedent, blocks)
    for room in ("landcover", "stages"):
        shutil.copytree(REPOSITORY / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    (tmp_path / "landcover/models/spectra.py").write_text(module)
    registry = tmp_path / "landcover/models/registry.py"
    text = registry.read_text().replace("class Family(", f"{parameters}\n\nclass Family(")
    registry.write_text(text.replace("FAMILIES = {\n", f"FAMILIES = {{\n    {entry}"))
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text()) | {"dataset": "small"}
    params["datasets"] = {"small": {"source": "x", "split": {"method": "files"}, "patch_size": 32}}
    params["model"] |= yaml.safe_load(values) | {"name": "spectra"}
    params["train"] |= small["train"]
    params["runtime"]["device"] = "cpu"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    check = "import test_families as t; from pathlib import Path; t.assert_predicts_as_it_was_trained(Path())"
    # The copy of the code comes before this one's.
    root = f"{tmp_path}:{Path(__file__).parent}:{REPOSITORY / 'tests'}"
    done = python(tmp_path, "-c", IN_TURN + check, TRAIN, root=root)
    assert (done.returncode, done.stderr) == (0, "")

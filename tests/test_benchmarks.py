import numpy as np
import pytest
import torch
from tiny import LOCAL, PATCH_ID, Dataset, architecture, entry, write_tile

from benchmarks import growth, measure, notebook, scene
from benchmarks.epochs import Lean
from landcover.constants import CLASSES
from landcover.data import tensors
from landcover.data.layouts import ben_ge
from landcover.mapping.maps import predict
from landcover.mapping.predictor import Predictor
from landcover.mapping.scenes import open_scene
from landcover.models.metadata import Inputs, Metadata
from landcover.models.registry import build
from landcover.training.loader import load

BANDS = ["B02", "B03", "B04", "B08"]
ROWS = {"train": slice(0, 12), "val": slice(12, 29), "test": slice(29, 30)}


@pytest.fixture
def noisy(tmp_path) -> Dataset:
    rng = np.random.default_rng(0)
    data = Dataset(tmp_path / "patches" / "small", rng.choice([0, 2, 3, 7], 30).tolist(), BANDS)
    for patch_id in data.ids:
        for band in data.bands:
            write_tile(data.tile(patch_id, band), rng.integers(1, 12_000, (120, 120), np.uint16))
    return data


@pytest.fixture
def prepared(noisy, run_stage, tmp_path):
    split = {"method": "order", "train": 12, "val": 17, "test": 1}
    params = {"dataset": "small", "datasets": {"small": {"source": "x", "split": split}}}
    done = run_stage("preprocess", "patches", "tensors", "shares", "data.json", params=params)
    assert done.returncode == 0, done.stderr
    return {split: tensors.load_split(tmp_path / "tensors", split) for split in ROWS}


def test_the_leanest_loop_learns_as_the_notebook_does(noisy, prepared):
    train, val = (load(prepared[split], torch.device("cpu")) for split in ("train", "val"))
    lean = Lean().epochs(train, val)
    for theirs in notebook.run(noisy.root, 3, ROWS, workers=0):
        for name, loss in next(lean).items():
            assert loss == pytest.approx(theirs[name], abs=1e-4)


@pytest.mark.parametrize("step", [24, 120])
def test_the_batched_loop_over_windows_finds_what_ours_does(tmp_path, step):
    pixels = np.random.default_rng(0).integers(1, 4000, (4, 170, 290), np.uint16)
    write_tile(tmp_path / "scene.tif", pixels)
    torch.manual_seed(0)
    inputs = Inputs(tuple(BANDS), CLASSES, 120)
    network = build(architecture(), inputs).eval()
    predictor = Predictor([network], Metadata(architecture=architecture(), inputs=inputs, parameters=0))
    theirs, chosen, rows = scene.loop(tmp_path / "scene.tif", network, step)
    opened = open_scene(str(tmp_path / "scene.tif"), BANDS, positions=[1, 2, 3, 4], offset=0)
    ours = predict(opened, predictor, step, LOCAL, keep_probabilities=True)
    assert (rows, len(chosen)) == ours.labels.shape[:1] * 2
    np.testing.assert_allclose(ours.probabilities.transpose(1, 2, 0), theirs, atol=1e-5)


def test_patches_are_multiplied_under_ids_of_their_own(dataset, tmp_path):
    growth.grow(dataset.root, tmp_path / "grown", 20)
    root = tmp_path / "grown" / growth.NAME
    table = ben_ge.read_patches(root, [], [], entry()).table
    assert (len(table), table["patch_id"].nunique()) == (20, 20)
    assert table["label"].tolist() == [0, 3] * 10
    assert (table["problem"] == "").all()
    places = [PATCH_ID.fullmatch(patch_id) for patch_id in table["patch_id"]]
    assert places[17]["acquisition"] == places[1]["acquisition"]
    assert int(places[17]["column"]) == int(places[1]["column"]) + 180
    tile = root / "sentinel-2" / places[17].string / f"{places[17].string}_B08.tif"
    assert tile.samefile(dataset.tile(dataset.ids[1], "B08"))


def test_commands_run_in_a_clone_without_the_callers_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    clone = measure.Clone(tmp_path)
    code = """import os, time
held = b"1" * (200 << 20)
time.sleep(0.3)
print(os.getcwd(), "OMP_NUM_THREADS" in os.environ)"""
    cost = clone.run("python", "-c", code, watch=True)
    assert cost.output == f"{clone.folder} False\n"
    assert cost.seconds > 0.3
    assert cost.rss > 200 << 20
    assert 200 << 20 < cost.anonymous <= cost.total < 240 << 20
    clone.set({"train.epochs": 2})
    assert clone.params()["train"]["epochs"] == 2
    with pytest.raises(SystemExit, match="ended with 3"):
        clone.run("python", "-c", "raise SystemExit(3)")


def test_a_result_takes_the_place_of_the_last(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before.\n\n<!-- growth -->\n\nold\n\n<!-- /growth -->\n\nAfter.\n")
    for text in ("new", "newer"):
        measure.write("growth", text, page)
        assert page.read_text() == f"Before.\n\n<!-- growth -->\n\n{text}\n\n<!-- /growth -->\n\nAfter.\n"
    table = measure.table([{"": "a", "s": measure.figure(1.234)}, {"": "b", "s": measure.figure(None)}])
    assert table.splitlines() == ["|    |    s |", "|:---|-----:|", "| a  | 1.23 |", "| b  |    - |"]
    assert [measure.figure(value) for value in (0.0123, 12.34, 123.4)] == ["0.012", "12.3", "123"]

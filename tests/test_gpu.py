"""What holds on a GPU. Skipped where there is none."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import LOCAL, ArrayScene, architecture

from landcover.config import Training
from landcover.data import tensors
from landcover.mapping import maps
from landcover.mapping.predictor import Predictor
from landcover.models.metadata import Inputs, Metadata
from landcover.models.registry import build
from landcover.training.determinism import set_deterministic
from landcover.training.inputs import make_network
from landcover.training.loader import Patches, load
from landcover.training.loop import Run
from landcover.training.prediction import predict_permuted

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GPU, CPU = "cuda", "cpu"
FILES = ("model.safetensors", "log_probabilities.safetensors", "history.csv")
RECIPE = {"shuffle": True, "flips": True, "quarter_turns": True, "class_weights": "balanced", "label_smoothing": 0.1}
PADDED = {"kernel": 3, "stride": 1, "padding": "same", "global_pooling": True, "linear": []}


@pytest.fixture(autouse=True)
def restored():
    """Some tests compute in this process, whose settings later tests share."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")


@pytest.fixture
def trained(prepared, run_stage, tmp_path):
    """Train on a device, and give the paths of the files that it wrote."""
    params, numbers = prepared(22, 7, 8), itertools.count()

    def train(
        device: str,
        *,
        train: dict | None = None,
        model: dict | None = None,
        gigabytes: int = 4,
        launcher: tuple[str, ...] = (),
    ) -> list[Path]:
        folder = tmp_path / f"run-{next(numbers)}"
        folder.mkdir()
        paths = [folder / name for name in FILES]
        changes = {
            "train": {"epochs": 3, "batch_size": 4} | (train or {}),
            "model": architecture(**model or {}).model_dump(),
            "runtime": {"device": device, "resident_gigabytes": gigabytes},
        }
        tensors.save(tmp_path / "w", {}, {})  # no weights to start from
        arguments = "tensors", "shares", "w", *map(str, paths)
        done = run_stage("train", *arguments, params=params | changes, launcher=launcher)
        assert done.returncode == 0, done.stderr
        assert launcher or not done.stderr  # torchrun may tell of its own
        return paths

    return train


def contents(paths):
    return [path.read_bytes() for path in paths]


VARIANTS = {
    "notebook": {},
    "recipe": {"train": RECIPE, "model": {"standardize": "quantiles", "dropout": 0.2}},
    "batch norm": {"train": RECIPE, "model": PADDED | {"normalization": "batch"}},
    "group norm": {"train": RECIPE, "model": PADDED | {"normalization": "group"}},
    "residual": {"train": RECIPE, "model": PADDED | {"residual": True, "stride": 2, "pool": 1}},
    "bfloat16": {"train": {"precision": "bfloat16"}},
    "sgd": {"train": {"optimizer": "sgd", "schedule": "one_cycle"}},
    "resnet": {"train": RECIPE, "model": {"name": "resnet", "widths": [8, 16]}},
    "adamw": {"train": {"optimizer": "adamw", "weight_decay": 0.01, "keep": "best"}},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_gpu_trains_to_the_same_bytes_again(trained, changes):
    assert contents(trained(GPU, **changes)) == contents(trained(GPU, **changes))


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_gpu_learns_as_a_cpu_does(trained, changes):
    found, expected = (pd.read_csv(trained(device, **changes)[-1]) for device in (GPU, CPU))
    # Dropout draws other numbers, and bfloat16 has three digits.
    loose = "dropout" in changes.get("model", {}) or "precision" in changes.get("train", {})
    for loss in ("train_loss", "val_loss"):
        np.testing.assert_allclose(found[loss], expected[loss], atol=0.1 if loose else 1e-3)


def test_streamed_patches_train_to_the_same_bytes(trained):
    held, streamed = (trained(GPU, train=RECIPE, gigabytes=size) for size in (4, 0))
    assert contents(held) == contents(streamed)


def test_a_resumed_run_ends_with_the_same_weights(prepared, default_params, tmp_path):
    prepared(21, 7, 8)
    device = torch.device(GPU)
    set_deterministic(2, device)
    splits = [tensors.load_split(tmp_path / "tensors", name) for name in ("train", "val")]
    settings = Training.model_validate(default_params["train"] | RECIPE | {"epochs": 4, "keep": "best"})

    def run() -> Run:
        network = make_network(splits[0], architecture(), 42, device)
        return Run(network, *(load(split, device) for split in splits), settings)

    whole, stopped, resumed = run(), run(), run()
    list(whole.epochs(tmp_path / "whole.safetensors"))
    epochs = stopped.epochs(tmp_path / "stopped.safetensors")
    next(epochs), next(epochs)
    epochs.close()
    list(resumed.epochs(tmp_path / "stopped.safetensors"))
    assert resumed.history == whole.history
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_process_of_torchrun_learns_as_one_without(trained):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1")
    assert contents(trained(GPU, launcher=launcher)) == contents(trained(GPU))


def test_a_map_has_the_same_classes():
    torch.manual_seed(0)
    bands = ["B02", "B03", "B04", "B08"]
    inputs = Inputs(tuple(bands), tuple("abcdefghijk"), 120)
    metadata = Metadata(architecture=architecture(), inputs=inputs, parameters=1)
    network = build(metadata.architecture, inputs)
    pixels = np.random.default_rng(0).gamma(2, 0.1, (4, 700, 500)).clip(0.001, 1).astype(np.float32)
    model, scene = Predictor([network.eval()], metadata), ArrayScene(pixels, bands)
    found = {}
    for device in (CPU, GPU):
        set_deterministic(1, torch.device(device))
        found[device] = maps.predict(scene, model.to(torch.device(device)), 12, LOCAL, keep_probabilities=True)
    np.testing.assert_allclose(found[GPU].probabilities, found[CPU].probabilities, atol=1e-5)
    assert (found[GPU].labels == found[CPU].labels).mean() > 0.999


def test_several_modalities_are_learnt_and_permuted_as_on_a_cpu(default_params, tmp_path):
    rng = np.random.default_rng(0)
    bands, context = ["B02", "B08", "VV", "VH", "elevation"], ["climate_zone_8", "climate_zone_9", "season"]
    images = rng.uniform(0.01, 1, (13, len(bands), 120, 120)).astype(np.float32)
    features = rng.uniform(0, 1, (13, len(context))).astype(np.float32)
    labels = torch.from_numpy(rng.integers(0, 11, 13))
    late = architecture(fusion="late")
    inputs = Inputs(tuple(bands), tuple("abcdefghijk"), 120, tuple(context))
    settings = Training.model_validate(
        default_params["train"] | RECIPE | {"epochs": 3, "batch_size": 4, "modality_dropout": 0.3}
    )
    found = {}
    for device in (CPU, GPU):
        set_deterministic(2, torch.device(device))
        torch.manual_seed(42)
        network = build(late, inputs).to(device, memory_format=torch.channels_last)
        patches = Patches(torch.from_numpy(images).to(device), labels.to(device), torch.from_numpy(features).to(device))
        history = list(Run(network, patches, patches, settings).epochs(tmp_path / f"{device}.safetensors"))
        found[device] = history, predict_permuted(network, patches, 5)
    np.testing.assert_allclose(found[GPU][0], found[CPU][0], atol=1e-3)
    for name, values in found[GPU][1].items():
        np.testing.assert_allclose(values, found[CPU][1][name], atol=0.01)

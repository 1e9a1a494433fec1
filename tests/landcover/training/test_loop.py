import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tiny import REPOSITORY, Dataset, merged, write_tile

from benchmarks import notebook
from landcover.config import Architecture, Training
from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.cnn import Network, predict
from landcover.models.cnn import load as load_network
from landcover.training.augmentation import augment, draw_present, draw_symmetries
from landcover.training.calibration import fit_temperature
from landcover.training.distributed import ALONE, Group
from landcover.training.loader import Patches, load
from landcover.training.loop import (
    Epoch,
    Run,
    balanced_weights,
    band_moments,
    band_quantiles,
    check,
    describe,
    make_network,
    make_optimizer,
    make_schedule,
    patch_means,
    scaling,
    visits,
)

TRAIN = ("train", "tensors", "m.safetensors", "l.safetensors", "h.csv")
KILLED = ("killed.safetensors", "killed.l.safetensors", "killed.csv")


def settings(default_params: dict, **changes) -> Training:
    return Training.model_validate(default_params["train"] | changes)


BANDS = ["B02", "B03", "B04", "B08"]
ALL_BANDS = ["B02", "B08", "VV", "VH", "elevation"]
CONTEXT = ["climate_zone_8", "climate_zone_9", "season"]


def network(default_params: dict, bands=BANDS, context=(), **changes) -> Network:
    torch.manual_seed(42)
    return Network(Architecture.model_validate(default_params["model"] | changes), bands, 11, context=context)


def fit(*run) -> Iterator[Epoch]:
    with tempfile.TemporaryDirectory() as folder:
        yield from Run(*run).epochs(Path(folder) / "checkpoint.safetensors")


@pytest.fixture
def six_patches() -> Patches:
    generator = torch.Generator().manual_seed(0)
    return Patches(torch.rand(6, 4, 120, 120, generator=generator), torch.tensor([0, 1, 2, 0, 3, 10]))


def test_the_history_equals_the_notebooks_loop(run_stage, tmp_path, default_params):
    """On the same files, epoch by epoch; the labels stand in the meta table's order, as the notebook expects."""
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 2, 3, 7], 44).tolist()
    data = Dataset(tmp_path / "patches" / "small", labels, ("B02", "B03", "B04", "B08"))
    for patch_id, label in zip(data.ids, labels, strict=True):
        for band in data.bands:
            pixels = rng.gamma(4, 100 * (1 + label), (120, 120)).astype(np.uint16) + 1
            write_tile(data.tile(patch_id, band), pixels)
    split = {"method": "order", "train": 20, "val": 18, "test": 6}
    params = {"dataset": "small", "datasets": {"small": {"source": "x", "split": split}}, "train": {"epochs": 10}}
    for verb, *paths in (
        ("preprocess", "patches", "tensors", "data.json"),
        ("train", "tensors", "model.safetensors", "log.safetensors", "history.csv"),
    ):
        done = run_stage(verb, *paths, params=params)
        assert done.returncode == 0, done.stderr

    rows = {"train": slice(0, 20), "val": slice(20, 38)}
    reference = pd.DataFrame(notebook.run(data.root, 10, rows, workers=0))
    history = pd.read_csv(tmp_path / "history.csv")
    assert history.columns.tolist() == list(Epoch._fields)
    assert history["epoch"].tolist() == list(range(1, 11))
    assert (history["learning_rate"] == 1e-4).all()
    for column in ("train_loss", "val_loss"):
        assert history[column].to_numpy() == pytest.approx(reference[column].to_numpy(), abs=0.005)
    for split in ("train", "val"):
        expected = reference[f"{split}_patch_accuracy"].to_numpy()
        assert history[f"{split}_accuracy"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def test_six_patches_can_be_learnt_by_heart(six_patches, default_params):
    hard = settings(default_params, epochs=60, learning_rate=0.003, shuffle=True)
    last = list(fit(network(default_params), six_patches, six_patches, hard))[-1]
    assert last.train_loss < 0.05
    assert last.val_accuracy == 1


def test_two_runs_give_the_same_weights(six_patches, default_params):
    varied = settings(default_params, epochs=2, shuffle=True, flips=True, quarter_turns=True, batch_size=4)

    def weights():
        trained = network(default_params, dropout=0.5)
        list(fit(trained, six_patches, six_patches, varied))
        return trained.state_dict()

    first, second = weights(), weights()
    assert all(torch.equal(first[name], second[name]) for name in first)


def order_of(order, settings) -> list[list[int]]:
    every = torch.arange(6)
    return [every[rows].tolist() for _, rows in visits(6, settings, torch.Generator().manual_seed(order))]


def test_unshuffled_batches_are_in_order_and_the_last_is_smaller(six_patches, default_params):
    four = settings(default_params, batch_size=4)
    assert order_of(0, four) == [[0, 1, 2, 3], [4, 5]]
    found = list(six_patches.batches(rows for _, rows in visits(6, four, torch.Generator())))
    assert [batch.labels.tolist() for batch in found] == [[0, 1, 2, 0], [3, 10]]
    assert torch.equal(torch.cat([batch.images for batch in found]), six_patches.images)


def test_shuffled_batches_hold_each_patch_once_with_its_own_label(six_patches, default_params):
    four = settings(default_params, batch_size=4, shuffle=True)
    (first, last), (other, _) = order_of(0, four), order_of(1, four)
    assert sorted(first + last) == list(range(6))
    assert first != [0, 1, 2, 3]
    assert first != other
    (batch,) = six_patches.batches([torch.tensor([5, 0, 3])])
    assert torch.equal(batch.images, six_patches.images[[5, 0, 3]])
    assert batch.labels.tolist() == [10, 0, 0]


def test_nodata_is_in_neither_moments_nor_quantiles():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.1, 0.9, (3, 2, 20, 20)).astype(np.float32)
    images[0, 0, :5] = images[2, 1, 3:] = 0
    bands = [images[:, i][images[:, i] > 0].astype(float) for i in range(2)]
    mean, deviation = band_moments(images)
    assert mean == pytest.approx([band.mean() for band in bands])
    assert deviation == pytest.approx([band.std() for band in bands])
    median, spread = band_quantiles(images)
    low, middle, high = np.transpose([np.percentile(band, (16, 50, 84)) for band in bands])
    assert median == pytest.approx(middle, abs=2e-3)
    assert spread == pytest.approx((high - low) / 2, abs=2e-3)


def test_augmentation_gives_the_eight_symmetries_equally_often(default_params):
    patch = torch.arange(4.0).reshape(1, 1, 2, 2)
    symmetries = {
        tuple(turned.rot90(turn, (-2, -1)).flatten().tolist())
        for turned in (patch, patch.flip(-1))
        for turn in range(4)
    }
    assert len(symmetries) == 8
    both = settings(default_params, flips=True, quarter_turns=True)
    many = augment(patch.repeat(4000, 1, 1, 1), *draw_symmetries(4000, both, torch.Generator().manual_seed(0)))
    kinds, counts = many.flatten(1).unique(dim=0, return_counts=True)
    assert {tuple(kind) for kind in kinds.tolist()} == symmetries
    assert counts.min() > 400

    flips = draw_symmetries(100, settings(default_params, flips=True), torch.Generator().manual_seed(0))
    flipped = augment(patch.repeat(100, 1, 1, 1), *flips).flatten(1)
    assert {tuple(kind) for kind in flipped.unique(dim=0).tolist()} == {(0, 1, 2, 3), (1, 0, 3, 2)}
    assert augment(patch, None, None) is patch


def test_augmentation_keeps_the_bands_of_a_patch_together(default_params):
    image = torch.rand(1, 1, 8, 8).repeat(1, 3, 1, 1)
    both = settings(default_params, flips=True, quarter_turns=True)
    found = augment(image.repeat(16, 1, 1, 1), *draw_symmetries(16, both, torch.Generator().manual_seed(1)))
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], found[:, 2])


def test_a_modality_is_hidden_as_often_as_asked_but_never_the_whole_image(default_params):
    half = settings(default_params, modality_dropout=0.5)
    present = draw_present(10_000, 2, 1, half, torch.Generator().manual_seed(0))
    kinds, counts = present[:, :2].unique(dim=0, return_counts=True)
    assert kinds.tolist() == [[False, True], [True, False], [True, True]]
    # Both would be hidden for a quarter of the patches, of which each gets half.
    assert (counts / 10_000).tolist() == pytest.approx([3 / 8, 3 / 8, 1 / 4], abs=0.02)
    assert float(present[:, 2].float().mean()) == pytest.approx(0.5, abs=0.02)
    assert draw_present(100, 1, 1, half, torch.Generator())[:, 0].all()


def test_nothing_is_drawn_if_nothing_is_hidden(default_params):
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert draw_present(100, 2, 1, settings(default_params), generator) is None
    assert draw_present(100, 1, 0, settings(default_params, modality_dropout=0.5), generator) is None
    assert torch.equal(generator.get_state(), state)


def test_balanced_weights_by_hand():
    weights = balanced_weights(torch.tensor([0, 0, 0, 2]), 4)
    assert weights.tolist() == pytest.approx([4 / (2 * 3), 0, 4 / (2 * 1), 0])


def rates(default_params: dict, steps: int, **changes) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = make_schedule(optimizer, settings(default_params, learning_rate=0.5, **changes), steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_schedules_by_hand(default_params):
    assert rates(default_params, 3, schedule="constant") == [0.5, 0.5, 0.5]
    cosine = rates(default_params, 4, schedule="cosine")
    assert cosine == pytest.approx([0.5, 0.25 + 0.25 * math.sqrt(0.5), 0.25, 0.25 - 0.25 * math.sqrt(0.5)])
    one_cycle = rates(default_params, 10, schedule="one_cycle")
    assert one_cycle[0] == pytest.approx(0.5 / 25)
    assert one_cycle[2] == pytest.approx(0.5)  # after three tenths
    assert one_cycle[-1] == pytest.approx(0.5 / 25e4)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_schedule_of_few_steps_stays_in_its_range(default_params, steps, schedule):
    found = rates(default_params, steps, schedule=schedule)
    assert found[0] == 0.5 or schedule == "one_cycle"
    assert all(0 < rate <= 0.5 for rate in found)


@pytest.mark.parametrize(
    ("name", "kind", "momentum"),
    [("adam", torch.optim.Adam, None), ("adamw", torch.optim.AdamW, None), ("sgd", torch.optim.SGD, 0.9)],
)
def test_optimizers_are_fused_with_the_settings_given(default_params, name, kind, momentum):
    chosen = settings(default_params, optimizer=name, weight_decay=0.1, learning_rate=0.01)
    optimizer = make_optimizer(network(default_params).parameters(), chosen)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["fused"]) == (0.01, 0.1, True)
    assert group.get("momentum") == momentum


def wandering(default_params, six_patches, **changes) -> tuple[Network, list[Epoch]]:
    """A run whose validation loss goes up in the end: the val labels are wrong."""
    wrong = Patches(six_patches.images, six_patches.labels.roll(1))
    chosen = settings(default_params, epochs=30, learning_rate=0.003, **changes)
    trained = network(default_params)
    return trained, list(fit(trained, six_patches, wrong, chosen))


def test_the_best_epoch_is_kept_if_asked_for(six_patches, default_params):
    _, history = wandering(default_params, six_patches)
    losses = [epoch.val_loss for epoch in history]
    best = losses.index(min(losses))
    assert best < 29
    kept, _ = wandering(default_params, six_patches, keep="best")
    stopped = network(default_params)
    list(fit(stopped, six_patches, six_patches, settings(default_params, epochs=best + 1, learning_rate=0.003)))
    assert all(
        torch.equal(a, b) for a, b in zip(kept.state_dict().values(), stopped.state_dict().values(), strict=True)
    )


def test_patience_stops_early(six_patches, default_params):
    _, history = wandering(default_params, six_patches, patience=3)
    losses = [epoch.val_loss for epoch in history]
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 4


def test_a_loss_that_is_no_number_stops_with_epoch_and_batch(six_patches, default_params):
    broken = Patches(six_patches.images.clone(), six_patches.labels)
    broken.images[5] = math.nan
    with pytest.raises(InputError, match=r"the loss is nan in epoch 1, batch 3; lower train.learning_rate"):
        list(fit(network(default_params), broken, six_patches, settings(default_params, batch_size=2)))
    with pytest.raises(InputError, match=r"the loss of the val split is nan after epoch 1; lower train.learning_rate"):
        list(fit(network(default_params), six_patches, broken, settings(default_params)))
    with pytest.raises(InputError, match=r"the loss is .* in epoch \d+, batch \d; lower train.learning_rate = 1e\+06"):
        list(
            fit(
                network(default_params),
                six_patches,
                six_patches,
                settings(default_params, batch_size=2, learning_rate=1e6),
            )
        )


def test_every_optimizer_and_loss_option_trains(six_patches, default_params):
    for changes in (
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "sgd", "label_smoothing": 0.1},
        {"class_weights": "balanced", "batch_size": 100, "eval_batch_size": 100},
    ):
        history = list(
            fit(network(default_params), six_patches, six_patches, settings(default_params, epochs=2, **changes))
        )
        assert all(np.isfinite(history[-1]))


def test_band_moments_by_hand():
    images = np.zeros((2, 2, 1, 2), np.float32)
    images[0, 0], images[1, 0] = 1, 3
    images[:, 1] = [[0.5, 1.5]]
    mean, std = band_moments(images)
    assert mean.tolist() == [2, 1]
    assert std.tolist() == [1, 0.5]


def test_patch_means_are_of_valid_pixels():
    images = np.zeros((3, 2, 1, 2), np.float32)
    images[0, 0], images[1, 0] = [[0, 0.25]], [[0.5, 1]]  # the third patch has no valid pixel
    images[:, 1] = 0.125
    facts = tensors.Split(images, np.zeros(3, int), ["B02", "B08"], [], {})
    assert patch_means(facts) == {"B02": [0.25, 0.75], "B08": [0.125, 0.125]}


def test_band_quantiles_by_hand_are_not_moved_by_snow():
    """A hundred pixels from 0.01 to 1.00, and the same with the ten brightest as bright as can be."""
    ramp = np.arange(1, 101, dtype=np.float32).reshape(1, 10, 10) / 100
    median, spread = band_quantiles([ramp])
    assert (median, spread) == (pytest.approx([0.5]), pytest.approx([(0.84 - 0.16) / 2]))
    snow = np.where(ramp > 0.9, np.float32(1), ramp)
    assert [part.tolist() for part in band_quantiles([snow])] == [median.tolist(), spread.tolist()]


@pytest.mark.parametrize("method", ["moments", "quantiles"])
def test_context_is_scaled_by_its_moments(method):
    images = np.random.default_rng(0).uniform(0.1, 0.9, (4, 1, 8, 8)).astype(np.float32)
    context = np.array([[0, 1, 0.25], [0, 1, 0.75], [0, 0, 0.25], [0, 0, 0.75]], np.float32)
    center, spread = scaling(tensors.Split(images, np.zeros(4, int), ["VV"], [], {}, context, CONTEXT), method)
    assert center[1:].tolist() == [0, 0.5, 0.5]
    assert spread[1:].tolist() == [1, 0.5, 0.25]  # the first feature is constant
    assert (center.dtype, spread.dtype) == (np.float32, np.float32)


def test_quantiles_of_normal_values_are_their_mean_and_deviation():
    values = np.random.default_rng(0).normal(0.3, 0.05, (4, 1, 120, 120)).astype(np.float32)
    median, spread = band_quantiles(values)
    assert (median, spread) == (pytest.approx([0.3], abs=0.001), pytest.approx([0.05], abs=0.001))


def test_what_cannot_be_trained_is_refused_with_the_reason(six_patches, default_params):
    with pytest.raises(InputError, match="leaves one of 6 patches alone in the last batch"):
        list(
            fit(
                network(default_params, normalization="batch"),
                six_patches,
                six_patches,
                settings(default_params, batch_size=5),
            )
        )
    with pytest.raises(InputError, match="leaves one of 6 patches alone in the last batch"):
        check(network(default_params, normalization="batch"), 6, 6, settings(default_params, batch_size=1), ALONE)
    constant = np.ones((2, 3, 4, 4), np.float32)
    constant[0, 0, 0, 0] = constant[0, 2, 0, 0] = 2
    facts = tensors.Split(constant, np.zeros(2, int), ["B02", "B08", "VV"], [], {})
    with pytest.raises(InputError, match="nearly constant over the train split: B08; leave out of bands or inputs"):
        scaling(facts, "moments")


def test_strided_convolutions_of_one_pixel_train(dataset, run_stage, tmp_path):
    """In a process of its own, channels last, as the stage does: torch may crash there."""
    split = {"method": "order", "train": 4, "val": 2, "test": 2}
    params = {
        "dataset": "t",
        "datasets": {"t": {"source": "x", "split": split}},
        "bands": ["B02", "B08"],
        "train": {"epochs": 20},
    }
    run_stage("preprocess", "data/patches", "tensors", "data.json", params=params)
    for changes in (
        {"residual": True, "padding": "same", "kernel": 3, "convolutions": [16, 32, 64], "global_pooling": True},
        {"kernel": 1, "pool": 1, "convolutions": [16, 32]},
    ):
        done = run_stage(*TRAIN, params=params | {"model": changes, "runtime": {"threads": 2}})
        assert (done.returncode, done.stderr) == (0, "")
        losses = pd.read_csv(tmp_path / "h.csv")["train_loss"]
        assert losses.iloc[-1] < losses.iloc[0]


def test_the_model_file_tells_how_it_was_made_and_predicts_as_train_did(dataset, run_stage, tmp_path):
    split = {"method": "order", "train": 4, "val": 2, "test": 2}
    params = {
        "dataset": "t",
        "datasets": {"t": {"source": "x", "split": split}},
        "bands": ["B08"],
        "train": {"epochs": 4, "learning_rate": 0.003, "keep": "best"},
    }
    run_stage("preprocess", "data/patches", "tensors", "data.json", params=params)
    done = run_stage(*TRAIN, params=params)
    assert (done.returncode, done.stderr) == (0, "")
    saved, metadata = load_network(tmp_path / "m.safetensors")
    assert metadata["bands"] == ["B08"]
    assert metadata["classes"][0] == "tree_cover"
    assert metadata["scale"]["divisor"] == 10_000
    assert metadata["architecture"]["convolutions"] == [8, 16]
    assert (metadata["patch_size"], metadata["dataset"], metadata["synthetic"]) == (120, "t", False)
    # The first four patches train; number i has 100 * (i + 1) everywhere.
    assert metadata["patch_means"] == {"B08": pytest.approx([0.01, 0.04])}

    found, facts = tensors.load(tmp_path / "l.safetensors")
    given = ("bands", "classes", "scale", "temperature", "parameters", "epochs", "device")
    assert facts == {name: metadata[name] for name in given}
    val = tensors.load_split(tmp_path / "tensors", "val")
    assert facts["temperature"] == fit_temperature(val.labels, found["val"])
    assert found.keys() == {"train", "val", "test"}
    for name, count in (("train", 4), ("val", 2), ("test", 2)):
        patches = load(tensors.load_split(tmp_path / "tensors", name), torch.device("cpu"))
        assert found[name].shape == (count, 11)
        assert found[name] == pytest.approx(predict(saved, patches, count), abs=1e-5)
        assert np.exp(found[name]).sum(1) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("bands", "context", "told"),
    [
        (["B02", "B08"], [], {}),
        (["B02", "B08"], CONTEXT, {"context": CONTEXT}),
        (["B02", "VV"], [], {"fusion": "late"}),
    ],
)
def test_the_model_file_tells_only_what_is_not_the_default(default_params, bands, context, told):
    images = np.full((2, len(bands), 120, 120), 0.5, np.float32)
    values = np.zeros((2, len(context)), np.float32) if context else None
    train = tensors.Split(images, np.zeros(2, int), bands, ["a", "b"], {}, values, context)
    late = Architecture.model_validate(default_params["model"] | {"fusion": "late"})
    made = make_network(train, late, 42, torch.device("cpu"))
    facts = describe(made, late, settings(default_params), train)
    plain = {key: value for key, value in default_params["model"].items() if key != "fusion"}
    assert facts["architecture"] == plain | {key: value for key, value in told.items() if key == "fusion"}
    assert facts.get("context", []) == told.get("context", [])
    assert "modality_dropout" not in facts
    assert describe(made, late, settings(default_params, modality_dropout=0.1), train)["modality_dropout"] == 0.1


# -- going on after a crash


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shuffle": True, "flips": True, "quarter_turns": True, "schedule": "one_cycle", "keep": "best"},
        {"optimizer": "sgd", "schedule": "cosine", "patience": 5},
        {"optimizer": "adamw", "class_weights": "balanced", "precision": "bfloat16"},
        {"modality_dropout": 0.4, "shuffle": True},
    ],
    ids=str,
)
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(six_patches, default_params, tmp_path, changes):
    chosen = settings(default_params, epochs=6, learning_rate=0.003, batch_size=4, **changes)
    inputs = {"bands": ["B02", "B08", "VV", "VH"], "context": CONTEXT, "fusion": "late"}
    train = six_patches._replace(context=torch.rand(6, 3, generator=torch.Generator().manual_seed(0)))
    wrong = train._replace(labels=train.labels.roll(1))

    def run() -> Run:
        fresh = network(default_params, **inputs, dropout=0.3, normalization="batch")
        return Run(fresh.to(memory_format=torch.channels_last), train, wrong, chosen)

    whole = run()
    list(whole.epochs(tmp_path / "whole"))
    for epoch in (1, 3, 6):
        stopped, resumed = run(), run()
        for _ in zip(range(epoch), stopped.epochs(tmp_path / str(epoch)), strict=False):
            pass
        assert list(resumed.epochs(tmp_path / str(epoch))) == whole.history
        for name, value in whole.network.state_dict().items():
            assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_checkpoint_that_is_torn_is_not_taken_up(six_patches, default_params, tmp_path, capsys):
    (tmp_path / "torn").write_bytes(b"\0" * 100)
    chosen = settings(default_params, epochs=1)
    assert len(list(Run(network(default_params), six_patches, six_patches, chosen).epochs(tmp_path / "torn"))) == 1
    assert "training from the start: " in capsys.readouterr().err


def test_a_stage_that_was_killed_resumes_and_leaves_nothing_behind(prepared, run_stage, tmp_path, default_params):
    params = prepared(16, 4, 4) | {"train": {"epochs": 60}}

    def start(*, change=params) -> subprocess.Popen:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(merged(default_params, change)))
        return subprocess.Popen(
            [sys.executable, "-m", "stages", "train", "tensors", *KILLED],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stderr=subprocess.PIPE,
            text=True,
        )

    def epochs_told() -> int:
        return max((len(pd.read_csv(curves)) for curves in (tmp_path / ".partial").glob("train-*.csv")), default=0)

    def checkpoints() -> list[Path]:
        return list((tmp_path / ".partial").glob("train-*.safetensors"))

    run_stage("train", "tensors", "whole.safetensors", "whole.l.safetensors", "whole.csv", params=params)
    assert checkpoints() == []
    reached = 0
    for kill, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)):
        process = start()
        while epochs_told() <= reached:
            time.sleep(0.01)
            assert process.poll() is None
        reached = epochs_told()
        process.send_signal(kill)
        _, told = process.communicate()
        assert process.returncode == code
        assert not any((tmp_path / name).exists() for name in KILLED)
        reached = max(reached, epochs_told())
    (checkpoint,) = checkpoints()
    epochs = len(tensors.load(checkpoint)[1]["history"])
    assert 2 <= epochs < 60
    assert told.splitlines()[1:] == ["interrupted: run the same command again; finished work is kept"]
    done = run_stage("train", "tensors", *KILLED, params=params)
    assert done.stderr == f"resuming after epoch {epochs}\n"
    for name in ("safetensors", "l.safetensors", "csv"):
        assert (tmp_path / f"killed.{name}").read_bytes() == (tmp_path / f"whole.{name}").read_bytes()
    assert list((tmp_path / ".partial").iterdir()) == []


# -- several processes


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_two_processes_learn_as_one_does(prepared, run_stage, tmp_path):
    """Of 21 patches in batches of 4 the last is alone, and of 7 val patches one process has one more."""
    changes = {
        "shuffle": True,
        "flips": True,
        "quarter_turns": True,
        "class_weights": "balanced",
        "label_smoothing": 0.1,
    }
    params = prepared(21, 7, 8) | {"train": {"epochs": 3, "batch_size": 4, "learning_rate": 0.001} | changes}
    histories, weights = [], []
    for name, launcher in (("one", ()), ("two", TORCHRUN)):
        files = f"{name}.safetensors", f"{name}.l.safetensors", f"{name}.csv"
        done = run_stage("train", "tensors", *files, params=params, launcher=launcher)
        assert done.returncode == 0, done.stderr
        histories.append(pd.read_csv(tmp_path / files[2]))
        weights.append(tensors.load(tmp_path / files[0])[0])
    assert histories[0].to_numpy() == pytest.approx(histories[1].to_numpy(), abs=2e-5)
    for name, value in weights[0].items():
        assert value == pytest.approx(weights[1][name], abs=1e-4), name


def test_what_processes_cannot_share_is_refused(six_patches, default_params):
    three = Group(rank=0, size=3)
    with pytest.raises(InputError, match=r"3 processes share train.batch_size = 2, 6 train and 6 val patches"):
        check(network(default_params), 6, 6, settings(default_params, batch_size=2), three)
    with pytest.raises(InputError, match=r"model.normalization = 'batch': each of 3 processes"):
        check(network(default_params, normalization="batch"), 6, 6, settings(default_params), three)


# -- more patches than memory holds


def test_streamed_patches_train_to_the_same_bytes(prepared, run_stage, tmp_path):
    params = prepared(21, 7, 8) | {"train": {"epochs": 2, "shuffle": True}}
    made = []
    for gigabytes in (4, 0):
        params["runtime"] = {"resident_gigabytes": gigabytes, "threads": 1}
        done = run_stage(*TRAIN, params=params)
        assert (done.returncode, done.stderr) == (0, "")
        made.append([(tmp_path / f"{name}.safetensors").read_bytes() for name in "ml"])
    assert made[0] == made[1]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_streamed_batches_leave_no_memory_behind(default_params, monkeypatch):
    """What is kept of each batch must not lie between the images of batches, which could then not be used again."""
    images = np.broadcast_to(np.float32(0.1), (1200, 4, 120, 120))
    patches = Patches(images, torch.zeros(1200, dtype=torch.int64))
    run = Run(network(default_params), patches, patches, settings(default_params, batch_size=4, shuffle=True))

    def anonymous() -> int:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) << 10

    used = []
    monkeypatch.setattr(run, "_accuracy", lambda predictions, labels: used.append(anonymous()))
    before = anonymous()
    run._train_epoch(1)
    assert used[0] - before < images.nbytes / 8


# -- several modalities


@pytest.fixture
def fused(tmp_path) -> dict:
    """Write tensors of images and context, and give parameters for them."""
    rng = np.random.default_rng(0)
    facts = {"bands": ALL_BANDS, "classes": list("abcdefghijk"), "scale": {}, "context": CONTEXT}
    (tmp_path / "tensors").mkdir()
    tensors.save_origin(tmp_path / "tensors", tensors.Origin("tiny", synthetic=True))
    for split, count in (("train", 13), ("val", 5), ("test", 7)):
        for number, size in enumerate((count - 3, 3)):
            arrays = {
                "images": rng.uniform(0.01, 1, (size, len(ALL_BANDS), 120, 120)).astype(np.float32),
                "labels": rng.integers(0, 11, size),
                "context": rng.uniform(0, 1, (size, len(CONTEXT))).astype(np.float32),
            }
            tensors.save(tmp_path / "tensors" / tensors.shard_name(split, number), arrays, facts)
    train = {"epochs": 2, "shuffle": True, "flips": True, "modality_dropout": 0.3, "batch_size": 4}
    return {"train": train, "model": {"fusion": "late", "standardize": "moments"}}


def test_several_modalities_are_trained_on_saved_and_exchanged(fused, run_stage, tmp_path):
    made = []
    for gigabytes in (4, 0):
        done = run_stage(*TRAIN, params=fused | {"runtime": {"resident_gigabytes": gigabytes, "threads": 1}})
        assert (done.returncode, done.stderr) == (0, "")
        made.append([(tmp_path / f"{name}.safetensors").read_bytes() for name in "ml"])
    assert made[0] == made[1]
    saved, facts = load_network(tmp_path / "m.safetensors")
    found, metadata = tensors.load(tmp_path / "l.safetensors")
    assert (facts["bands"], facts["context"], facts["modality_dropout"]) == (ALL_BANDS, CONTEXT, 0.3)
    assert facts["architecture"]["fusion"] == "late"
    assert metadata["context"] == CONTEXT
    shapes = {"train": (13, 11), "val": (5, 11), "test": (7, 11)}
    names = ("sentinel-2", "sentinel-1", "elevation", "climate_zone", "season")
    assert {name: values.shape for name, values in found.items()} == shapes | {
        f"without/{name}": (10, 7, 11) for name in names
    }
    test = load(tensors.load_split(tmp_path / "tensors", "test"), torch.device("cpu"))
    assert found["test"] == pytest.approx(predict(saved, test, 16), abs=1e-5)


def test_two_processes_hide_the_same_modalities_as_one(fused, run_stage, tmp_path):
    weights = []
    for name, launcher in (("one", ()), ("two", TORCHRUN)):
        files = f"{name}.safetensors", f"{name}.l.safetensors", f"{name}.csv"
        done = run_stage("train", "tensors", *files, params=fused, launcher=launcher)
        assert done.returncode == 0, done.stderr
        weights.append(tensors.load(tmp_path / files[0])[0])
    for name, value in weights[0].items():
        assert value == pytest.approx(weights[1][name], abs=1e-4), name

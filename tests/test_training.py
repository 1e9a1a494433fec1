import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Dataset, write_tile

from benchmarks import notebook
from stages import tensors
from stages.cli import InputError
from stages.model import Architecture, Network
from stages.training import (
    Epoch,
    Patches,
    Training,
    augment,
    balanced_weights,
    band_moments,
    batches,
    fit,
    make_schedule,
)


def settings(default_params: dict, **changes) -> Training:
    return Training.model_validate(default_params["train"] | changes)


def network(default_params: dict, **changes) -> Network:
    torch.manual_seed(42)
    return Network(Architecture.model_validate(default_params["model"] | changes), 4, 11)


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
        ("train", "tensors", "model.safetensors", "history.csv"),
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


def test_unshuffled_batches_are_in_order_and_the_last_is_smaller(six_patches, default_params):
    found = list(batches(six_patches, settings(default_params, batch_size=4), torch.Generator()))
    assert [labels.tolist() for _, labels in found] == [[0, 1, 2, 0], [3, 10]]
    assert torch.equal(torch.cat([images for images, _ in found]), six_patches.images)


def test_shuffled_batches_hold_each_patch_once_with_its_own_label(six_patches, default_params):
    generator = torch.Generator().manual_seed(0)
    found = list(batches(six_patches, settings(default_params, batch_size=4, shuffle=True), generator))
    images, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    where = [int((six_patches.images == image).flatten(1).all(1).nonzero()) for image in images]
    assert sorted(where) == list(range(6))
    assert where != list(range(6))
    assert labels.tolist() == six_patches.labels[where].tolist()


def test_augmentation_gives_the_eight_symmetries_equally_often():
    patch = torch.arange(4.0).reshape(1, 1, 2, 2)
    symmetries = {
        tuple(turned.rot90(turn, (-2, -1)).flatten().tolist())
        for turned in (patch, patch.flip(-1))
        for turn in range(4)
    }
    assert len(symmetries) == 8
    many = augment(patch.repeat(4000, 1, 1, 1), torch.Generator().manual_seed(0), flips=True, quarter_turns=True)
    kinds, counts = many.flatten(1).unique(dim=0, return_counts=True)
    assert {tuple(kind) for kind in kinds.tolist()} == symmetries
    assert counts.min() > 400

    generator = torch.Generator().manual_seed(0)
    flipped = augment(patch.repeat(100, 1, 1, 1), generator, flips=True, quarter_turns=False).flatten(1)
    assert {tuple(kind) for kind in flipped.unique(dim=0).tolist()} == {(0, 1, 2, 3), (1, 0, 3, 2)}
    assert augment(patch, generator, flips=False, quarter_turns=False) is patch


def test_augmentation_keeps_the_bands_of_a_patch_together():
    image = torch.rand(1, 1, 8, 8).repeat(1, 3, 1, 1)
    found = augment(image.repeat(16, 1, 1, 1), torch.Generator().manual_seed(1), flips=True, quarter_turns=True)
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], found[:, 2])


def test_balanced_weights_by_hand():
    weights = balanced_weights(torch.tensor([0, 0, 0, 2]), 4)
    assert weights.tolist() == pytest.approx([4 / (2 * 3), 0, 4 / (2 * 1), 0])


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [("constant", 1.0, 1.0), ("cosine", 1.0, 0.5 * (1 + math.cos(math.pi * 0.9))), ("one_cycle", 1 / 25, None)],
)
def test_schedules(default_params, schedule, first, last):
    chosen = settings(default_params, schedule=schedule, learning_rate=1.0)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make_schedule(optimizer, chosen, 10)
    rates = []
    for _ in range(10):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(first)
    if last:
        assert rates[-1] == pytest.approx(last)
    else:
        assert max(rates) == pytest.approx(1.0, abs=0.05)
        assert rates[-1] < 1e-3


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
    assert mean.dtype == std.dtype == np.float32


def test_what_cannot_be_trained_is_refused_with_the_reason(six_patches, default_params):
    with pytest.raises(InputError, match="leaves one of 6 patches alone in the last batch"):
        list(
            fit(
                network(default_params, batch_norm=True),
                six_patches,
                six_patches,
                settings(default_params, batch_size=5),
            )
        )
    one = settings(default_params, epochs=1, schedule="one_cycle")
    with pytest.raises(InputError, match="one_cycle: has 1 steps"):
        list(fit(network(default_params), six_patches, six_patches, one))
    constant = np.ones((2, 3, 4, 4), np.float32)
    constant[0, 0, 0, 0] = constant[0, 2, 0, 0] = 2
    with pytest.raises(InputError, match="band 2 of 3 is the same everywhere"):
        band_moments(constant)


@pytest.mark.parametrize(
    "changes",
    [
        {"residual": True, "padding": "same", "kernel": 3, "convolutions": [16, 32, 64], "global_pooling": True},
        {"kernel": 1, "pool": 1, "convolutions": [16, 32]},
    ],
)
def test_strided_convolutions_of_one_pixel_train(dataset, run_stage, changes, tmp_path):
    """In a process of its own, channels last, as the stage does: torch may crash there."""
    split = {"method": "order", "train": 4, "val": 2, "test": 2}
    params = {
        "dataset": "t",
        "datasets": {"t": {"source": "x", "split": split}},
        "bands": ["B02", "B08"],
        "train": {"epochs": 20},
        "model": changes,
    }
    run_stage("preprocess", "data/patches", "tensors", "data.json", params=params)
    done = run_stage("train", "tensors", "m.safetensors", "h.csv", params=params | {"runtime": {"threads": 2}})
    assert (done.returncode, done.stderr) == (0, "")
    losses = pd.read_csv(tmp_path / "h.csv")["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_the_model_file_tells_how_it_was_made(dataset, run_stage, tmp_path):
    split = {"method": "order", "train": 4, "val": 2, "test": 2}
    params = {
        "dataset": "t",
        "datasets": {"t": {"source": "x", "split": split}},
        "bands": ["B08"],
        "train": {"epochs": 1},
    }
    run_stage("preprocess", "data/patches", "tensors", "data.json", params=params)
    for name in "ab":
        done = run_stage("train", "tensors", f"{name}.safetensors", "history.csv", params=params)
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    _, metadata = tensors.load(tmp_path / "a.safetensors")
    assert metadata["bands"] == ["B08"]
    assert metadata["classes"][0] == "tree_cover"
    assert metadata["scale"]["divisor"] == 10_000
    assert metadata["architecture"]["convolutions"] == [8, 16]

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import Dataset, architecture, write_tile

from benchmarks import notebook
from landcover.config import Training
from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import Architecture, build
from landcover.models.weights import load as load_network
from landcover.training.calibration import fit_temperature
from landcover.training.distributed import ALONE, Group
from landcover.training.inputs import make_network
from landcover.training.loader import Patches, load
from landcover.training.loop import Epoch, Run, balanced_weights, draw_batches, make_schedule, refuse_misfits
from landcover.training.prediction import predict

TRAIN = ("train", "tensors", "shares", "w.safetensors", "m.safetensors", "l.safetensors", "h.csv")
KILLED = ("killed.safetensors", "killed.l.safetensors", "killed.csv")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
CHANNELS = ("B02", "B03", "B04", "B08")
ALL_CHANNELS = ("B02", "B08", "VV", "VH", "elevation")
CONTEXT = ("climate_zone_8", "climate_zone_9", "season")


def settings(default_params: dict, **changes) -> Training:
    return Training.model_validate(default_params["train"] | changes)


def network(channels=CHANNELS, context=(), **changes) -> Model:
    torch.manual_seed(42)
    return build(architecture(**changes), Inputs(channels, tuple("abcdefghijk"), 120, context))


def fit(*run) -> Iterator[Epoch]:
    with tempfile.TemporaryDirectory() as folder:
        yield from Run(*run).epochs(Path(folder) / "checkpoint.safetensors")


@pytest.fixture
def six_patches() -> Patches:
    generator = torch.Generator().manual_seed(0)
    return Patches(torch.rand(6, 4, 120, 120, generator=generator), torch.tensor([0, 1, 2, 0, 3, 10]))


@pytest.fixture
def fused(tmp_path) -> dict:
    """Write tensors of images and context, and give parameters for them.

    Of 21 patches in batches of 4 the last is alone, and of 7 val patches one of two processes has one more.
    """
    rng = np.random.default_rng(0)
    facts = {"bands": ALL_CHANNELS, "classes": list("abcdefghijk"), "scale": {"divisor": 10_000}, "context": CONTEXT}
    (tmp_path / "tensors").mkdir()
    tensors.save_origin(tmp_path / "tensors", tensors.Origin("tiny", synthetic=True))
    tensors.save(tmp_path / "w.safetensors", {}, {})  # no weights to start from
    for split, count in (("train", 21), ("val", 7), ("test", 8)):
        for number, size in enumerate((count - 3, 3)):
            arrays = {
                "images": rng.uniform(0.01, 1, (size, len(ALL_CHANNELS), 120, 120)).astype(np.float32),
                "labels": rng.integers(0, 11, size),
                "context": rng.uniform(0, 1, (size, len(CONTEXT))).astype(np.float32),
            }
            tensors.save(tmp_path / "tensors" / tensors.shard_name(split, number), arrays, facts)
    train = {
        "epochs": 2, "batch_size": 4, "learning_rate": 0.001, "shuffle": True, "flips": True, "quarter_turns": True,
        "class_weights": "balanced", "label_smoothing": 0.1, "modality_dropout": 0.3, "brightness": 0.1,
    }  # fmt: skip
    return {"train": train, "model": architecture(standardize="moments", fusion="late").model_dump()}


def test_history_equals_that_of_the_notebooks_loop(in_turn, tmp_path):
    """On the same files, epoch by epoch; the labels stand in the meta table's order, as the notebook expects."""
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 2, 3, 7], 30).tolist()
    data = Dataset(tmp_path / "patches" / "small", labels, CHANNELS)
    for patch_id, label in zip(data.ids, labels, strict=True):
        for band in data.bands:
            pixels = rng.gamma(4, 100 * (1 + label), (120, 120)).astype(np.uint16) + 1
            write_tile(data.tile(patch_id, band), pixels)
    split = {"method": "order", "train": 12, "val": 17, "test": 1}
    params = {"dataset": "small", "datasets": {"small": {"source": "x", "split": split}}, "train": {"epochs": 10}}
    done = in_turn(
        "stages preprocess patches tensors shares data.json",
        "stages pretrained w.safetensors",
        "stages train tensors shares w.safetensors model.safetensors log.safetensors history.csv",
        params=params,
    )
    assert done.returncode == 0, done.stderr

    rows = {"train": slice(0, 12), "val": slice(12, 29)}
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
    last = list(fit(network(), six_patches, six_patches, hard))[-1]
    assert last.train_loss < 0.05
    assert last.val_accuracy == 1


def test_losses_are_means_over_batches_and_accuracies_over_patches(six_patches, default_params):
    """Without learning, as the weights of one class alone are not 0: its logit is 1, and the others' are 0."""
    constant = network()
    with torch.no_grad():
        for weights in constant.parameters():
            weights.zero_()
        constant.head.bias[0] = 1
    still = settings(default_params, optimizer="sgd", learning_rate=1e-9, batch_size=4, eval_batch_size=5)
    epoch = Run(constant, six_patches, six_patches, still)
    right, wrong = math.log(math.e + 10) - 1, math.log(math.e + 10)
    first = next(epoch.epochs(Path(tempfile.mkdtemp()) / "checkpoint"))
    assert first.train_loss == pytest.approx(((2 * right + 2 * wrong) / 4 + wrong) / 2, abs=1e-6)
    assert first.val_loss == pytest.approx(((2 * right + 3 * wrong) / 5 + wrong) / 2, abs=1e-6)
    assert first.train_accuracy == first.val_accuracy == pytest.approx(2 / 6)


def test_a_network_learns_the_shares_of_the_classes(six_patches, default_params):
    shares = torch.tensor([[0.6, 0.4], [0.3, 0.7]] * 3)
    mixed = six_patches._replace(labels=shares.argmax(1), shares=shares)
    torch.manual_seed(42)
    learner = build(architecture(), Inputs(CHANNELS, ("a", "b"), 120))
    hard = settings(default_params, target="shares", epochs=60, learning_rate=0.003)
    last = list(fit(learner, mixed, mixed, hard))[-1]
    entropy = float(-(shares * shares.log()).sum(1).mean())  # the least that a cross-entropy to them can be
    assert entropy - 1e-6 < last.val_loss < entropy + 0.01
    assert np.exp(predict(learner, mixed, 6)) == pytest.approx(shares.numpy(), abs=0.1)


def rows_of(seed: int, chosen: Training) -> list[list[int]]:
    every = torch.arange(6)
    return [every[rows].tolist() for _, rows in draw_batches(6, chosen, torch.Generator().manual_seed(seed))]


def test_unshuffled_batches_are_in_order_and_the_last_is_smaller(six_patches, default_params):
    four = settings(default_params, batch_size=4)
    assert rows_of(0, four) == [[0, 1, 2, 3], [4, 5]]
    batches = list(six_patches.batches(rows for _, rows in draw_batches(6, four, torch.Generator())))
    assert [batch.labels.tolist() for batch in batches] == [[0, 1, 2, 0], [3, 10]]
    assert torch.equal(torch.cat([batch.images for batch in batches]), six_patches.images)


def test_shuffled_batches_hold_each_patch_once_with_its_own_label(six_patches, default_params):
    four = settings(default_params, batch_size=4, shuffle=True)
    (first, last), (other, _) = rows_of(0, four), rows_of(1, four)
    assert sorted(first + last) == list(range(6))
    assert first != [0, 1, 2, 3]
    assert first != other
    (batch,) = six_patches.batches([torch.tensor([5, 0, 3])])
    assert torch.equal(batch.images, six_patches.images[[5, 0, 3]])
    assert batch.labels.tolist() == [10, 0, 0]


def test_balanced_weights_by_hand():
    weights = balanced_weights(torch.tensor([0, 0, 0, 2]), 4)
    assert weights.tolist() == pytest.approx([4 / (2 * 3), 0, 4 / (2 * 1), 0])


def rates(default_params: dict, steps: int, **changes) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = make_schedule(optimizer, settings(default_params, learning_rate=0.5, **changes), steps)
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return values


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
    values = rates(default_params, steps, schedule=schedule)
    assert values[0] == 0.5 or schedule == "one_cycle"
    assert all(0 < rate <= 0.5 for rate in values)


def overfit(default_params, six_patches, **changes) -> tuple[Model, list[Epoch]]:
    """A run whose validation loss goes up in the end: the val labels are wrong."""
    wrong = Patches(six_patches.images, six_patches.labels.roll(1))
    chosen = settings(default_params, epochs=30, learning_rate=0.003, **changes)
    trained = network()
    return trained, list(fit(trained, six_patches, wrong, chosen))


def test_the_best_epoch_is_kept_if_asked_for(six_patches, default_params):
    kept, history = overfit(default_params, six_patches, keep="best")
    losses = [epoch.val_loss for epoch in history]
    best = losses.index(min(losses))
    assert best < 29
    stopped = network()
    list(fit(stopped, six_patches, six_patches, settings(default_params, epochs=best + 1, learning_rate=0.003)))
    pairs = zip(kept.state_dict().values(), stopped.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_patience_stops_early(six_patches, default_params):
    _, history = overfit(default_params, six_patches, patience=3)
    losses = [epoch.val_loss for epoch in history]
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 4


def test_a_loss_that_is_no_number_stops_training_with_its_epoch(six_patches, default_params):
    broken = Patches(six_patches.images.clone(), six_patches.labels)
    broken.images[5] = math.nan
    with pytest.raises(InputError, match=r"the loss is nan in epoch 1; lower train.learning_rate"):
        list(fit(network(), broken, six_patches, settings(default_params, batch_size=2)))
    with pytest.raises(InputError, match=r"the loss is nan of the val split after epoch 1; lower train.learning_rate"):
        list(fit(network(), six_patches, broken, settings(default_params)))
    with pytest.raises(InputError, match=r"the loss is .* in epoch \d+; lower train.learning_rate = 1e\+06"):
        list(fit(network(), six_patches, six_patches, settings(default_params, batch_size=2, learning_rate=1e6)))


def test_a_patch_left_over_joins_the_batch_before_it_where_batch_norm_needs_more_than_one(default_params, six_patches):
    five = settings(default_params, batch_size=5)
    assert [rows for _, rows in draw_batches(11, five, torch.Generator(), 2)] == [slice(0, 5), slice(5, 11)]
    assert [rows.stop for _, rows in draw_batches(11, five, torch.Generator())] == [5, 10, 11]
    run = network(normalization="batch"), six_patches, six_patches, settings(default_params, batch_size=5, epochs=1)
    assert len(list(fit(*run))) == 1


def test_settings_that_do_not_fit_are_refused_with_the_reason(default_params):
    normalized = network(normalization="batch")
    with pytest.raises(InputError, match="a batch of one patch is too small for the model's batch norm"):
        refuse_misfits(normalized, 6, 6, settings(default_params, batch_size=1), ALONE)
    three = Group(rank=0, size=3)
    with pytest.raises(InputError, match=r"3 processes share train.batch_size = 2, 6 train and 6 val patches"):
        refuse_misfits(network(), 6, 6, settings(default_params, batch_size=2), three)
    with pytest.raises(InputError, match=r"model: batch norm in each of 3 processes would normalize by its own"):
        refuse_misfits(normalized, 6, 6, settings(default_params), three)


# -- going on after a crash


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shuffle": True, "flips": True, "quarter_turns": True, "schedule": "one_cycle", "keep": "best"},
        {"optimizer": "sgd", "schedule": "cosine", "patience": 5, "label_smoothing": 0.1},
        {"optimizer": "adamw", "class_weights": "balanced", "precision": "bfloat16", "weight_decay": 0.1},
        {"modality_dropout": 0.4, "shuffle": True},
        {"brightness": 0.2, "mixup": 0.4, "cutmix": 1, "shuffle": True},
    ],
    ids=str,
)
def test_a_stopped_run_resumes_to_the_same_bytes(six_patches, default_params, tmp_path, changes):
    chosen = settings(default_params, epochs=6, learning_rate=0.003, batch_size=4, **changes)
    train = six_patches._replace(context=torch.rand(6, 3, generator=torch.Generator().manual_seed(0)))
    wrong = train._replace(labels=train.labels.roll(1))

    def run() -> Run:
        late = {"fusion": "late", "dropout": 0.3, "normalization": "batch"}
        fresh = network(("B02", "B08", "VV", "VH"), CONTEXT, **late)
        return Run(fresh.to(memory_format=torch.channels_last), train, wrong, chosen)

    whole = run()
    assert all(np.isfinite(list(whole.epochs(tmp_path / "whole"))[-1]))
    for epoch in (1, 3, 6):
        stopped, resumed = run(), run()
        for _ in zip(range(epoch), stopped.epochs(tmp_path / str(epoch)), strict=False):
            pass
        assert list(resumed.epochs(tmp_path / str(epoch))) == whole.history
        for name, value in whole.network.state_dict().items():
            assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_unwatched_training_gives_the_same_weights_and_validates_once(six_patches, default_params, tmp_path):
    chosen = settings(default_params, epochs=3)
    watched, unwatched = (Run(network(), six_patches, six_patches, chosen, watch=watch) for watch in (True, False))
    for run in (watched, unwatched):
        list(run.epochs(tmp_path / f"{run.watch}"))
    assert unwatched.history[-1] == watched.history[-1]
    assert [math.isnan(epoch.val_loss) for epoch in unwatched.history] == [True, True, False]
    for name, value in watched.network.state_dict().items():
        assert torch.equal(value, unwatched.network.state_dict()[name]), name
    best = settings(default_params, epochs=3, keep="best")
    assert Run(network(), six_patches, six_patches, best, watch=False).watch  # the choice of weights needs it


def test_a_torn_checkpoint_is_not_resumed_from(six_patches, default_params, tmp_path, capsys):
    (tmp_path / "torn").write_bytes(b"\0" * 100)
    chosen = settings(default_params, epochs=1)
    assert len(list(Run(network(), six_patches, six_patches, chosen).epochs(tmp_path / "torn"))) == 1
    assert "training from the start: " in capsys.readouterr().err


# -- several processes, more patches than memory holds


def trained(params: dict, default_params: dict, folder: Path, gigabytes: float) -> Run:
    splits = [tensors.load_split(folder / "tensors", name, gigabytes=0) for name in ("train", "val")]
    model = Architecture.model_validate(params["model"])
    fresh = make_network(splits[0], model, default_params["train"]["seed"], torch.device("cpu"))
    patches = [load(split, torch.device("cpu"), gigabytes) for split in splits]
    run = Run(fresh, *patches, settings(default_params, **params["train"]))
    list(run.epochs(folder / f"{gigabytes}.safetensors"))
    return run


def test_streamed_patches_train_to_the_same_bytes(fused, default_params, tmp_path):
    resident, streamed = (trained(fused, default_params, tmp_path, gigabytes) for gigabytes in (4, 0))
    assert isinstance(resident.train.images, torch.Tensor)
    assert isinstance(streamed.train.images, tensors.Shards)
    assert streamed.history == resident.history
    for name, value in resident.network.state_dict().items():
        assert torch.equal(value, streamed.network.state_dict()[name]), name


def test_two_processes_learn_as_one_does(fused, run_stage, default_params, tmp_path):
    fused["train"] |= {"freeze": 1}  # of two epochs, so layers begin to learn in between
    done = run_stage(*TRAIN, params=fused, launcher=TORCHRUN)
    assert done.returncode == 0, done.stderr
    alone = trained(fused, default_params, tmp_path, 4)
    history = pd.read_csv(tmp_path / TRAIN[-1]).to_numpy()
    assert history == pytest.approx(np.array(alone.history), abs=2e-5)
    together, _ = load_network(tmp_path / TRAIN[4])
    for name, value in alone.network.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], value, atol=1e-4, rtol=0)


def test_the_model_file_states_how_it_was_made_and_predicts_as_train_did(fused, run_stage, tmp_path):
    done = run_stage(*TRAIN, params=fused)
    assert (done.returncode, done.stderr) == (0, "")
    saved, metadata = load_network(tmp_path / "m.safetensors")
    assert metadata.inputs == Inputs(ALL_CHANNELS, tuple("abcdefghijk"), 120, CONTEXT)
    assert (metadata.modality_dropout, metadata.epochs, metadata.device) == (0.3, 2, "cpu")
    assert metadata.architecture == architecture(standardize="moments", fusion="late")
    assert (metadata.dataset, metadata.synthetic, metadata.scale) == ("tiny", True, {"divisor": 10_000})
    train, val, test = (tensors.load_split(tmp_path / "tensors", name) for name in ("train", "val", "test"))
    means = train.images.mean((2, 3), dtype=float)
    assert metadata.patch_means["B08"] == pytest.approx([means[:, 1].min(), means[:, 1].max()])

    predicted, facts = tensors.load(tmp_path / "l.safetensors")
    given = ("bands", "context", "classes", "scale", "temperature", "parameters", "epochs", "device")
    assert facts == {name: metadata.to_json()[name] for name in given}
    assert facts["temperature"] == fit_temperature(val.labels, predicted["val"])
    modalities = ("sentinel-2", "sentinel-1", "elevation", "climate_zone", "season")
    permuted = {f"without/{name}": (10, 8, 11) for name in modalities}
    assert {name: values.shape for name, values in predicted.items()} == permuted | {
        "train": (21, 11), "val": (7, 11), "test": (8, 11),
    }  # fmt: skip
    assert predicted["test"] == pytest.approx(predict(saved, load(test, torch.device("cpu")), 16), abs=1e-5)
    assert np.exp(predicted["test"]).sum(1) == pytest.approx(1, abs=1e-12)
    assert not list((tmp_path / ".partial").iterdir())


def test_shares_go_from_the_tables_to_the_models_file(prepared, run_stage, tmp_path):
    """Of patches of a single class each, as here: the same losses as with labels, and another target in the file."""
    params = prepared(12, 4, 8)
    tensors.save(tmp_path / "w.safetensors", {}, {})  # no weights to start from
    histories = []
    for target in ("majority", "shares"):
        params["train"] = {"epochs": 2, "batch_size": 4, "target": target}
        done = run_stage(*TRAIN, params=params)
        assert (done.returncode, done.stderr) == (0, "")
        histories.append(pd.read_csv(tmp_path / "h.csv"))
        _, metadata = load_network(tmp_path / "m.safetensors")
        assert metadata.target == target
    pd.testing.assert_frame_equal(*histories, rtol=1e-4)
    assert list(metadata.share_bias) == list(metadata.inputs.classes)
    assert sum(metadata.share_bias.values()) == pytest.approx(0, abs=1e-6)

    tensors.save(tmp_path / "shares", {}, {})
    done = run_stage(*TRAIN, params=params)
    assert (done.returncode, done.stderr) == (
        1,
        "error: train.target = 'shares': small states one class for each patch, and no shares; choose majority, or "
        "give a table with a column for each class\n",
    )

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import architecture

from landcover.config import Training
from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.metadata import Inputs, Metadata
from landcover.models.model import Model
from landcover.models.registry import build
from landcover.models.weights import save
from landcover.training.initialization import Pretrained, estimate_batch_norm, initialize, match_bands
from landcover.training.loader import Patches
from landcover.training.loop import Run
from stages.pretrained import pretrained

CHANNELS = ("B02", "B03", "B04", "B08")
RGB = ("B04", "B03", "B02")
LESSON = {  # what another program calls the layers of the notebook's network, for ten classes
    "conv1.weight": (8, 4, 5, 5), "conv1.bias": (8,), "conv2.weight": (16, 8, 5, 5), "conv2.bias": (16,),
    "linear1.weight": (100, 576), "linear1.bias": (100,), "linear2.weight": (10, 100), "linear2.bias": (10,),
}  # fmt: skip
MEAN, STD = [0.1, 0.2, 0.3, 0.4], [0.01, 0.02, 0.03, 0.04]


def settings(default_params, **changes) -> Training:
    return Training.model_validate(default_params["train"] | changes)


def network(chosen=None, channels=CHANNELS, classes="abc", size=120) -> Model:
    torch.manual_seed(0)
    model, moments = chosen or architecture(), (torch.full((len(channels),), 0.5), torch.full((len(channels),), 0.1))
    return build(model, Inputs(tuple(channels), tuple(classes), size), *moments)


def state_dict(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(shape, generator=generator) / 100 for name, shape in shapes.items()}


def written(path: Path, default_params, weights: dict[str, torch.Tensor] | None = None, **changes) -> Pretrained:
    """As the stage pretrained writes a .pth of these weights, or the file that `init` names."""
    source = changes.pop("init", path.with_suffix(".pth"))
    if weights:
        torch.save(weights, source)
    pretrained(path, train=settings(default_params, init=str(source)))
    return Pretrained.load(path)


@pytest.fixture
def lesson(tmp_path, default_params) -> tuple[dict[str, torch.Tensor], Pretrained]:
    weights = state_dict(LESSON)
    return weights, written(tmp_path / "w", default_params, weights)


def start(model: Model, chosen, given: Pretrained, default_params, **changes) -> dict:
    return initialize(model, chosen, given, settings(default_params, **changes), None)


def rows(facts: dict) -> dict[str, str]:
    return {row["weights"]: row["layers"] for row in facts["rows"]}


def test_layers_of_other_names_are_taken_by_order_to_the_bit_but_for_the_head(lesson, default_params):
    weights, given = lesson
    model, fresh = network(), network()
    facts = start(model, architecture(), given, default_params)
    own = model.state_dict()
    for mine, its in (("features.0", "conv1"), ("features.3", "conv2"), ("classifier.1", "linear1")):
        for part in ("weight", "bias"):
            assert torch.equal(own[f"{mine}.{part}"], weights[f"{its}.{part}"])
    assert torch.equal(model.head.weight, fresh.head.weight)
    assert rows(facts) == {"taken as it is": "features, classifier.1", "new": "classifier.3", "left out": "linear2"}
    assert [row["numbers"] for row in facts["rows"]] == [808 + 3216 + 57_700, 303, 1010]
    assert facts["file"] == "w.pth"
    assert "the file does not name its bands; they were taken for the model's: B02, B03, B04, B08" in facts["notes"]


def test_on_smaller_patches_only_the_convolutions_fit(lesson, default_params):
    weights, given = lesson
    model = network(channels=RGB, size=64)
    facts = start(model, architecture(), given, default_params, init_bands=[*CHANNELS])
    assert rows(facts) == {
        "taken as it is": "features.3",
        "taken, matched by band": "features.0",
        "new": "classifier",
        "left out": "linear1, linear2",
    }
    assert "classifier.1 is new: it has 144 inputs, and linear1 576" in facts["notes"]
    first = model.features[0].weight
    # B08 is no input: its filters are spread over the other three.
    expected = weights["conv1.weight"][:, [2, 1, 0]] + weights["conv1.weight"][:, 3:] / 3
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(first.sum(1), weights["conv1.weight"].sum(1))


def test_bands_are_matched_by_name_and_the_sum_of_their_filters_stays():
    filters = np.array([[1, 2, 4]], np.float32)[..., None, None]  # of B02, B03, B08

    def matched(*channels: str, zero: bool = False) -> list[float]:
        return match_bands(filters, ["B02", "B03", "B08"], channels, zero=zero).ravel().tolist()

    assert matched("B08", "B02", "B03") == [4, 1, 2]
    assert matched("B08", "B02") == [5, 2]  # half of B03's for each
    assert matched("B08", "B02", zero=True) == [5, 2]
    # A fourth band has the mean of the three, and all are three quarters of what they were.
    assert matched("B02", "B03", "B04", "B08") == pytest.approx([0.75, 1.5, 7 / 3 * 0.75, 3])
    assert matched("B02", "B03", "B04", "B08", zero=True) == [1, 2, 0, 4]
    # Both: B08's filter is spread over two bands, 3 and 4; a third one has their mean, and all are two thirds.
    assert matched("B02", "B03", "B04") == pytest.approx([2, 8 / 3, 7 / 3])
    assert sum(matched("B02", "B03", "B04")) == pytest.approx(7)


def test_a_model_of_this_pipeline_gives_its_bands_scaling_and_if_the_classes_are_the_same_its_head(
    tmp_path, default_params
):
    chosen = architecture(standardize="moments")
    before = network(chosen, classes="xy")
    before.center[:], before.spread[:] = (torch.tensor(values).view(1, 4, 1, 1) for values in (MEAN, STD))
    facts = {"dataset": "here", "scale": {}, "level": "1C"}
    save(tmp_path / "m", before, Metadata(architecture=chosen, inputs=before.inputs, parameters=1, **facts))
    given = written(tmp_path / "w", default_params, init=tmp_path / "m")

    same, other = network(chosen, classes="xy"), network(chosen, ["B05", "B04", "B02"])
    told = start(same, chosen, given, default_params)
    assert all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), before.state_dict().values(), strict=True))
    assert rows(told) == {"taken as it is": "features, classifier"}
    assert told["notes"] == ["trained on here, of Level 1C"]

    told = start(other, chosen, given, default_params)
    assert other.center.flatten().tolist() == pytest.approx([0.5, 0.3, 0.1])  # of B05, the train split's
    assert other.spread.flatten().tolist() == pytest.approx([0.1, 0.03, 0.01])
    assert rows(told)["new"] == "classifier.3"
    assert torch.equal(other.features[3].weight, before.features[3].weight)

    plain = architecture()
    with pytest.raises(InputError, match=r"scaled by model\.standardize = moments, not none; set it so"):
        start(network(plain, classes="xy"), plain, given, default_params)
    larger = network(chosen, classes="xy", size=140)
    assert start(larger, chosen, given, default_params)["notes"][-1] == (
        "trained on 120 x 120 pixels, now 140 x 140; model.resize: 120 would resize the patches"
    )


def test_the_scaling_of_published_weights_is_applied(lesson, default_params):
    chosen = architecture(standardize="moments")
    model = network(chosen, [*RGB, "B05"])
    scaling = {"init_bands": [*CHANNELS], "init_mean": MEAN, "init_std": STD}
    assert "by train.init_mean" in start(model, chosen, lesson[1], default_params, **scaling)["notes"][-1]
    assert model.center.flatten().tolist() == pytest.approx([0.3, 0.2, 0.1, 0.5])
    assert model.spread.flatten().tolist() == pytest.approx([0.03, 0.02, 0.01, 0.1])


@pytest.mark.parametrize(
    ("chosen", "channels", "changes", "message"),
    [
        (architecture(), RGB, {}, r"has 4 input channels, and the model 3 \(B04, B03, B02\); name the bands of the"),
        (architecture(), RGB, {"init_bands": ["B02"]}, "has 4 input channels, and train.init_bands lists 1 bands"),
        (architecture(), ["VV", "VH"], {"init_bands": [*CHANNELS]}, "is of B02, B03, B04, B08, none of which is an"),
        (architecture(convolutions=[8, 32]), CHANNELS, {}, "conv2.weight has the shape 16 x 8 x 5 x 5, the model's f"),
        (architecture("resnet"), CHANNELS, {}, "has 8 tensors, none named as one of the 60 of the model"),
        (architecture("standard_resnet"), CHANNELS, {}, "conv1.weight has the shape 8 x 4 x 5 x 5, the model's conv1"),
        (architecture(fusion="late"), ["B02", "VV"], {"init_bands": [*CHANNELS]}, "conv1.weight has the shape"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(lesson, default_params, chosen, channels, changes, message):
    with pytest.raises(InputError, match=f"^train.init: w.pth: {message}") as error:
        start(network(chosen, channels), chosen, lesson[1], default_params, **changes)
    assert "\n" not in str(error.value)


def test_names_of_torchvision_are_matched_and_the_other_depth_is_another_network(tmp_path, default_params):
    eighteen, fifty = (architecture("standard_resnet", depth=depth) for depth in (18, 50))
    published = {name: value + 1 for name, value in network(eighteen, RGB, size=32).state_dict().items()}
    published = {f"module.encoder_q.{name}": value for name, value in published.items() if "fc." not in name}
    published |= {"module.encoder_q.fc.0.weight": torch.ones(128, 512), "module.queue": torch.ones(128, 9)}
    given = written(tmp_path / "w", default_params, {"state_dict": published})
    model = network(eighteen, RGB, size=32)
    told = start(model, eighteen, given, default_params)
    assert rows(told) == {
        "taken as it is": "conv1, bn1, layer1, layer2, layer3, layer4",
        "new": "fc",
        "left out": "fc, module",
    }
    assert "taken off the file's names: state_dict: module.encoder_q." in told["notes"]
    for name, value in model.state_dict().items():
        assert name.startswith("fc.") or torch.equal(value, published[f"module.encoder_q.{name}"]), name
    with pytest.raises(InputError, match=r"layer1\.0\.conv1\.weight has the shape 64 x 64 x 3 x 3, the model's"):
        start(network(fifty, RGB, size=32), fifty, given, default_params)


@pytest.fixture
def patches() -> Patches:
    generator = torch.Generator().manual_seed(0)
    return Patches(torch.rand(6, 4, 32, 32, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2]))


def test_the_statistics_of_batch_norm_are_estimated_over_the_train_split(patches, default_params):
    chosen = architecture(
        convolutions=[2], kernel=1, stride=1, pool=1, normalization="batch", global_pooling=True, linear=[]
    )
    model = network(chosen, size=32)
    norm = model.features[1]
    estimate_batch_norm(model, patches, settings(default_params, batch_size=4))
    seen = model.features[0](patches.images)  # the network's own norm is behind its first convolution
    batches = seen[:4], seen[4:]
    torch.testing.assert_close(norm.running_mean, sum(batch.mean((0, 2, 3)) for batch in batches) / 2)
    torch.testing.assert_close(norm.running_var, sum(batch.transpose(0, 1).flatten(1).var(1) for batch in batches) / 2)
    assert norm.momentum == 0.1


def fit(model: Model, patches: Patches, train: Training, epochs: int | None = None, path: Path | None = None) -> Run:
    run = Run(model, patches, patches, train)
    with tempfile.TemporaryDirectory() as folder:
        for _ in zip(range(epochs or train.epochs), run.epochs(path or Path(folder) / "c"), strict=False):
            pass
    return run


NORMED = architecture(convolutions=[4], kernel=3, normalization="batch", global_pooling=True, linear=[5], dropout=0.5)


def test_after_a_linear_probe_the_backbone_is_the_files_to_the_bit_and_the_head_has_learnt(patches, default_params):
    model, before = network(NORMED, size=32), network(NORMED, size=32)
    options = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "weight_decay": 0.1, "optimizer": "adamw"}
    fit(model, patches, settings(default_params, freeze="all", **options))
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value) == (not name.startswith("classifier.4")), name


def test_a_frozen_backbone_learns_after_its_epochs_at_its_own_rate(patches, default_params):
    options = {"batch_size": 6, "optimizer": "sgd", "learning_rate": 0.1, "backbone_learning_rate": 1e-20}
    frozen = settings(default_params, epochs=3, freeze=2, **options)
    model, before = network(NORMED, size=32), network(NORMED, size=32)
    fit(model, patches, frozen, epochs=2)
    assert torch.equal(model.features[1].running_mean, before.features[1].running_mean)
    run = fit(model, patches, settings(default_params, epochs=1, **options))
    assert [group["lr"] for group in run.optimizer.param_groups] == [0.1, 1e-20]
    assert not torch.equal(model.features[1].running_mean, before.features[1].running_mean)
    assert torch.equal(model.features[0].weight, before.features[0].weight)  # the step is below a float's resolution
    assert not torch.equal(model.head.weight, before.head.weight)


@pytest.mark.parametrize(
    "changes", [{"freeze": 2}, {"freeze": 2, "backbone_learning_rate": 1e-3, "schedule": "one_cycle"}]
)
def test_a_stopped_run_with_frozen_epochs_resumes_to_the_same_bytes(patches, default_params, tmp_path, changes):
    train = settings(default_params, epochs=4, batch_size=4, learning_rate=0.01, shuffle=True, **changes)
    whole = fit(network(NORMED, size=32), patches, train)
    for epochs in (1, 2, 3):
        path = tmp_path / str(epochs)
        fit(network(NORMED, size=32), patches, train, epochs, path)
        resumed = fit(network(NORMED, size=32), patches, train, path=path)
        assert resumed.history == whole.history
        for name, value in whole.network.state_dict().items():
            assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_training_states_where_it_started(prepared, in_turn, tmp_path):
    params = prepared(12, 4, 8)
    shapes = LESSON | {"conv1.weight": (8, 2, 5, 5)}
    torch.save(state_dict(shapes), tmp_path / "mine.pth")
    params |= {"train": {"epochs": 1, "init": "mine.pth", "freeze": "all"}, "repeat": {"seeds": [1, 2]}}
    done = in_turn(
        "stages pretrained w",
        "stages folds tensors f.csv",
        "stages baseline tensors shares f.csv b.json b.csv fb.csv",
        "stages train tensors shares w m l h.csv",
        "stages repeat tensors shares w f.csv s e",
        "stages evaluate tensors shares f.csv l s h.csv b.csv fb.csv r",
        "stages report tensors m data.json b.json h.csv r/metrics.json r/seeds.json r/predictions.csv r/per_class.csv "
        "r.md card.md m.stac.json",
        params=params | {"evaluate": {"resamples": 100}},
    )
    assert (done.returncode, done.stderr) == (0, "")
    arrays, facts = tensors.load(tmp_path / "m")
    assert np.array_equal(arrays["features.0.weight"], state_dict(shapes)["conv1.weight"].numpy())
    digest = facts["initialization"]["sha256"]
    assert f"train.init: weights of mine.pth (sha256 {digest})" in done.stdout
    ensemble, stated = tensors.load(tmp_path / "e")
    assert stated["initialization"] == facts["initialization"]
    assert np.array_equal(ensemble["2/features.0.weight"], arrays["features.0.weight"])
    page = (tmp_path / "r.md").read_text()
    assert f"Training started from the weights of `mine.pth` (SHA-256 `{digest}`)" in page
    assert "features, classifier.1" in page
    assert "Only the last layer learnt; all others are frozen." in page
    assert f"`mine.pth` (SHA-256 `{digest}`)" in (tmp_path / "card.md").read_text()

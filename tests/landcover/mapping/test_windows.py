import numpy as np
import pytest
import torch
from tiny import ArrayScene

from landcover.config import Architecture
from landcover.constants import BANDS
from landcover.errors import InputError
from landcover.mapping import windows
from landcover.mapping.windows import Windows
from landcover.models.cnn import Network

NOTEBOOK = {
    "convolutions": [4, 6], "kernel": 5, "stride": 2, "padding": "valid", "pool": 2, "residual": False,
    "normalization": "none", "global_pooling": False, "linear": [7], "dropout": 0.1, "standardize": "none",
}  # fmt: skip
ARCHITECTURES = {
    "the notebook's": {},
    "no pooling": {"pool": 1},
    "stride 1": {"stride": 1, "kernel": 3},
    "other strides": {"stride": 3, "pool": 1, "kernel": 4},
    "one pixel": {"kernel": 1, "linear": []},
    "global pooling": {"global_pooling": True, "linear": [], "stride": 1},
    "batch norm": {"normalization": "batch", "standardize": "quantiles"},
    "group norm": {"normalization": "group", "standardize": "moments"},
    "padding": {"padding": "same"},
    "residual": {"padding": "same", "residual": True, "normalization": "batch", "global_pooling": True},
}


def blank(height: int, width: int) -> ArrayScene:
    return ArrayScene(np.broadcast_to(np.float32(0), (1, height, width)), ["B02"])


def make_network(bands: int, patch_size: int, **changes) -> Network:
    torch.manual_seed(0)
    spread = {"center": np.full(bands, 0.4, np.float32), "spread": np.full(bands, 0.3, np.float32)}
    network = Network(Architecture(**NOTEBOOK | changes), [*BANDS][:bands], 3, **spread, patch_size=patch_size)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # as if it were trained
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return network.eval()


@torch.inference_mode()
def one_by_one(network: Network, pixels: torch.Tensor, at: Windows) -> torch.Tensor:
    cut = [
        pixels[:, i * at.step :, j * at.step :][:, : at.size, : at.size]
        for i in range(at.rows)
        for j in range(at.columns)
    ]
    return network(torch.stack(cut)).reshape(at.rows, at.columns, -1)


@pytest.mark.parametrize("step", [1, 5, 12, 24, 40])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shared_or_not_a_window_is_what_the_network_makes_of_it_alone(name, step, monkeypatch):
    monkeypatch.setattr(windows, "FLOATS", 6 * 60 * 60)  # so that windows come in several parts
    network = make_network(3, 40, **ARCHITECTURES[name])
    pixels = torch.rand(3, 59, 71)
    at = Windows.over(blank(59, 71), 40, step)
    if step == 1:
        at = at._replace(rows=2)
    torch.testing.assert_close(windows.logits(network, pixels, at), one_by_one(network, pixels, at), rtol=0, atol=1e-5)


def test_overlapping_windows_share_their_convolutions(monkeypatch):
    """Of the notebook's layers, the first is computed once for 4 windows of 40 pixels at a step of 12.

    Its 24 x 24 outputs are pooled to 12 x 12, in which a window begins every 3 pixels. The second layer's stride of 2
    does not divide that, so that each window is a group of its own.
    """
    seen = []
    forward = torch.nn.Conv2d.forward
    monkeypatch.setattr(
        torch.nn.Conv2d, "forward", lambda layer, x: seen.append(tuple(x.shape[1:])) or forward(layer, x)
    )
    windows.logits(make_network(3, 40), torch.rand(3, 52, 52), Windows(40, 12, 2, 2))
    first, *others = seen
    assert first == (3, 52, 52)
    assert [shape for shape in others if shape[0] == 4] == [(4, 12, 12), (4, 12, 9), (4, 9, 12), (4, 9, 9)]


def test_windows_that_do_not_overlap_share_the_first_layer_and_its_pooling(monkeypatch):
    """The first layer's 38 x 38 outputs are pooled to 19 x 19, of which each of the 2 windows in a row has 9 x 9."""
    seen = []
    for layer in (torch.nn.Conv2d, torch.nn.MaxPool2d):
        monkeypatch.setattr(
            layer, "forward", lambda layer, x, run=layer.forward: seen.append(tuple(x.shape)) or run(layer, x)
        )
    windows.logits(make_network(3, 40), torch.rand(3, 80, 80), Windows(40, 40, 2, 2))
    assert seen[:3] == [(1, 3, 80, 80), (1, 4, 38, 38), (2, 4, 9, 9)]


def test_memory_for_64_pixels_across_is_enough_for_three_overlapping_windows(monkeypatch):
    monkeypatch.setattr(windows, "FLOATS", 6 * 52 * 64)  # the widest layer has 6 channels, 2 rows of windows 52 pixels
    parts = list(windows.side_by_side(make_network(3, 40), Windows(40, 12, 2, 5)))
    assert parts == [(slice(0, 3), slice(0, 64)), (slice(3, 5), slice(36, 88))]


def test_windows_are_counted_as_long_as_they_lie_in_the_scene():
    assert Windows.over(blank(250, 359), 120, 120) == (120, 120, 2, 2)
    assert Windows.over(blank(251, 360), 120, 10) == (120, 10, 14, 25)
    assert Windows.over(blank(120, 120), 120, 1) == (120, 1, 1, 1)


@pytest.mark.parametrize(
    ("height", "width", "step", "message"),
    [
        (119, 500, 120, "tiny: 500 x 119 pixels of 10 m hold no window of 120 x 120; give a larger one"),
        (500, 500, 121, "--step 121: choose from 1 to 120 pixels, the size of a window"),
        (500, 500, 0, "--step 0: choose from 1 to 120 pixels, the size of a window"),
    ],
)
def test_a_scene_without_a_window_or_a_step_that_leaves_gaps_is_refused(height, width, step, message):
    with pytest.raises(InputError) as refused:
        Windows.over(blank(height, width), 120, step)
    assert str(refused.value) == message


@pytest.mark.parametrize("step", [2, 3, 4])
def test_means_and_nodata_are_those_of_each_window(step):
    pixels = torch.arange(1.0, 1 + 2 * 9 * 11).reshape(2, 9, 11)
    pixels[1, 5, 6] = 0
    at = Windows.over(blank(9, 11), 4, step)
    found, whole = windows.means(pixels, at), windows.complete(pixels, at)
    for i in range(at.rows):
        for j in range(at.columns):
            window = pixels[:, i * step :, j * step :][:, :4, :4]
            torch.testing.assert_close(found[:, i, j], window.mean((1, 2)))
            assert whole[i, j] == (window != 0).all()
    assert not whole.all()
    assert windows.complete(pixels + 1, at).all()


@torch.inference_mode()
@pytest.mark.parametrize("step", [5, 12, 40])
@pytest.mark.parametrize("fusion", ["early", "late"])
@pytest.mark.parametrize("name", ["the notebook's", "batch norm", "padding", "residual"])
def test_of_a_network_with_more_inputs_all_but_the_bands_are_hidden(name, fusion, step):
    torch.manual_seed(0)
    architecture = Architecture(**NOTEBOOK | ARCHITECTURES[name] | {"fusion": fusion, "standardize": "moments"})
    spread = {"center": np.full(8, 0.4, np.float32), "spread": np.full(8, 0.3, np.float32)}
    channels, context = ["B02", "B08", "B11", "VV", "VH", "elevation"], ["season", "pressure"]
    network = Network(architecture, channels, 3, **spread, patch_size=40, context=context).eval()
    pixels = torch.rand(3, 90, 81)
    at = Windows.over(ArrayScene(pixels.numpy(), channels[:3]), 40, step)
    cut = [
        pixels[:, i * at.step :, j * at.step :][:, : at.size, : at.size]
        for i in range(at.rows)
        for j in range(at.columns)
    ]
    images = torch.cat([torch.stack(cut), torch.full((len(cut), 3, 40, 40), torch.nan)], 1)
    present = torch.tensor([name == "sentinel-2" for name in network.modalities])
    expected = network(images, torch.full((len(cut), 2), torch.nan), present)
    found = windows.logits(network, pixels, at).reshape(len(cut), 3)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)

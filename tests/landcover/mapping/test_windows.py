import numpy as np
import pytest
import torch
from tiny import ArrayScene, architecture

from landcover.constants import BANDS
from landcover.errors import InputError
from landcover.mapping import windows
from landcover.mapping.windows import Windows
from landcover.models.metadata import Inputs
from landcover.models.model import Model
from landcover.models.registry import build

NOTEBOOK = {"convolutions": [4, 6], "linear": [7], "dropout": 0.1}
NETWORKS = {
    "notebook": {},
    "no pooling": {"pool": 1},
    "stride 3": {"stride": 3, "pool": 1, "kernel": 4},
    "kernel 1": {"kernel": 1, "linear": []},
    "global pooling": {"global_pooling": True, "linear": [], "stride": 1},
    "batch norm": {"normalization": "batch", "standardize": "quantiles"},
    "group norm": {"normalization": "group", "standardize": "moments"},
    "padding": {"padding": "same"},
    "residual": {"padding": "same", "residual": True, "normalization": "batch", "global_pooling": True},
}


def scene(height: int, width: int) -> ArrayScene:
    return ArrayScene(np.broadcast_to(np.float32(0), (1, height, width)), ["B02"])


def make_network(channels: list[str], size: int, context: tuple[str, ...] = (), **changes) -> Model:
    torch.manual_seed(0)
    count = len(channels) + len(context)
    inputs = Inputs(tuple(channels), ("a", "b", "c"), size, context)
    network = build(architecture(**NOTEBOOK | changes), inputs, torch.full((count,), 0.4), torch.full((count,), 0.3))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # as if it were trained
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return network.eval()


def cut(pixels: torch.Tensor, at: Windows) -> torch.Tensor:
    rows, columns = ([at.pixels(range(i, i + 1)) for i in range(count)] for count in (at.rows, at.columns))
    return torch.stack([pixels[:, row, column] for row in rows for column in columns])


@torch.inference_mode()
@pytest.mark.parametrize("step", [1, 5, 12, 24, 40])
@pytest.mark.parametrize("name", NETWORKS)
def test_slide_gives_what_the_network_gives_for_each_window(name, step):
    network = make_network([*BANDS][:3], 40, **NETWORKS[name])
    pixels = torch.rand(3, 59, 71)
    at = Windows.over(scene(41 if step == 1 else 59, 71), 40, step)
    expected = network(cut(pixels, at)).reshape(at.rows, at.columns, 3)
    torch.testing.assert_close(windows.slide(network, pixels, at), expected, rtol=0, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("fusion", ["early", "late"])
@pytest.mark.parametrize("name", ["notebook", "padding"])
def test_slide_hides_all_inputs_but_the_bands(name, fusion):
    channels, context = ["B02", "B08", "B11", "VV", "VH", "elevation"], ("season", "pressure")
    network = make_network(channels, 40, context, **NETWORKS[name] | {"fusion": fusion, "standardize": "moments"})
    pixels = torch.rand(3, 90, 81)
    at = Windows.over(scene(90, 81), 40, 12)
    bands = cut(pixels, at)
    images = torch.cat([bands, torch.full((len(bands), 3, 40, 40), torch.nan)], 1)
    present = torch.tensor([name == "sentinel-2" for name in network.modalities])
    expected = network(images, torch.full((len(bands), 2), torch.nan), present).reshape(at.rows, at.columns, 3)
    torch.testing.assert_close(windows.slide(network, pixels, at), expected, rtol=1e-5, atol=1e-5)


def test_windows_fill_the_scene():
    assert Windows.over(scene(250, 359), 120, 120) == Windows(120, 120, 2, 2)
    assert Windows.over(scene(251, 360), 120, 10) == Windows(120, 10, 14, 25)


@pytest.mark.parametrize(
    ("height", "width", "step", "message"),
    [
        (119, 500, 120, "tiny: 500 x 119 pixels of 10 m are too few for a window of 120 x 120; give a larger scene"),
        (500, 500, 121, "--step 121: choose from 1 to 120 pixels, the size of a window"),
        (500, 500, 0, "--step 0: choose from 1 to 120 pixels, the size of a window"),
    ],
)
def test_windows_refuse_small_scenes_and_impossible_steps(height, width, step, message):
    with pytest.raises(InputError) as refused:
        Windows.over(scene(height, width), 120, step)
    assert str(refused.value) == message


@pytest.mark.parametrize("step", [2, 3, 4])
def test_means_and_nodata_are_those_of_each_window(step):
    pixels = torch.arange(1.0, 1 + 2 * 9 * 11).reshape(2, 9, 11)
    pixels[1, 5, 6] = 0
    at = Windows.over(scene(9, 11), 4, step)
    expected = cut(pixels, at).unflatten(0, (at.rows, at.columns))
    torch.testing.assert_close(windows.means(pixels, at), expected.mean((3, 4)).permute(2, 0, 1))
    complete = windows.complete(pixels, at)
    assert torch.equal(complete, (expected != 0).all(-1).all(-1).all(-1))
    assert not complete.all()
    assert windows.complete(pixels + 1, at).all()

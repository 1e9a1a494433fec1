import numpy as np
import pytest
from matplotlib.image import imread

from landcover.report import plots
from landcover.report.scene_map import scene_map

BANDS, CLASSES = ["B04", "B03", "B02"], ["tree_cover", "cropland", "snow_and_ice"]
GREEN, PINK = (0, 0x64, 0), (0xF0, 0x96, 0xFF)


def draw(tmp_path, labels, uncertain=None, place=(0, 0, 1, 1), metres=(2000, 2000), name="scene", synthetic=False):
    thumbnail = np.linspace(0.05, 0.3, 3 * 40 * 40, dtype=np.float32).reshape(3, 40, 40)
    labels = np.array(labels)
    uncertain = np.zeros(labels.shape, bool) if uncertain is None else np.array(uncertain)
    figure = scene_map(
        name, thumbnail, BANDS, metres, labels, place, uncertain, 0.6, CLASSES, synthetic_model=synthetic
    )
    plots.save(figure, tmp_path / "map.png", synthetic=False)
    pixels = np.round(255 * imread(tmp_path / "map.png")[..., :3]).astype(int)
    return [text.get_text() for text in figure.texts], pixels


def painted(pixels: np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    """Where the map, which is right of the picture, has a colour."""
    return (pixels[54:420, 385:751] == colour).all(-1)


def test_cells_are_painted_where_they_lie(tmp_path):
    words, pixels = draw(tmp_path, [[0, 1], [1, -1]], place=(0.25, 0.25, 0.75, 0.75))
    assert pixels.shape[1] == 760
    # The map is 366 pixels a side, the cells are a quarter of that; the middle of pixel 91 is on the first one's edge.
    green = painted(pixels, GREEN)
    assert (green.sum(), green[91:183, 91:183].all()) == (92**2, True)
    assert painted(pixels, PINK)[91:183, 183:274].all()
    assert painted(pixels, (0, 0, 0))[183:274, 183:274].all()
    assert painted(pixels, (255, 255, 255))[:91].all()
    assert words == [
        "scene", "true colour", "land cover", "500 m",
        "cropland: 67%", "tree cover: 33%", "no data: 25% of the map",
    ]  # fmt: skip


def test_uncertain_cells_are_hatched(tmp_path):
    words, pixels = draw(tmp_path, [[0, 1]], uncertain=[[True, False]], metres=(1000, 2000))
    assert painted(pixels, PINK)[:183, 183:].all()
    green = painted(pixels, GREEN)[:183, :183]
    assert green.mean() == pytest.approx(0.8, abs=0.01)  # a line every five pixels
    assert words[-1] == "below 60% confidence: 50%"


def test_a_model_of_synthetic_data_is_told(tmp_path):
    words, _ = draw(tmp_path, [[0]], synthetic=True)
    assert words[3] == "by a model of synthetic data"


def test_shares_are_of_the_cells_with_data_and_small_ones_are_told(tmp_path):
    labels = np.zeros((20, 20), int)
    labels[0, 0] = 2
    words, _ = draw(tmp_path, labels)
    assert words[-2:] == ["tree cover: 100%", "snow and ice: < 1%"]


@pytest.mark.parametrize("metres", [(100_000, 1000), (1000, 100_000), (120, 120)])
def test_a_scene_of_any_shape_fits_the_page(metres, tmp_path):
    words, pixels = draw(tmp_path, [[0, 1]], metres=metres, name="x" * 200)
    assert pixels.shape[1] == 760
    assert pixels.shape[0] <= 54 + 600 + 40 + 20 + 9
    assert words[0] == f"{'x' * 87}..."

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from landcover.report import plots, sheets

CLASSES = ["tree_cover", "cropland"]
BANDS = ["B02", "B03", "B04", "B08"]


def test_pictures_are_in_true_colour_and_stretched_alike():
    images = np.zeros((2, 4, 10, 10), np.float32)
    images[0, 2] = np.linspace(0.05, 0.10, 100).reshape(10, 10)  # red, B04
    images[1] = images[0] / 2
    pictures = sheets.to_pictures(images, BANDS)
    assert pictures.shape == (2, 10, 10, 3)
    assert pictures[0, ..., 0].max() == 1
    assert pictures[1, ..., 0].max() < 0.5
    assert pictures[..., 1:].max() == 0
    assert sheets.to_pictures(np.full((1, 1, 4, 4), 0.3, np.float32), ["B08"]).shape == (1, 4, 4, 3)  # flat and grey
    assert not sheets.to_pictures(np.zeros((1, 1, 4, 4), np.float32), ["B08"]).any()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_sheet_of_any_number_of_patches_has_the_width_of_a_page(count, tmp_path):
    images = np.random.default_rng(0).random((count, 4, 12, 12), np.float32)
    figure = sheets.sheet(images, BANDS, CLASSES, [CLASSES] * count, "Errors", "its class")
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[: 2 * count] == ["tree cover", "cropland"] * count
    assert words[2 * count :] == ["Errors", "its class; 120 m wide, true colour, one stretch for all"]
    for name in ("a.png", "b.png"):
        plots.save(figure, tmp_path / name, synthetic=False)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imread(tmp_path / "a.png").shape[1] == 760


def test_patch_has_the_colour_of_its_first_class_and_a_caption():
    images = np.ones((1, 1, 120, 120))
    figure = sheets.sheet(images, ["B08"], ["tree_cover", "c" * 100], [["tree_cover", "c" * 100]], "", "")
    axes = figure.axes[0]
    words = [text.get_text() for text in axes.texts]
    assert words == ["tree cover", "c" * 23 + "...", "", "; 1.2 km wide, bands B08, one stretch for all"]
    frame, *squares = axes.patches
    assert (to_hex(frame.get_edgecolor()), frame.get_fill()) == ("#006400", False)
    assert [to_hex(square.get_facecolor()) for square in squares] == ["#006400", "#cc6677"]


@pytest.mark.parametrize("channels", [["B08", "VV", "VH"], ["VV", "VH", "elevation"]])
def test_radar_is_never_mixed_into_a_picture(channels):
    images = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    pictures = sheets.to_pictures(images, channels)
    assert (pictures == sheets.to_pictures(images[:, :1], channels[:1])).all()

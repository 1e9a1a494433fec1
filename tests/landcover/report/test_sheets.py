import numpy as np
import pytest
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
def test_any_number_of_patches_can_be_drawn_at_the_width_of_a_page(count, tmp_path):
    images = np.random.default_rng(0).random((count, 4, 12, 12), np.float32)
    figure = sheets.sheet(images, BANDS, CLASSES, [CLASSES] * count, "Errors", "what and for what")
    words = ["tree cover", "cropland"] * count + [
        "Errors",
        "what and for what",
        "120 m; true colour, same stretch for all",
    ]
    assert [text.get_text() for text in figure.texts] == words
    plots.save(figure, tmp_path / "a.png", synthetic=False)
    plots.save(figure, tmp_path / "b.png", synthetic=False)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imread(tmp_path / "a.png").shape[1] == 760


def test_a_patch_is_framed_in_the_colour_of_its_class_above_a_bar_of_its_length(tmp_path):
    figure = sheets.sheet(np.ones((1, 1, 120, 120)), ["B08"], CLASSES, [["tree_cover", "cropland"]], "", "")
    assert figure.texts[-1].get_text() == "1.2 km; bands B08, same stretch for all"
    plots.save(figure, tmp_path / "a.png", synthetic=False)
    pixels = np.round(255 * imread(tmp_path / "a.png")[..., :3]).astype(int)
    found = {colour: (pixels == colour).all(axis=-1) for colour in [(0, 0x64, 0), (0xF0, 0x96, 0xFF)]}
    # The frame and a square, and a square alone.
    assert [mask.sum() for mask in found.values()] == [178**2 - 170**2 + 9**2, 9**2]
    bar = (pixels[-20:-16, :187] == 0).all(axis=-1)
    assert bar.sum(1).tolist() == [170] * 4


def test_a_long_name_stays_below_its_patch():
    figure = sheets.sheet(np.ones((1, 1, 120, 120)), ["B08"], ["a" * 100, "b"], [["a" * 100]], "", "")
    assert figure.texts[0].get_text() == "a" * 22 + "..."


@pytest.mark.parametrize("bands", [["B08", "VV", "VH"], ["VV", "VH", "elevation"]])
def test_radar_is_never_mixed_into_a_picture_and_is_shown_alone(bands):
    images = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    found = sheets.to_pictures(images, bands)
    assert (found == sheets.to_pictures(images[:, :1], bands[:1])).all()

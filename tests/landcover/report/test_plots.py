from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from landcover import constants
from landcover.evaluation.calibration import reliability
from landcover.evaluation.results import accuracy_by_purity
from landcover.report import comparison, palette, plots, sheets

CLASSES = ["tree_cover", "shrubland", "bare/sparse_vegetation"]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_confusion_matrix_shows_counts_or_shares_and_leaves_absent_classes_out():
    confusion = np.array([[3, 0, 1], [0, 0, 0], [0, 0, 2]])
    axes = plots.confusion_matrix(confusion, CLASSES, normalize=False).axes[0]
    assert texts(axes) == ["3", "1", "2"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["tree cover", "bare/sparse vegetation"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["tree cover (4)", "bare/sparse vegetation (2)"]
    assert texts(plots.confusion_matrix(confusion, CLASSES, normalize=True).axes[0]) == ["75%", "25%", "100%"]


def test_a_class_that_is_only_predicted_is_shown_without_shares():
    axes = plots.confusion_matrix(np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]]), CLASSES, normalize=True).axes[0]
    assert texts(axes) == ["50%", "50%"]
    assert axes.get_yticklabels()[1].get_text() == "shrubland (0)"


def test_each_class_has_its_colour_on_both_axes_of_a_matrix():
    matrix = np.array([[3, 0, 1], [0, 0, 0], [0, 0, 2]])
    shares, difference = (
        plots.confusion_matrix(matrix, CLASSES, normalize=True),
        plots.confusion_difference(matrix, matrix, CLASSES),
    )
    for figure in (shares, difference):
        squares = figure.axes[0].collections
        assert [[to_hex(colour) for colour in row.get_facecolors()] for row in squares] == [["#006400", "#b4b4b4"]] * 2


def test_classes_of_worldcover_have_its_colours_and_others_differ():
    assert set(palette.WORLDCOVER) == set(constants.CLASSES)
    colours = palette.class_colours(["oak", "cropland", "fir"])
    assert colours["cropland"] == "#f096ff"
    assert len({*colours.values(), *palette.WORLDCOVER.values()}) == 2 + len(constants.CLASSES)
    assert len(palette.class_colours([str(i) for i in range(100)])) == 100


def test_a_class_has_the_colour_that_is_chosen_for_it_and_no_other_class_has_it():
    chosen = {"cropland": "#123456", "fir": palette.OWN[0]}
    colours = palette.class_colours(["oak", "cropland", "fir"], chosen)
    assert colours == {"oak": palette.OWN[1], "cropland": "#123456", "fir": palette.OWN[0]}
    figure = plots.confusion_matrix(np.eye(3, dtype=int), ["oak", "cropland", "fir"], chosen, normalize=True)
    squares = figure.axes[0].collections[0].get_facecolors()
    assert [to_hex(colour) for colour in squares] == list(colours.values())


def test_a_comparison_has_the_colours_of_the_report_though_classes_are_absent():
    classes = [{"class": name} for name in ("ash", "fir", "oak")]
    params = {"datasets": {"mine": {"colours": {"fir": "#123456"}}}}
    side = SimpleNamespace(data={"dataset": "mine", "classes": classes}, params=params)
    colours = comparison.colours_of(side)
    assert colours == palette.class_colours(["ash", "fir", "oak"], {"fir": "#123456"})
    figure = plots.confusion_difference(np.eye(2, dtype=int), np.eye(2, dtype=int), ["fir", "oak"], colours)
    squares = figure.axes[0].collections[0].get_facecolors()
    assert [to_hex(colour) for colour in squares] == ["#123456", palette.OWN[2]]


def test_a_long_class_name_leaves_room_for_the_matrix():
    long = "deciduous broadleaved forest, managed for timber production, beech or oak"
    figure = plots.confusion_matrix(np.diag([2, 1]), [long, "fir"], normalize=False)
    (axes,) = figure.axes
    rows, columns = (
        [label.get_text() for label in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())
    )
    assert rows == ["deciduous broadleaved\nforest, managed for... (2)", "fir (1)"]
    assert columns == ["deciduous broadleaved f...", "fir"]
    figure.draw_without_rendering()
    assert axes.get_position().width > 0.6


def test_curves_show_both_splits():
    columns = {"train_loss": [2, 1], "val_loss": [2, 1.5], "train_accuracy": [0, 1], "val_accuracy": [0, 0.5]}
    history = pd.DataFrame({"epoch": [1, 2]} | columns)
    loss, accuracy = plots.learning_curves(history).axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[2, 1], [2, 1.5]]
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["train", "val"]
    loss = plots.learning_curves(history, history.assign(train_loss=3)).axes[0]
    assert [line.get_ydata().tolist() for line in loss.lines] == [[3, 3], [2, 1.5], [2, 1], [2, 1.5]]
    words = [text.get_text() for text in loss.get_legend().get_texts()]
    assert words == ["train before", "val before", "train after", "val after"]


def test_reliability_shows_each_bin_with_its_interval_and_how_confident_patches_are():
    confidence = np.repeat([0.9, 0.6], 50)
    correct = np.repeat([True, False, True, False], [30, 20, 40, 10])
    bins = reliability(correct, confidence)
    figure = plots.reliability(bins, confidence)
    axes, counts = figure.axes
    (points, _, (bars,)) = axes.containers[0]
    assert points.get_xydata() == pytest.approx(np.array([[0.6, 0.8], [0.9, 0.6]]))
    expected = [[[x, low], [x, high]] for x, low, high in zip([0.6, 0.9], bins["low"], bins["high"], strict=True)]
    assert np.array(bars.get_segments()) == pytest.approx(np.array(expected))
    assert "about 50 patches each" in axes.get_legend().get_texts()[1].get_text()
    assert sum(bar.get_height() for bar in counts.patches) == 100


def test_accuracy_by_purity_has_a_bar_and_an_interval_for_each_range():
    rows = accuracy_by_purity(np.array([True, True, False, True]), np.array([0.4, 0.6, 0.6, 0.95]))
    (axes,) = plots.accuracy_by_purity(rows).axes
    assert [bar.get_height() for bar in axes.patches] == [1, 0.5, 1]
    assert [label.get_text() for label in axes.get_xticklabels()][1] == "50% to 70%\n2 patches"
    (lines,) = axes.collections
    assert [[low, high] for (_, low), (_, high) in lines.get_segments()] == [
        pytest.approx([row["low"], row["high"]]) for row in rows
    ]


def test_a_matplotlibrc_of_the_user_changes_no_byte(tmp_path):
    theirs = {"font.family": "serif", "text.usetex": True, "savefig.bbox": "tight", "figure.dpi": 7}
    for name, settings in (("with.png", theirs), ("without.png", {})):
        with matplotlib.rc_context(settings):
            plots.draw(tmp_path / name, False, plots.confusion_matrix, np.eye(2, dtype=int), ["a", "b"], normalize=True)
    assert (tmp_path / "with.png").read_bytes() == (tmp_path / "without.png").read_bytes()


def test_a_picture_of_synthetic_data_says_so_in_its_corner(tmp_path):
    figures = [Figure(), Figure()]
    for figure, synthetic in zip(figures, (False, True), strict=True):
        plots.save(figure, tmp_path / f"{synthetic}.png", synthetic=synthetic)
    assert [texts(figure) for figure in figures] == [[], ["synthetic data"]]


def test_a_small_file_keeps_the_colours_of_small_squares(tmp_path):
    """Among patches of all kinds of greens, the pink square of cropland, at the fourth corner of a sheet."""
    greens = np.random.default_rng(0).uniform((0, 0.1, 0), (0.1, 0.3, 0.1), (4, 120, 120, 3)).transpose(0, 3, 1, 2)
    captions = [["tree_cover", "grassland"]] * 3 + [["tree_cover", "cropland"]]
    figure = sheets.sheet(greens, sheets.TRUE_COLOUR, ["tree_cover", "grassland", "cropland"], captions, "", "")
    plots.save(figure, tmp_path / "sheet.png", synthetic=False)
    picture = Image.open(tmp_path / "sheet.png")
    assert picture.mode == "P"  # a byte per pixel
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    pink = np.abs(pixels - np.array([0xF0, 0x96, 0xFF])).max(1) < 16
    assert 50 < pink.sum() < 200

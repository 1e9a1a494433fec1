import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from landcover.report import plots
from landcover.report.palette import class_colours
from landcover.report.scene_map import scene_map

BANDS, CLASSES = ["B04", "B03", "B02"], ["tree_cover", "cropland", "snow_and_ice"]


def draw(tmp_path, labels, uncertain=None, metres=(2000, 2000), classes=CLASSES, name="scene", **options):
    """The words and the pixels of a map whose cells are 500 m wide, 100 m from the edges."""
    thumbnail = np.linspace(0.05, 0.3, 3 * 40 * 40, dtype=np.float32).reshape(3, 40, 40)
    labels = np.array(labels)
    uncertain = np.zeros(labels.shape, bool) if uncertain is None else np.array(uncertain)
    options = {"synthetic_model": False} | options
    for path in (tmp_path / "map.png", tmp_path / "again.png"):
        figure = scene_map(name, thumbnail, BANDS, metres, labels, 100, 500, uncertain, 0.6, classes, **options)
        plots.save(figure, path, synthetic=False)
    assert (tmp_path / "map.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    words = [figure.get_suptitle(), *(axes.get_title("left") for axes in figure.axes)]
    words += [figure.legends[0].get_title().get_text()]
    # Nothing is cut off: all that is drawn lies in the picture.
    box = figure.get_tightbbox()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.get_figwidth()
    assert box.y1 <= figure.get_figheight()
    return words, legend, figure.axes[1], imread(tmp_path / "map.png")[..., :3]


def test_map_shows_classes_with_their_shares(tmp_path):
    words, legend, axes, _ = draw(tmp_path, [[0, 1], [1, -1]], synthetic_model=True)
    assert words == ["scene", "true colour", "land cover", "by a model of synthetic data"]
    assert legend == ["cropland: 67%", "tree cover: 33%", "no data: 25% of the map"]
    cells = axes.images[0]
    assert cells.get_extent() == [100, 1100, 1100, 100]
    colours = class_colours(CLASSES)
    expected = [to_rgb(colour) for colour in (colours["tree_cover"], colours["cropland"], colours["cropland"], "black")]
    np.testing.assert_array_equal(cells.get_array().reshape(4, 3), expected)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 2000), (2000, 0))


def test_map_has_the_truth_beside_it_where_it_is_known(tmp_path):
    labels, truth = [[0, 1], [1, -1]], np.array([[0, 1], [2, 1]])
    colours = {"cropland": "#123456"}
    words, legend, _, _ = draw(tmp_path, labels, truth=truth, colours=colours)
    assert words[1:4] == ["true colour", "land cover", "truth; the map is 67% right"]
    assert legend == ["cropland: 67%", "tree cover: 33%", "snow and ice: 0%", "no data: 25% of the map"]
    figure = scene_map(
        "scene",
        np.zeros((3, 4, 4)),
        BANDS,
        (2000, 2000),
        np.array(labels),
        100,
        500,
        np.zeros((2, 2), bool),
        0.6,
        CLASSES,
        truth=truth,
        colours=colours,
        synthetic_model=False,
    )
    cells = figure.axes[2].images[0].get_array().reshape(4, 3)
    theirs = class_colours(CLASSES, colours)
    np.testing.assert_array_equal(cells, [to_rgb(theirs[CLASSES[label]]) for label in (0, 1, 2, 1)])


def test_map_hatches_uncertain_cells(tmp_path):
    _, legend, axes, _ = draw(tmp_path, [[0, 1], [1, 1]], uncertain=[[True, False], [False, True]])
    assert legend[-1] == "below 60% confidence: 50%"
    hatched = [contour.get_paths()[0].get_extents().extents.tolist() for contour in axes.collections]
    assert hatched == [[100, 100, 600, 600], [600, 600, 1100, 1100]]  # bright lines on the dark cell, then dark ones


def test_map_hatches_cells_unlike_the_train_patches_crosswise_whether_certain_or_not(tmp_path):
    unlike = np.array([[False, True], [False, True]])
    uncertain = [[True, False], [False, True]]
    _, legend, axes, _ = draw(tmp_path, [[1, 1], [1, 1]], uncertain=uncertain, unlike=unlike)
    assert legend[-2:] == ["below 60% confidence: 50%", "unlike the train patches: 50%"]
    hatched = [(contour.hatches, contour.get_paths()[0].get_extents().extents.tolist()) for contour in axes.collections]
    assert hatched == [(["/////"], [100, 100, 600, 600]), (["xxxxx"], [600, 100, 1100, 1100])]


def test_map_tells_small_shares(tmp_path):
    labels = np.zeros((20, 20), int)
    labels[0, 0] = 2
    _, legend, _, _ = draw(tmp_path, labels, metres=(12_000, 12_000))
    assert legend == ["tree cover: 100%", "snow and ice: < 1%"]


@pytest.mark.parametrize("metres", [(100_000, 1000), (1000, 100_000), (1200, 1200)])
def test_map_of_any_shape_fits_a_page(metres, tmp_path):
    words, _, _, pixels = draw(tmp_path, [[0, 1]], metres=metres, name="x" * 200)
    assert words[0] == f"{'x' * 77}..."
    assert pixels.shape[0] <= 760
    assert pixels.shape[1] == 760


def test_map_of_many_classes_with_long_names(tmp_path):
    classes = [f"class {number} with a name that is quite long, as people have them" for number in range(24)]
    _, legend, _, _ = draw(tmp_path, np.arange(24).reshape(4, 6), metres=(4000, 4000), classes=classes)
    assert legend == [f"{name}: 4%" for name in classes]
    assert len(set(class_colours(classes).values())) == 24

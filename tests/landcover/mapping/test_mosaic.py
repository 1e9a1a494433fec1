from dataclasses import replace

import numpy as np
import pytest
from tiny import LOCAL, ArrayScene, brighter_band

from landcover.errors import InputError
from landcover.evaluation.applicability import Applicability, describe
from landcover.mapping import maps
from landcover.mapping.maps import NOTHING
from landcover.mapping.mosaic import RULES, Mosaic, around
from landcover.mapping.predictor import Predictor

SIZE = 20  # of a window
LEFT, TOP = 500_000, 5_000_000
TREES, CROPS = 0, 1


@pytest.fixture
def predictor() -> Predictor:
    network, metadata = brighter_band(SIZE)
    return Predictor([network], metadata)


def scene(pixels: np.ndarray, row: float = 0, column: float = 0, **changes) -> ArrayScene:
    """A scene whose first pixel is so many rows and columns from the corner."""
    transform = (10.0, 0.0, LEFT + 10 * column, 0.0, -10.0, TOP - 10 * row)
    return ArrayScene(np.float32(pixels), ["B02", "B08"], transform=transform, **changes)


def columns(*differences: float | None) -> np.ndarray:
    """Pixels of a window for each difference between B02 and B08, side by side; None is nodata."""
    pixels = [[0, 0] if each is None else [0.4, 0.4 - each] for each in differences]
    return np.repeat(np.repeat(np.transpose(pixels)[:, None], SIZE, axis=1), SIZE, axis=2)


def probability(difference: float) -> float:
    return 1 / (1 + np.exp(-10 * difference))


def mosaic_of(scenes, predictor, rule, step=SIZE, **options) -> tuple[maps.Map, list[int]]:
    mosaic = Mosaic(scenes, "area", predictor, step, rule, LOCAL, **options)
    for each in scenes:
        mosaic.add(each)
    return mosaic.finish(), mosaic.cells_of_scenes()


def two_dates() -> list[ArrayScene]:
    """They disagree in the first cell, are equal in the second, and the last has data in neither."""
    return [scene(columns(0.1, 0.1, None, None)), scene(columns(-0.2, 0.1, -0.1, None))]


def test_a_cell_is_from_the_most_confident_scene(predictor):
    land_cover, cells = mosaic_of(two_dates(), predictor, "confidence", keep_probabilities=True)
    assert land_cover.labels.tolist() == [[CROPS, TREES, CROPS, NOTHING]]
    expected = [probability(0.2), probability(0.1), probability(0.1), np.nan]
    np.testing.assert_allclose(land_cover.confidence, [expected], rtol=1e-5)
    np.testing.assert_allclose(
        land_cover.probabilities[TREES], [[probability(-0.2), probability(0.1), probability(-0.1), np.nan]], atol=1e-5
    )
    assert cells == [1, 2]  # of equal ones, the first scene's


def test_a_cell_is_the_mean_of_the_scenes_that_see_it(predictor):
    land_cover, cells = mosaic_of(two_dates(), predictor, "mean")
    both = (probability(0.1) + probability(-0.2)) / 2  # 0.425
    assert land_cover.labels.tolist() == [[CROPS, TREES, CROPS, NOTHING]]
    np.testing.assert_allclose(
        land_cover.confidence, [[1 - both, probability(0.1), probability(0.1), np.nan]], atol=1e-5
    )
    np.testing.assert_allclose(
        land_cover.probabilities[TREES], [[both, probability(0.1), probability(-0.1), np.nan]], atol=1e-5
    )
    assert cells == [2, 3]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("order", "corner"), [(1, 0), (-1, 5)])
def test_neighbours_share_the_windows_of_the_first_whatever_their_offset(predictor, rule, order, corner):
    """The eastern scene begins at row 5 and column 37, which is 4 steps from column 5."""
    land = np.random.default_rng(0).uniform(0.2, 0.4, (2, 60, 90)).astype(np.float32).round(4)
    scenes = [scene(land[:, :, :50]), scene(land[:, 5:, 37:], 5, 37)][::order]
    land_cover, _ = mosaic_of(scenes, predictor, rule, step=8)
    whole = maps.predict(scene(land[:, corner:, corner:], corner, corner), predictor, 8, LOCAL)
    assert land_cover.transform == whole.transform
    row, column = (corner + 8 * n for n in np.ogrid[: whole.windows.rows, : whole.windows.columns])  # of their corners
    inside = (column + SIZE <= 50) | ((row >= 5) & (column >= 37))
    np.testing.assert_array_equal(land_cover.labels, np.where(inside, whole.labels, NOTHING))
    np.testing.assert_allclose(land_cover.confidence[inside], whole.confidence[inside], rtol=1e-5)
    seen = land.copy()
    seen[:, :5, 50:] = 0
    np.testing.assert_allclose(land_cover.thumbnail, seen[:, corner:, corner:], atol=1e-6)


def test_cells_are_as_unlike_the_train_patches_as_the_chosen_scene_or_as_any_in_the_mean(predictor):
    ground = np.array([0.4, 0.3])  # of a difference of 0.1
    scale = np.array([1, 1, 0, 0, 0, 0], np.float32)  # by the bands' means alone
    train = scale * describe(ground, ground**2, np.zeros(2))[None]
    known = Applicability("", ["B02", "B08"], SIZE, 0.1, 0.01, scale, train)
    predictor = replace(predictor, applicability=known)
    expected = [[np.log(0.61 / 0.31), 0, np.log(0.51 / 0.31), np.nan]]
    for rule in RULES:
        land_cover, _ = mosaic_of(two_dates(), predictor, rule)
        np.testing.assert_allclose(land_cover.unlike, expected, atol=1e-5)


def test_the_picture_is_of_the_first_scene_that_sees_a_pixel(predictor):
    land_cover, _ = mosaic_of(two_dates(), predictor, "confidence")
    np.testing.assert_allclose(land_cover.thumbnail[1, 0, ::SIZE], [0.3, 0.3, 0.5, 0], atol=1e-6)


def test_scenes_without_a_common_grid_are_refused():
    here, there = scene(columns(0.1)), scene(columns(0.1), name="there", crs="EPSG:32632")
    with pytest.raises(InputError, match=r"^there: is in EPSG:32632, and tiny in EPSG:32633; give --crs EPSG:32633 to"):
        around([here, there], "area", SIZE)
    with pytest.raises(InputError, match=r"^between: its pixels lie between those of tiny; warp both with `rio warp"):
        around([here, scene(columns(0.1), 0.5, name="between")], "area", SIZE)


def test_a_scene_too_small_for_the_windows_of_the_area_adds_nothing(predictor):
    scenes = [scene(columns(0.1, 0.1)), scene(columns(0.1), 0, 10, name="small")]
    mosaic = Mosaic(scenes, "area", predictor, SIZE, "mean", LOCAL)
    mosaic.add(scenes[0])
    with pytest.raises(InputError, match=r"^small: 20 x 20 pixels of 10 m are too few for a window of 20 x 20, which"):
        mosaic.add(scenes[1])
    assert mosaic.finish().confidence == pytest.approx(np.full((1, 2), probability(0.1)), abs=1e-5)


def test_probabilities_that_do_not_fit_into_memory_are_refused(predictor):
    little = LOCAL.model_copy(update={"resident_gigabytes": 0})
    with pytest.raises(InputError, match="area: its probabilities would take"):
        Mosaic(two_dates(), "area", predictor, SIZE, "mean", little)

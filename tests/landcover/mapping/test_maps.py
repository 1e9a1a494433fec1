import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from tiny import LOCAL, ArrayScene, brighter_band

from landcover.data.tensors import Split
from landcover.errors import InputError
from landcover.evaluation.applicability import Applicability
from landcover.mapping import maps, scenes
from landcover.mapping.predictor import Predictor
from landcover.mapping.windows import Windows

SIZE = 20  # of a window


@pytest.fixture
def predictor() -> Predictor:
    network, metadata = brighter_band(SIZE)
    return Predictor([network], metadata)


@pytest.fixture
def scene() -> ArrayScene:
    """50 x 61 pixels: the left 20 columns are brighter in B02, by 0.1; a pixel in the lower right corner is nodata."""
    pixels = np.full((2, 50, 61), 0.3, np.float32)
    pixels[0, :, :20] = 0.4
    pixels[:, 45, 59] = 0
    return ArrayScene(pixels, ["B02", "B08"], rows_read=[])


def test_each_window_becomes_a_cell(scene, predictor):
    pixels = scene.pixels
    pixels[1, :, 20:40] = 0.5
    land_cover = maps.predict(scene, predictor, SIZE, LOCAL, keep_probabilities=True)
    assert land_cover.labels.tolist() == [[0, 1, 0], [0, 1, 0]]  # of equal classes the first
    # The differences of the logits are 10 x 0.1, 10 x -0.2 and 0.
    expected = [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-2)), 0.5]
    np.testing.assert_allclose(land_cover.confidence, [expected, expected], rtol=1e-5)
    np.testing.assert_allclose(land_cover.probabilities[0, 0], [expected[0], 1 - expected[1], 0.5], atol=1e-5)
    assert tuple(land_cover.transform)[:6] == (200, 0, 500_000, 0, -200, 5_000_000)
    np.testing.assert_array_equal(land_cover.thumbnail, pixels)


def test_a_model_of_8_bit_pictures_sees_a_scene_cut_off_as_they_are(scene, predictor):
    scene.pixels[1, :, 20:40] = 0.5
    cut_off = replace(predictor.metadata, scale={"divisor": 1000, "offset": 0, "minimum": 0, "maximum": 0.35})
    land_cover = maps.predict(scene, replace(predictor, metadata=cut_off), SIZE, LOCAL)
    # Differences of 10 x 0.05, -10 x 0.05 and 0.
    expected = [1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-0.5)), 0.5]
    np.testing.assert_allclose(land_cover.confidence, [expected, expected], rtol=1e-5)


def test_cells_are_the_middles_of_their_windows(scene, predictor):
    land_cover = maps.predict(scene, predictor, 8, LOCAL)
    # Windows begin at pixels 0, 8, 16, 24 and, across, also at 32 and 40; the cell of the first is its pixels 6 to 14.
    assert land_cover.labels.shape == (4, 6)
    assert tuple(land_cover.transform)[:6] == (80, 0, 500_060, 0, -80, 4_999_940)
    # The last window is of rows 24 to 44 and columns 40 to 60, so that the nodata at row 45 is in none.
    assert (land_cover.labels != maps.NOTHING).all()
    # Of the 20 columns of windows, 20, 12, 4, 0, 0 and 0 are the brighter ones.
    difference = 10 * 0.1 * np.array([20, 12, 4, 0, 0, 0]) / 20
    np.testing.assert_allclose(land_cover.confidence[0], 1 / (1 + np.exp(-difference)), rtol=1e-5)


def test_a_window_with_a_pixel_of_nodata_has_no_class(scene, predictor):
    land_cover = maps.predict(scene, predictor, 10, LOCAL, keep_probabilities=True)
    missing = [[False] * 5, [False] * 5, [False] * 5, [False, False, False, False, True]]
    assert (land_cover.labels == maps.NOTHING).tolist() == missing
    assert np.isnan(land_cover.confidence).tolist() == missing
    assert np.isnan(land_cover.probabilities).tolist() == [missing] * 2


@pytest.mark.parametrize("step", [1, 7, 20])
@pytest.mark.parametrize("read", [1, 16, 25, 1024])
def test_strips_of_any_size_make_the_same_map_and_each_pixel_is_read_once(scene, predictor, step, read, monkeypatch):
    noise = np.random.default_rng(0).random(scene.pixels.shape, np.float32) * 0.2
    scene = scene._replace(pixels=np.where(scene.pixels > 0, scene.pixels + noise, 0))
    whole = maps.predict(scene, predictor, step, LOCAL)
    scene.rows_read.clear()
    monkeypatch.setattr(scenes, "STRIP_ROWS", read)
    monkeypatch.setattr(maps, "TILE_PIXELS", 30 * 30)  # so that a strip has several tiles
    land_cover = maps.predict(scene, predictor, step, LOCAL)
    assert scene.rows_read == list(range(50))
    np.testing.assert_array_equal(land_cover.labels, whole.labels)
    np.testing.assert_allclose(land_cover.confidence, whole.confidence, rtol=1e-5)
    np.testing.assert_allclose(land_cover.thumbnail, whole.thumbnail, rtol=1e-5)


@pytest.mark.parametrize("read", [1, 1024])
def test_windows_may_begin_further_in_and_the_picture_is_whole(scene, predictor, read, monkeypatch):
    monkeypatch.setattr(scenes, "STRIP_ROWS", read)
    land_cover = maps.predict(scene, predictor, 7, LOCAL, first=(3, 5))
    assert scene.rows_read == list(range(50))
    inner = maps.predict(scene._replace(pixels=scene.pixels[:, 3:, 5:]), predictor, 7, LOCAL)
    np.testing.assert_array_equal(land_cover.labels, inner.labels)
    np.testing.assert_allclose(land_cover.confidence, inner.confidence, rtol=1e-5)
    np.testing.assert_allclose(land_cover.thumbnail, scene.pixels)
    assert tuple(land_cover.transform)[:6] == (70, 0, 500_115, 0, -70, 4_999_905)  # 5 + 6.5 and 3 + 6.5 pixels


@pytest.mark.parametrize(("block", "rows"), [(1, 500), (64, 512), (256, 512), (512, 512), (1024, 1024), (1280, 1280)])
def test_no_block_of_a_file_is_decoded_for_two_strips(block, rows):
    scene = ArrayScene(np.broadcast_to(np.float32(0.1), (2, 3000, SIZE)), ["B02", "B08"], block_rows=block)
    strips = maps.strips_of(scene, Windows.over(scene, SIZE, SIZE))
    assert [strip.pixels.stop for strip in strips] == [*range(rows, 3000 - SIZE, rows), 3000]


def test_workers_elsewhere_make_the_same_bytes(scene, predictor, monkeypatch):
    """Of Dask, only that it sends pickles to and fro, so that no cluster need be started."""

    class Cluster(ThreadPoolExecutor):
        def map(self, work, parts):
            sent = [pickle.dumps((work, part)) for part in parts]
            return super().map(lambda job: pickle.loads(pickle.dumps(job[0](job[1]))), map(pickle.loads, sent))

    @contextmanager
    def cluster(runtime):
        with Cluster(1) as pool:
            yield pool

    monkeypatch.setattr(scenes, "STRIP_ROWS", 20)
    monkeypatch.setattr(maps, "executor", cluster)
    here = maps.predict(scene, predictor, 6, LOCAL, first=(3, 5))
    there = maps.predict(scene, predictor, 6, LOCAL.model_copy(update={"dask": "tcp://host:1"}), first=(3, 5))
    assert len(maps.strips_of(scene, here.windows)) == 2
    for name in ("labels", "confidence", "thumbnail"):
        assert getattr(here, name).tobytes() == getattr(there, name).tobytes()


def test_an_ensemble_is_the_softened_mean_of_its_probabilities(scene, predictor):
    doubled, metadata = brighter_band(SIZE, contrast=20)
    ensemble = Predictor([*predictor.networks, doubled], replace(metadata, temperature=2.0))
    land_cover = maps.predict(scene, ensemble, SIZE, LOCAL)
    mean = (1 / (1 + np.exp(-1)) + 1 / (1 + np.exp(-2))) / 2
    np.testing.assert_allclose(land_cover.confidence[:, 0], mean**0.5 / (mean**0.5 + (1 - mean) ** 0.5), rtol=1e-5)


def test_a_cloud_is_unlike_the_train_patches_and_other_ground_is_not(scene, predictor):
    assert maps.predict(scene, predictor, SIZE, LOCAL).unlike is None
    rng = np.random.default_rng(0)
    scene.pixels[:, :, 20:] = rng.uniform(0.1, 0.5, (2, 50, 41)).round(4)
    scene.pixels[:, :, :20] = 1
    scene.pixels[:, 45, 59] = 0
    ground = rng.uniform(0.1, 0.5, (20, 2, SIZE, SIZE)).astype(np.float32)
    train, val = (Split(some, np.zeros(10), ["B02", "B08"], [], {}) for some in np.split(ground, 2))
    known = replace(predictor, applicability=Applicability.of(train, val, ""))
    land_cover = maps.predict(scene, known, SIZE, LOCAL)
    assert (land_cover.unlike > 3 * known.applicability.threshold).tolist() == [[True, False, False]] * 2
    missing = maps.predict(scene, known, 10, LOCAL)
    assert (np.isnan(missing.unlike) == (missing.labels == maps.NOTHING)).all()
    # As of a patch that is cut out, whatever the step.
    of_patch = Applicability.of(train, val._replace(images=scene.pixels[None, :, 7:27, 28:48]), "").threshold
    assert maps.predict(scene, known, 7, LOCAL).unlike[1, 4] == pytest.approx(of_patch, rel=1e-4)


def test_probabilities_that_do_not_fit_into_memory_are_refused(scene, predictor):
    with pytest.raises(InputError, match="tiny: its probabilities would take"):
        maps.predict(scene, predictor, 1, LOCAL.model_copy(update={"resident_gigabytes": 0}), keep_probabilities=True)

import numpy as np
import pytest
import rasterio

from landcover.constants import CLASSES, LEVEL_2A_BANDS, NODATA, PATCH_METRES, WORLDCOVER_CODES
from landcover.synthetic.landscape import GRID, GROUNDS
from landcover.synthetic.scene import lay_out, write_scene

PATCHES = 2  # along a side


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    write_scene(folder, patches=PATCHES)
    return folder


@pytest.fixture(scope="module")
def scene(folder) -> dict[str, np.ndarray]:
    with rasterio.open(folder / "scene.tif") as raster:
        return dict(zip(raster.descriptions, raster.read(), strict=True))


def test_two_runs_write_the_same_bytes(folder, tmp_path):
    write_scene(tmp_path, patches=PATCHES)
    for name in ("scene.tif", "truth.tif"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_the_file_says_what_it_holds(folder):
    with rasterio.open(folder / "scene.tif") as raster, rasterio.open(folder / "truth.tif") as truth:
        assert raster.descriptions == tuple(LEVEL_2A_BANDS)
        assert (set(raster.dtypes), raster.nodata) == ({"uint16"}, NODATA)
        assert (set(raster.scales), set(raster.offsets)) == ({0.0001}, {0})
        assert (raster.crs, raster.transform, raster.shape) == (truth.crs, truth.transform, truth.shape)
        assert (raster.crs.to_epsg(), raster.res, raster.shape) == (32632, (10, 10), (240, 240))
        assert truth.dtypes == ("uint8",)
        assert set(np.unique(truth.read())) <= set(WORLDCOVER_CODES)


def test_the_scene_lies_on_the_grids_of_all_bands_and_apart_from_the_sample(folder):
    with rasterio.open(folder / "scene.tif") as raster:
        left, _, _, top = raster.bounds
    assert (left % 60, top % 60) == (0, 0)
    for zone, easting, northing, _ in GROUNDS:
        east, south = easting * 100_000 + GRID * PATCH_METRES, northing * 100_000 - GRID * PATCH_METRES
        assert zone != 32 or left > east or top < south


def test_no_seam_shows_where_one_patch_ends(scene):
    for band in ("B02", "B08"):
        steps = np.abs(np.diff(scene[band].astype(float), axis=1)).mean(0)
        assert steps[119] < 1.25 * np.median(steps)


def test_coarse_bands_are_resampled_to_the_grid(scene):
    assert {pixels.shape for pixels in scene.values()} == {(240, 240)}
    assert all(pixels.min() > NODATA for pixels in scene.values())
    means = [scene[band].reshape(120, 2, 120, 2).mean((1, 3)) for band in ("B08", "B8A")]
    assert np.corrcoef(*[mean.ravel() for mean in means])[0, 1] > 0.7
    # Bilinear: from one pixel of 60 m to the next in six equal steps.
    steps = np.diff(scene["B01"][3, 3:9].astype(int))
    assert np.ptp(steps) <= 1
    assert len(np.unique(scene["B01"])) > 40 * 40


def test_the_default_scene_has_all_classes_and_windows_as_pure_as_the_samples_patches():
    _, classes, _ = lay_out()
    windows = classes.reshape(10, 120, 10, 120).swapaxes(1, 2).reshape(100, -1)
    shares = np.stack([np.bincount(window, minlength=len(CLASSES)) for window in windows]) / 120**2
    counts = dict(zip(CLASSES, np.bincount(shares.argmax(1), minlength=len(CLASSES)), strict=True))
    assert counts.pop("mangroves") == 0
    assert min(counts.values()) >= 2
    assert shares.max(1).mean() == pytest.approx(0.67, abs=0.01)  # of the sample's train and test splits

"""Clouds, shadows and snow of a scene's own classification are nodata, and are counted."""

import numpy as np
import pytest
from scene_files import BANDS, land, write, write_item, write_safe, zipped

from landcover.constants import NODATA
from landcover.errors import InputError
from landcover.mapping import classification
from landcover.mapping.scenes import open_scene

NUMBERS = land()  # 240 x 240 pixels of 10 m
CLASSES = np.full((120, 120), 4, np.uint8)  # of 20 m: vegetation, and in three corners
CLASSES[:20, :30], CLASSES[:20, -10:], CLASSES[-10:, :10] = 9, 3, 11  # clouds, their shadow, and snow
CLASSES[0, 0] = 10  # cirrus


def check(path, kinds=("clouds",)):
    """That the bands are masked where the classification says, and nowhere else."""
    scene = open_scene(str(path), list(BANDS), mask=kinds)
    values = [value for kind in kinds for value in classification.KINDS[kind]]
    masked = np.isin(CLASSES, values).repeat(2, 0).repeat(2, 1)
    plain = open_scene(str(path), list(BANDS))
    for row, rows in ((0, 240), (33, 5)):
        expected = np.where(masked[row : row + rows], NODATA, plain.read(row, rows))
        np.testing.assert_array_equal(scene.read(row, rows), expected)
    return scene.mask.shares


def write_classes(path, **profile):
    return write(path, CLASSES, (), metres=20, **profile)


def test_a_product(tmp_path):
    root = write_safe(tmp_path, NUMBERS)
    images = next(root.glob("GRANULE/*/IMG_DATA"))
    write_classes(images / "R20m" / "T33UUP_20230613T101031_SCL_20m.jp2")
    write(images / "R60m" / "T33UUP_20230613T101031_SCL_60m.jp2", np.full((40, 40), 9, np.uint8), (), metres=60)
    shares = check(root, ("clouds", "shadows", "snow"))
    assert shares == {"clouds": 600 / 14400, "shadows": 200 / 14400, "snow": 100 / 14400}
    assert check(zipped(root)) == {"clouds": 600 / 14400}


def test_an_item(tmp_path):
    write_classes(tmp_path / "SCL.tif")
    assert check(write_item(tmp_path, NUMBERS)) == {"clouds": 600 / 14400}


@pytest.mark.parametrize("name", ["scene_SCL.tif", "SCL.tif", "scene_scl_20m.jp2"])
def test_a_file_beside_a_geotiff(tmp_path, name):
    path = write(tmp_path / "scene.tif", NUMBERS)
    write_classes(tmp_path / name)
    write(tmp_path / "other_SCL.tif", np.full((120, 120), 9, np.uint8), (), metres=20)
    check(path)


def test_a_band_of_a_geotiff(tmp_path):
    own = CLASSES.repeat(2, 0).repeat(2, 1)[None]
    check(write(tmp_path / "scene.tif", np.concatenate([NUMBERS, own]), (*BANDS, "SCL")), ("snow", "shadows"))


def test_another_grid(tmp_path):
    """What the classification does not cover is not masked."""
    path = write(tmp_path / "scene.tif", NUMBERS)
    write(tmp_path / "SCL.tif", np.full((10, 10), 8, np.uint8), (), metres=60)
    scene = open_scene(str(path), list(BANDS), mask=["clouds"])
    masked = (scene.read(0, 240) == NODATA).all(0)
    assert masked[:60, :60].all()
    assert masked.sum() == 60 * 60
    assert scene.mask.shares == {"clouds": 1 / 16}


def test_a_scene_without_one_is_refused(tmp_path):
    path = write(tmp_path / "scene.tif", NUMBERS)
    with pytest.raises(InputError, match=r"^scene\.tif: has no scene classification \(SCL\), which names its clouds"):
        open_scene(str(path), list(BANDS), mask=["clouds"])

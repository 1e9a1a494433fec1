from pathlib import PurePosixPath

import pytest

from landcover import constants
from landcover.errors import InputError

BANDS = ["B02", "B03", "B04", "B08"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ben-ge-800/ben-ge-800_meta.csv", True),
        ("./ben-ge-800/ben-ge-800_meta.csv", True),
        ("ben-ge-8k/splits/ben-ge-8k_train.csv", True),
        ("ben-ge-800/sentinel-2/P_1_2/P_1_2_B02.tif", True),
        ("ben-ge-800/sentinel-2/P_1_2/P_1_2_B11.tif", False),
        ("ben-ge-800/sentinel-2/P_1_2/other_B02.tif", False),
        ("ben-ge-800/sentinel-2/P_1_2/P_1_2_labels_metadata.json", False),
        ("ben-ge-800/sentinel-1/P_1_2/P_1_2_VV.tif", False),
        ("ben-ge-800/dem/P_1_2_dem.tif", False),
        ("ben-ge-800/deep/er/x.csv", False),
    ],
)
def test_only_what_the_pipeline_reads_is_unpacked(name, wanted):
    assert constants.patch_member(PurePosixPath(name), BANDS) is wanted


def test_the_root_is_the_folder_with_its_own_meta_table(dataset, tmp_path):
    (tmp_path / "data" / "patches" / "README.d").mkdir()
    assert constants.find_root(tmp_path / "data" / "patches") == dataset.root


def test_no_root_and_two_roots_are_refused(dataset, tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        constants.find_root(tmp_path / "elsewhere")
    other = dataset.root.parent / "other"
    other.mkdir()
    (other / "other_meta.csv").touch()
    with pytest.raises(InputError, match="found other, tiny"):
        constants.find_root(dataset.root.parent)

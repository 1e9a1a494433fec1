from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from tiny import entry, write_picture, write_tile

from landcover.data.layouts import folders
from landcover.data.raster import Channel
from landcover.errors import InputError

RGB = ["B04", "B03", "B02"]
PICTURE = Channel("B04", "uint8", None, 1, 3)


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes of three pictures each."""
    for label, name in enumerate(("River", "Annual Crop")):
        for i in range(3):
            write_picture(tmp_path / f"x/set/{name}/{name[0]}_{i}.jpg", (10 * i, 100 * label, 0))
    return tmp_path / "x" / "set"


def read(folder: Path, channels=RGB, features=(), **facts):
    return folders.read_patches(folder, channels, features, entry(**{"bands": RGB} | facts))


def refused(folder: Path, channels=RGB, features=(), **facts) -> str:
    with pytest.raises(InputError) as error:
        read(folder, channels, features, **facts)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_classes_ids_and_size_are_those_of_the_folders_whatever_they_lie_in(root, tmp_path):
    for folder in (root, root.parent, tmp_path):
        patches = read(folder)
        assert (patches.classes, patches.patch_size, patches.warnings) == (["Annual Crop", "River"], 32, [])
        table = patches.table
        assert table["patch_id"].tolist()[2:4] == ["Annual Crop/A_2", "River/R_0"]
        assert table["label"].tolist() == [0, 0, 0, 1, 1, 1]
        assert table["B02"].tolist()[2:4] == ["Annual Crop/A_2.jpg", "River/R_0.jpg"]
        assert set(table["majority_fraction"]) == {1}
        assert patches.channels[0] == PICTURE


def test_what_computers_add_to_archives_is_ignored(root, tmp_path):
    for name in ("x/set/River/Thumbs.db", "x/set/River/._R_0.jpg", "__MACOSX/x/set/River/._R_0.jpg", "x/README.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"?")
        assert not folders.needed(PurePosixPath(name), RGB)
    assert folders.needed(PurePosixPath("x/set/River/R_0.JPG"), RGB)
    assert len(read(tmp_path).table) == 6


def test_the_entry_may_choose_and_order_the_classes(root):
    write_picture(root / "Forest" / "f.jpg", 0)
    patches = read(root, classes=["River", "Annual Crop"])
    assert (patches.classes, len(patches.table)) == (["River", "Annual Crop"], 6)
    assert patches.warnings == [f"1 of the folders in {root} are no classes of the entry and are left out: Forest"]
    assert "classes of the dataset's entry: no Lake among the folders in" in refused(root, classes=["River", "Lake"])


def test_a_class_with_one_patch_is_told(root):
    write_picture(root / "Forest" / "f.jpg", 0)
    assert read(root).warnings == ["Forest: 1 of 3 classes have a single patch, so no two splits have it"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("River/R_0.png", "1 names occur with several endings, for example River/R_0; keep one"),
        ("train/River/x.jpg", "in 2 places: . (6 images, such as Annual Crop/A_0.jpg), train (1 images, such as"),
        ("3 km/x.jpg", "1 names of classes among the folders in"),
        ("NA/x.jpg", "'NA'; start with a letter, "),
        ("river/x.jpg", "'River', 'river' differ only in capitals or spaces; spell each class in one way"),
    ],
)
def test_what_cannot_be_understood_is_refused(root, extra, message):
    write_picture(root / extra, 0)
    assert message in refused(root)


def test_images_in_no_folder_and_a_single_class_are_refused(root):
    for path in (root / "River").iterdir():
        path.unlink()
    assert "all images are in one folder, Annual Crop; put each into the folder of its class, or" in refused(root)
    assert refused(root, layout="folders").endswith("Annual Crop; at least two classes are needed")
    (root / "labels.csv").write_text("file,label\n", encoding="utf-16")
    assert "and labels.csv is no table of them: give it a column path, and save it in UTF-8" in refused(root)
    assert "3 images, for example A_0.jpg, lie in no folder" in refused(root / "Annual Crop")


def test_other_inputs_and_a_list_of_splits_are_refused(root):
    assert "no VV; set inputs: [sentinel-2]" in refused(root, channels=[*RGB, "VV"])
    assert "no season; set inputs: [sentinel-2]" in refused(root, features=["season"])
    assert "use a table with a column split" in refused(root, split={"method": "files"})


def test_folders_of_single_bands_are_no_classes(tmp_path):
    for name in ("p_0", "p_1"):
        for band in ("B02", "B8A"):
            write_tile(tmp_path / name / f"{name}_{band}.tif", np.ones((32, 32), np.uint16))
    assert "2 folders hold a band of a patch in each file, for example p_0/p_0_B02.tif; add a table" in refused(
        tmp_path
    )


# -- bands


def test_nobody_guesses_which_bands_a_picture_has(root):
    assert refused(root, bands=None) == (
        "Annual Crop/A_0.jpg has 3 bands, and nothing says which of them are B04, B03, B02; state the bands in the "
        "dataset's entry, in the order in the file: bands: [B04, B03, B02] for red, green and blue"
    )
    assert "lists 2, but Annual Crop/A_0.jpg has 3 bands" in refused(root, ["B04", "B03"], bands=["B04", "B03"])
    assert "entry: B08: 4, but Annual Crop/A_0.jpg has 3 bands" in refused(root, ["B08"], bands={"B08": 4})
    assert read(root, ["B02"], bands={"B02": 3}).channels == [PICTURE._replace(name="B02", band=3)]


@pytest.fixture
def stacks(tmp_path) -> Path:
    for name in ("a/0", "a/1", "b/0", "b/1"):
        write_tile(tmp_path / f"{name}.tif", np.full((3, 40, 40), 100, np.uint16))
    return tmp_path


def test_geotiffs_have_as_many_bands_as_names_or_name_them(stacks):
    def positions(**facts) -> list[int]:
        return [channel.band for channel in read(stacks, ["B02", "B08", "B8A"], **facts).channels]

    assert positions(bands=None) == [1, 2, 3]
    assert positions(bands={"B02": 3, "B08": 1, "B8A": 2}) == [3, 1, 2]
    for path in stacks.glob("*/*.tif"):
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("B8A", "b8", "B02")
    assert positions(bands=None) == [3, 2, 1]
    assert "has 3 bands (B8A, B08, B02), and nothing says" in refused(stacks, ["B02", "B03", "B04"], bands=None)


def test_pixels_are_as_large_as_the_georeference_says(stacks):
    assert read(stacks, ["B02"], bands={"B02": 1}).metres_per_pixel == 10
    for path in stacks.glob("*/*.tif"):
        pixels = np.full((3, 40, 40), 100, np.uint16)
        write_tile(path, pixels, crs="EPSG:4326", transform=from_origin(10, 0, 1e-5, 1e-5))
    assert read(stacks, ["B02"], bands={"B02": 1}).metres_per_pixel == pytest.approx(1.11, abs=0.01)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((3, 16, 16), np.uint16), "a/0.tif has 16 x 16 pixels; the texture baseline needs at least 17"),
        (np.zeros((3, 40, 41), np.uint16), "a/0.tif has 40 x 41 pixels; cut the images to squares"),
        (np.zeros((3, 40, 40), np.uint32), "images have uint32 numbers; write them as one of uint8, uint16"),
    ],
)
def test_images_that_are_no_patches_are_refused(stacks, pixels, message):
    for path in stacks.glob("*/*.tif"):
        write_tile(path, pixels)
    assert message in refused(stacks, ["B02"], bands={"B02": 1})


def test_if_no_image_can_be_read_one_is_named_with_the_reason(stacks):
    for path in stacks.glob("*/*.tif"):
        path.write_bytes(b"gone")
    assert "none of its images can be read, for example b/1.tif: " in refused(stacks, ["B02"], bands={"B02": 1})

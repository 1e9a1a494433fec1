import zipfile

import pytest
from scene_files import BANDS, PRODUCT, land, metadata, write, write_safe, zipped

from landcover.errors import InputError
from landcover.mapping import products
from landcover.mapping.layers import Layer


@pytest.fixture(scope="module")
def safe(tmp_path_factory):
    return write_safe(tmp_path_factory.mktemp("products"), land(120))


def test_a_product_tells_its_bands_and_what_its_numbers_mean(safe):
    source = products.read_source(safe)
    assert (source.kind, source.name) == ("Level-2A product", f"{PRODUCT}.SAFE")
    assert (source.level, source.baseline, source.date) == ("2A", "05.09", "2023-06-13")
    assert sorted(source.layers) == [*BANDS]
    path = safe / "GRANULE/L2A_T33UUP_A032747_20230613T101031/IMG_DATA/R10m/T33UUP_20230613T101031_B02_10m.jp2"
    assert source.layers["B02"] == Layer(str(path), 1, 1000, 10_000)


@pytest.mark.parametrize(
    ("about", "offset"),
    [
        (metadata(offset=None, baseline="02.12"), None),
        (metadata(offset=-500), 500),
        (metadata().replace('band_id="1"', 'band_id="7"'), None),
    ],
)
def test_metadata_tell_the_offset_of_each_band(tmp_path, about, offset):
    assert products.read_source(write_safe(tmp_path, land(8), about)).layers["B02"].offset == offset


def test_a_level_1c_product_has_other_tags(tmp_path):
    root = tmp_path / "S2A_MSIL1C_x.SAFE"
    write(root / "GRANULE" / "L1C_T33UUP" / "IMG_DATA" / "T33UUP_20230613T101031_B02.jp2", land(8, 1))
    (root / "MTD_MSIL1C.xml").write_text(metadata("L1C"))
    source = products.read_source(root)
    assert source.level == "1C"
    assert (source.layers["B02"].offset, source.layers["B02"].quantification) == (1000, 10_000)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<a>", "no element found"),
        ("", "no element found"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "it declares a document type"),
        (metadata(offset=1000), "BOA_ADD_OFFSET is 1000"),
        (metadata(divisor=0), "QUANTIFICATION_VALUE is 0"),
        (metadata(divisor="inf"), "QUANTIFICATION_VALUE is inf"),
        (metadata().replace(">-1000<", "><"), "could not convert|real number"),
        (metadata().replace('band_id="12"', 'band_id="13"'), "out of range"),
    ],
)
def test_damaged_metadata_are_named(tmp_path, content, why):
    root = write_safe(tmp_path, land(8), content)
    with pytest.raises(
        InputError, match=rf"^{root.name}: MTD_MSIL2A.xml is damaged \(.*({why}).*\); download the product"
    ):
        products.read_source(root)


def test_a_product_without_its_metadata_is_no_folder_of_bands(tmp_path):
    root = write_safe(tmp_path, land(8))
    (root / "MTD_MSIL2A.xml").unlink()
    for path in (root, zipped(root)):
        with pytest.raises(InputError, match=rf"^{path.name}: has no MTD_MSIL2A.xml, which says .*; download it again"):
            products.read_source(path)


def test_a_folder_has_a_file_a_band(tmp_path):
    for name in ("x_B02_10m.tif", "x_B02_20m.tif", "x_B03.tif", "b4.TIF", "x_B8A_clip.tiff", "notes_B05.txt", "x.tif"):
        (tmp_path / name).write_bytes(b"")
    source = products.read_source(tmp_path)
    assert (source.kind, source.level, source.baseline) == ("folder", None, "")
    names = {band: layer.path.rpartition("/")[2] for band, layer in source.layers.items()}
    assert names == {"B02": "x_B02_10m.tif", "B03": "x_B03.tif", "B04": "b4.TIF", "B8A": "x_B8A_clip.tiff"}


@pytest.mark.parametrize("other", ["y_B02.tif", "y_B02_10m.tif", "x_B02.jp2"])
def test_a_band_that_is_there_twice_is_refused(tmp_path, other):
    for name in ("x_B02_10m.tif", other):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"B02 occurs more than once, as .*B02.* and .*; keep only one scene's files"):
        products.read_source(tmp_path)


def test_folders_and_zips_without_bands_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"contains no files of bands, such as <name>_B02.tif"):
        products.read_source(tmp_path)
    damaged = tmp_path / "x.zip"
    damaged.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"x.zip: is not a readable zip .*; download it again"):
        products.read_source(damaged)
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("MTD_MSIL2A.xml", metadata())
        archive.writestr("GRANULE/x/IMG_DATA/x_B02_10m.jp2", "")
    content = bytearray(damaged.read_bytes())
    content[6] |= 1  # in the flags: it is encrypted
    content[content.index(b"PK\1\2") + 8] |= 1
    damaged.write_bytes(content)
    with pytest.raises(
        InputError, match=r"x.zip: cannot be unpacked here \(.* is encrypted, .*\); unpack it, and give"
    ):
        products.read_source(damaged)
    with zipfile.ZipFile(damaged, "w") as archive:
        for root in "ab":
            archive.writestr(f"{root}.SAFE/MTD_MSIL2A.xml", metadata())
    with pytest.raises(InputError, match=r"the metadata of more than one product .*; give one product"):
        products.read_source(damaged)


def test_a_product_is_found_however_it_was_unpacked(tmp_path):
    safe = write_safe(tmp_path / "in" / f"{PRODUCT}.SAFE", land(8))
    (safe / "manifest.safe").touch()
    for file in [*safe.rglob("*.*")]:
        file.with_name(f"._{file.name}").write_bytes(b"Mac OS X")
    archive = zipped(safe.parent)
    expected = products.read_source(safe)
    assert sorted(expected.layers) == [*BANDS]
    for given in (tmp_path / "in", safe.parent, safe / "MTD_MSIL2A.xml", safe / "manifest.safe"):
        assert products.read_source(given) == expected
    inside = products.read_source(archive).layers["B02"].path
    assert inside.endswith(f"/{PRODUCT}.SAFE{expected.layers['B02'].path.removeprefix(str(safe))}")
    write_safe(tmp_path / "in", land(8), name="other")
    write_safe(tmp_path / "in", land(8), name="third")
    with pytest.raises(InputError, match=r"^in: contains more than one product \(other.SAFE, third.SAFE\); give one"):
        products.read_source(tmp_path / "in")

import pytest

from landcover.mapping.layers import band_of, level_of


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("B02", "B02"), ("b2", "B02"), ("B8", "B08"), ("b8a", "B8A"), ("B11", "B11"),
        ("B08_10m", "B08"), ("T33UUP_20230613T101031_B8A_20m", "B8A"), ("B4, central wavelength 665 nm", "B04"),
        ("blue", "B02"), ("Blue", "B02"), ("NIR", "B08"), ("red edge 1", "B05"), ("Red-Edge_3", "B07"),
        ("nir08", "B8A"), ("B10", "B10"),
        ("swir16", "B11"), ("rededge", None), ("band 2", None), ("AOT", None), ("B99", None), ("", None),
        ("SB02", None), ("B021", None), ("B02_minus_B03", None), ("visual", None), ("bluejp2", None),
    ],
)  # fmt: skip
def test_a_band_is_told_by_its_code_or_its_common_name(text, band):
    assert band_of(text) == band


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("S2A_MSIL1C_20200604T101031_N0209_R022_T33UUP_20200604T121212.SAFE", "1C"),
        ("S2A_MSIL2A_20200604T101031_N0209_R022_T33UUP_20200604T121212.zip", "2A"),
        ("ssl4eo_l1c_20200604.tif", "1C"), ("sentinel-2-l1c", "1C"), ("S2MSI1C", "1C"), ("Level-2A", "2A"),
        ("T31CL1C.tif", None), ("scene.tif", None),
    ],
)  # fmt: skip
def test_the_level_is_told_by_a_name(text, level):
    assert level_of(text) == level

import pytest

from landcover.mapping.layers import are_numbers, band_of, level_of, other_satellite


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


@pytest.mark.parametrize(
    ("names", "counted"),
    [
        ([f"b{i}" for i in range(12)], True), ([f"B{i}" for i in range(1, 13)], True), (["1", "2"], False),
        (["Band 1", "Band 2"], True), (["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A"], False),
        (["B02", "B03", "B04", "B08"], False), (["B1"], False), (["b1", None], False), (["B2", "B3", "B4"], False),
    ],
)  # fmt: skip
def test_names_that_only_count_the_bands_are_told(names, counted):
    assert are_numbers(names) == counted


@pytest.mark.parametrize(
    ("text", "satellite"),
    [
        ("LC09_L2SP_190025_20230613_20230615_02_T1", "Landsat"), ("SR_B2 SR_B3 SR_B4", "Landsat"),
        ("HLS.L30.T33UUP.2023164T100401.v2.0.B02.tif", "Landsat"), ("MOD09GA.A2023164", "MODIS"),
        ("sur_refl_b01", "MODIS"), ("20230613_100401_ssc4_3B_AnalyticMS_SR_8b.tif", "PlanetScope"),
        ("S3A_OL_1_EFR____20230613T", "Sentinel-3"), ("HLS.S30.T33UUP.2023164T100401.v2.0.B02.tif", None),
        ("S2B_MSIL2A_20230613T101031_N0509_R022_T33UUP_20230613T121212.SAFE", None), ("scene.tif", None),
        ("L2A_T33UUP_A032747_20230613T101031", None), ("SENTINEL2A_20180316-103021-460_L2A_T31TDK_C_V2-2", None),
    ],
)  # fmt: skip
def test_other_satellites_are_told_by_names(text, satellite):
    assert other_satellite(text) == satellite

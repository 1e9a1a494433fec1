import numpy as np
import pandas as pd
import pytest

from landcover.data import offsets


def test_the_baseline_tells_the_offset_and_the_date_does_not():
    ids = [
        "S2A_MSIL2A_20170613T101031_N0509_R022_T33UUP_26_57",  # an old scene, processed anew
        "S2A_MSIL2A_20220125T101031_N0400_R022_T33UUP_26_57",
        "S2A_MSIL2A_20220125T101031_N0301_R022_T33UUP_26_57",
        "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57",  # processed by users
        "S2A_MSIL2A_20230613T101031_26_57",
        "S2A_MSIL2A_20230613T101031_26_58",
        "S2A_MSIL2A_20230613T101031_26_59",
        "S2A_MSIL2A_20230613T101031_26_60",
    ]
    baselines = ["", "", "", "", "", "05.10", "N0214", "4.00"]
    found = offsets.by_product(pd.Series(ids), pd.Series(baselines))
    assert found.tolist() == [1000, 1000, 0, -1, -1, 1000, 0, 1000]


def test_the_offset_is_subtracted_and_only_nodata_is_zero():
    numbers = offsets.subtract(np.array([0, 1, 1000, 1001, 1500, 11_000, 65_535], np.uint16), 1000)
    assert (numbers.dtype, numbers.tolist()) == (np.uint16, [0, 1, 1, 1, 500, 10_000, 64_535])


@pytest.mark.parametrize(("count", "told"), [(1, False), (3, True)])
def test_many_pixels_of_the_largest_number_are_told(count, told):
    histogram = np.zeros((2, 65_536), np.int64)
    histogram[:, 500], histogram[0, 65_535] = 100, count  # of 200, and these
    suspicion = offsets.suspect_largest(histogram, "datasets.mine")
    assert (suspicion is not None) == told
    if suspicion:
        assert suspicion.why == "1% of the pixels of datasets.mine are 65535, which often marks nodata"
        assert not suspicion.certain


@pytest.mark.parametrize(
    ("setting", "own", "product", "chosen"),
    [
        ("auto", None, -1, 0), ("auto", None, 0, 0), ("auto", None, 1000, 1000), ("auto", 0, 1000, 0),
        ("auto", 1000, -1, 1000), (0, None, 1000, 0), (50, None, -1, 50), (1000, 1000, -1, 1000),
    ],
)  # fmt: skip
def test_tags_go_before_ids_and_the_parameter_before_both(setting, own, product, chosen):
    assert offsets.choose(setting, own, product) == chosen


def test_a_parameter_that_contradicts_the_tags_is_refused():
    with pytest.raises(
        ValueError,
        match="its tags give an offset of 1000, the parameter offset is 0; set it to auto, or remove the tags",
    ):
        offsets.choose(0, 1000, -1)


def of(**counts: int) -> np.ndarray:
    histogram = np.zeros(1 << 16, np.int64)
    for number, count in counts.items():
        histogram[int(number[1:])] = count
    return histogram


@pytest.mark.parametrize(
    ("blue", "patches", "subtracted", "why", "certain"),
    [
        (of(n1=2, n6000=98), 100, False, "", False),  # water among snow
        (of(n500=2, n600=98), 100, False, "", False),
        (of(n501=2, n600=98), 100, False, "99% of the blue pixels are above 500", False),
        (of(n1001=2, n1300=98), 20, False, "99% of the blue pixels are above 1000", True),
        (of(n1001=2, n1300=98), 19, False, "99% of the blue pixels are above 1000", False),
        (of(n900=1, n1300=99), 20, True, "99% of the blue pixels are above 899", False),
        (of(n1=5, n300=95), 100, True, "", False),
        (of(n1=6, n300=94), 100, True, "6% of the blue pixels are at or below the offset", False),
        (of(n1=60, n300=40), 100, True, "60% of the blue pixels are at or below the offset", True),
        (of(n1=60, n300=40), 100, False, "", False),
    ],
)
def test_the_darkest_blue_tells_an_offset_that_is_wrong(blue, patches, subtracted, why, certain):
    found = offsets.suspect(blue, patches, subtracted, "offset")
    assert bool(found) is bool(why)
    if found:
        assert (found.why.startswith(why), found.certain) == (True, certain)
        assert found.remedy.startswith("set offset to ")


def test_what_the_user_has_set_is_to_be_checked_not_set_again():
    blue = of(n1001=2, n1300=98)
    assert offsets.suspect(blue, 20, False, "offset").remedy.endswith(", or to 0 if they are correct")
    added = "the number that was added (1000 by baseline 04.00)"
    assert offsets.suspect(blue, 20, False, "offset", chosen=True).remedy == f"check that offset is {added}"
    found = offsets.suspect_scale(of(n10001=60, n3=40)[None], "scale", chosen=True)
    assert found.remedy.startswith("check scale, the reflectance of one step of the numbers")


def test_reflectances_that_are_mostly_above_1_or_at_0_tell_another_scale():
    likely = np.stack([of(n1=40, n3000=60), of(n10001=40, n300=60)])
    assert offsets.suspect_scale(likely, "scale") is None
    for histogram, why in (
        (of(n10001=60, n3=40), "60% of the pixels exceed"),
        (of(n1=60, n3=40), "60% of the pixels h"),
    ):
        found = offsets.suspect_scale(histogram[None], "scale")
        assert found.why.startswith(why)
        assert found.remedy.startswith("set scale to ")

import re
from dataclasses import replace

import numpy as np
import pytest

from landcover.data import offsets
from landcover.errors import InputError
from landcover.mapping import scaling
from landcover.mapping.layers import Layer
from landcover.mapping.scaling import Scaling


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        (0.0001, -0.1, (1000, 10_000)), (0.0001, 0, (0, 10_000)), (0.0001, None, (None, 10_000)),
        (0.001, 0, (0, 1000)), (0.001, -0.1, (100, 1000)),
    ],
)  # fmt: skip
def test_scale_and_offset_are_the_same_as_quantification_and_offset(scale, offset, expected):
    assert scaling.from_scale(scale, offset) == expected


@pytest.mark.parametrize(
    ("scale", "offset"), [(1, -1000), (0.0001, 0.1), (0, 0), (-0.0001, 0), (np.nan, 0), (0.0001, np.nan), (0.0001, -2)]
)
def test_scales_that_give_no_reflectances_are_refused(scale, offset):
    with pytest.raises(InputError, match="do not give reflectances; give both --offset and --quantification"):
        scaling.from_scale(scale, offset)


def test_the_scale_of_landsat_is_known():
    with pytest.raises(InputError, match=r"its scale, 2.75e-05, is that of Landsat; the networks need Sentinel-2"):
        scaling.from_scale(0.0000275, -0.2)


def test_an_offset_is_given_in_the_unit_of_the_numbers():
    for offset, quantification in ((1000, 10_000), (0.1, 1), (0, 10_000)):
        scaling.check_unit(Scaling(offset, "argument", quantification, "pixels"))
    scaling.check_unit(Scaling(0.1, "tags", 10_000, "tags"))
    for offset, quantification, right in ((0.1, 10_000, "1000"), (1000, 1, "0.1")):
        why = f"--offset {offset} cannot .* which {quantification} is a reflectance of 1; give .* such as {right}$"
        with pytest.raises(InputError, match=why):
            scaling.check_unit(Scaling(offset, "argument", quantification, "pixels"))


NO_TAGS = (1, 0)
ALL = Layer("x", 1, 7, 7000, (0.0001, -0.0006))
SCALED = Layer("x", scale=(0.0001, None))


UINT16 = np.array([5, 901], np.uint16)


@pytest.mark.parametrize(
    ("layer", "tags", "product", "given", "chosen"),
    [
        (ALL, (0.001, -0.005), 1000, (9, 9000), (9, "argument", 9000, "argument")),
        (ALL, (0.001, -0.005), 1000, (None, None), (7, "metadata", 7000, "metadata")),
        (replace(ALL, offset=None), (0.001, -0.005), 1000, (None, None), (6, "STAC item", 7000, "metadata")),
        (SCALED, (0.001, -0.005), 1000, (None, None), (5, "tags", 10_000, "STAC item")),
        (SCALED, NO_TAGS, 1000, (None, None), (1000, "processing baseline", 10_000, "STAC item")),
        (Layer("x"), NO_TAGS, 0, (None, None), (0, "processing baseline", 10_000, "nothing")),
        (Layer("x"), NO_TAGS, -1, (None, 1000), (0, "nothing", 1000, "argument")),
        (Layer("x"), (1, -1000), -1, (1000, 10_000), (1000, "argument", 10_000, "argument")),
    ],
)  # fmt: skip
def test_the_first_source_decides_offset_and_quantification(layer, tags, product, given, chosen):
    assert scaling.choose(layer, tags, product, *given, UINT16) == Scaling(*chosen)


def test_without_a_source_the_numbers_decide():
    def choose(sample, product=-1, offset=None, quantification=None):
        return scaling.choose(Layer("x"), NO_TAGS, product, offset, quantification, sample)

    floats = UINT16.astype(np.float32)
    assert choose(floats) == Scaling(0, "nothing", 10_000, "nothing")
    assert choose(floats / 1000, product=1000) == Scaling(0, "pixels", 1, "pixels")
    assert choose(floats / 1000, offset=1) == Scaling(1, "argument", 1, "pixels")
    with pytest.raises(InputError, match="it is uint8, like a picture; give reflectance x 10,000 in uint16"):
        choose(np.array([5, 200], np.uint8))
    with pytest.raises(InputError, match="multiples of 257, like a picture of 8 bits in uint16; give reflectance x 10"):
        choose(np.array([0, 257, 2570], np.uint16))
    assert choose(np.array([5], np.uint8), quantification=250).quantification == 250


def test_numbers_become_those_of_a_tile_without_offset():
    numbers = np.arange(1 << 16, dtype=np.uint16)
    empty = numbers == 0
    for offset in (0, 1000):
        rescaled = scaling.rescale(numbers, empty, Scaling(offset, "", 10_000, ""))
        assert rescaled.dtype == np.uint16
        assert (rescaled == offsets.subtract(numbers, offset)).all()
        floats = scaling.rescale(numbers.astype(np.float32), empty, Scaling(offset, "", 10_000, ""))
        assert (floats == rescaled).all()


@pytest.mark.parametrize(
    ("numbers", "known", "expected"),
    [
        (np.array([0, 5, 400, 1200], np.uint16), (0, 1000), [0, 50, 4000, 12_000]),
        (np.array([0, 1, 600], np.uint16), (100, 1000), [0, 1, 5000]),
        (np.array([0, -20, 4000], np.int16), (0, 10_000), [0, 1, 4000]),
        (np.array([0, -0.02, 0.4321, 1.3], np.float32), (0, 1), [0, 1, 4321, 13_000]),
    ],
)
def test_numbers_of_other_kinds_become_such_numbers(numbers, known, expected):
    offset, quantification = known
    result = scaling.rescale(numbers, numbers == 0, Scaling(offset, "", quantification, ""))
    assert (result.dtype, result.tolist()) == (np.uint16, expected)


def spread(low: int, high: int) -> np.ndarray:
    return np.linspace(low, high, 1001).round().astype(np.uint16)


def both(offset=0, offset_by="nothing", quantification=10_000, quantification_by="nothing") -> dict[str, Scaling]:
    return dict.fromkeys(("B02", "B08"), Scaling(offset, offset_by, quantification, quantification_by))


LAND = spread(300, 4000)


def check(scalings, blue: np.ndarray, near_infrared: np.ndarray, level: str | None = "2A") -> list[str]:
    """Check levels; those of red and green lie between the two."""
    samples = {
        band: np.where(numbers == 0, np.nan, numbers) for band, numbers in (("B02", blue), ("B08", near_infrared))
    }
    return scaling.check_plausible(scalings, samples, level, lambda: min(blue.min(), near_infrared.min()))


@pytest.mark.parametrize(
    ("scalings", "blue", "near_infrared", "why", "certain"),
    [
        (both(), spread(1100, 3000), spread(1300, 5000), r"above 1119, .* offset of 1000: give --offset 1000", True),
        (both(), spread(950, 3000), spread(1300, 5000), r"above 970, .*: give --offset 1000, or", False),
        (both(0, "argument"), spread(1100, 3000), spread(1300, 5000), "give --offset 1000$", False),
        (both(100, "argument"), spread(1000, 2900), spread(1200, 4900), r"above 1119, .*: give --offset 1000$", False),
        (both(0, "pixels", 1), spread(1100, 3000), spread(1300, 5000), r"above 0.1119, .* give --offset 0.1, or", True),
        (both(1000, "metadata"), np.full(1001, -500), LAND, "without one: give --offset 0, or --offset 1000 if", True),
        (both(1000, "argument"), np.full(1001, -500), LAND, "without one: give --offset 0$", False),
        # Without an offset, the numbers are too bright: 0 would not be right, either.
        (both(1000, "metadata"), np.full(1001, -300), LAND, "with a smaller one: give by --offset what was add", True),
        (both(), spread(20, 100), spread(200, 700), r"land is below 695 .* --quantification 1000, or", True),
        (both(), spread(2, 40), spread(20, 255), "no number is above 255, as in a picture, .* give refl", True),
        (both(), spread(1, 10), spread(5, 45), "below 45, darker than land, .* by --quantification; do not", False),
        (both(), spread(1310, 6500), spread(20_000, 45_000), r"reaches 44750, .* --quantification 65535 for", True),
        (both(), spread(1310, 6500), spread(20_000, 60_000), r"reaches 59600, .*: give reflectances, or the", True),
        (both(), spread(7300, 12_000), spread(9000, 24_000), r"as of Landsat: the networks need Sentinel-2;", True),
        (both(0, "argument", 65_535, "argument"), spread(100, 900), spread(300, 8700),
         r"the land reaches 86\d\d in the near infrared, brighter than plants and soil, .*; do not trust", False),
        (both(0, "tags", 10_000, "tags"), spread(0, 1), spread(1, 3), "darker than land, .*; do not trust", False),
        (both(), spread(2000, 9000), spread(2000, 40_000), r"reaches 39620, .* --quantification 65535 for", True),
        (both(quantification_by="argument"), spread(20, 100), spread(200, 700), "; do not trust the map$", False),
    ],
)  # fmt: skip
def test_implausible_pixels_stop_or_warn(scalings, blue, near_infrared, why, certain):
    if certain:
        with pytest.raises(InputError, match=why):
            check(scalings, blue, near_infrared)
    else:
        (warning,) = check(scalings, blue, near_infrared)
        assert re.search(why, warning)


def test_light_of_the_atmosphere_is_told_where_no_level_is_known():
    scattered = spread(1100, 3000)  # in blue alone, so that no offset is the reason
    with pytest.raises(InputError, match=r"top of the atmosphere, Level 1C, or haze: give a Level-2A scene, or force"):
        check(both(), scattered, LAND, level=None)
    (warning,) = check(both(1000, "argument"), scattered, LAND, level=None)
    assert "top of the atmosphere" in warning
    for level in ("2A", "any"):
        assert check(both(), scattered, LAND, level) == []


@pytest.mark.parametrize(
    ("scalings", "blue", "near_infrared"),
    [
        (both(), spread(100, 900), LAND),
        (both(1000, "metadata"), spread(1100, 3000), LAND),  # snow, and the offset is off already
        (both(), spread(90, 350), spread(5, 60)),  # water, dark
        (both(), spread(1, 60), spread(1, 140)),  # water, with too much of the sky taken off
        (both(), spread(79, 277), spread(346, 1510)),  # fields in December
        (both(), spread(300, 9000), spread(200, 8000)),  # clouds
        (both(quantification=1000, quantification_by="tags"), spread(2000, 3000), LAND),
        (both(), np.zeros(1001, np.uint16), np.zeros(1001, np.uint16)),
        (both(), spread(100, 900), np.zeros(1001, np.uint16)),
    ],
)
def test_plausible_pixels_give_no_warning(scalings, blue, near_infrared):
    assert check(scalings, blue, near_infrared) == []

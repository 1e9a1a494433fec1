import numpy as np
import pydantic
import pytest

from landcover import modalities
from landcover.constants import BANDS


def test_channels_and_features_stand_in_a_fixed_order_whatever_the_order_of_the_inputs():
    everything = list(reversed(modalities.MODALITIES))
    assert modalities.image_channels(everything, ["B08", "B02"]) == ["B08", "B02", "VV", "VH", "elevation"]
    features = modalities.context_features(everything)
    assert features[:2] + features[29:] == [
        "climate_zone_1", "climate_zone_2", "climate_zone_30", "season",
        "temperature", "relative_humidity", "wind_u", "wind_v", "pressure",
    ]  # fmt: skip
    assert modalities.image_channels(["sentinel-1", "season"], ["B08"]) == ["VV", "VH"]
    assert modalities.context_features(["sentinel-1", "season"]) == ["season"]


def test_each_name_has_a_modality():
    names = modalities.image_channels(modalities.MODALITIES, BANDS)
    assert modalities.modalities(names) == {
        "sentinel-2": list(range(13)), "sentinel-1": [13, 14], "elevation": [15]
    }  # fmt: skip
    assert list(modalities.modalities(modalities.context_features(modalities.MODALITIES))) == [
        "climate_zone",
        "season",
        "weather",
    ]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("VV", [-60, -20, 0, 20], [0, 0.5, 0.75, 1]),
        ("elevation", [-500, 0, 450, 9000], [0, 500 / 9500, 0.1, 1]),
        ("temperature", [180, 260, 340], [0, 0.5, 1]),
    ],
)
def test_the_plausible_range_is_mapped_to_one_and_nothing_becomes_nodata(name, values, expected):
    quantity = modalities.QUANTITIES[name]
    found = quantity.scaled(np.array(values, np.float32))
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-5)
    assert (found > 0).all()
    assert quantity.physical(found) == pytest.approx(values, abs=0.01)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "at least 1 item"),
        (["sentinel-2", "sentinel-2"], "list each one once"),
        (["esaworldcover"], "the source of the labels, so it cannot be an input"),
        (["season", "weather"], "the network needs an image"),
        (["sentinel-3"], "Input should be"),
    ],
)
def test_other_selections_are_refused(names, told):
    adapter = pydantic.TypeAdapter(modalities.Inputs)
    with pytest.raises(pydantic.ValidationError, match=told):
        adapter.validate_python(names)

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from landcover.data import pairing
from landcover.data.conversion import Summary


def summary(pairs, far_apart=()) -> dict[str, Summary]:
    return {"train": Summary({}, np.zeros((3, 65536), int), 0, Counter(), list(far_apart), np.array(pairs, float))}


def patches(ends=("0_1", "0_2"), radar_ends=("0_1", "0_2"), days=(2, -5)) -> pd.DataFrame:
    columns = {"patch_id": [f"S2A_X_{end}" for end in ends], "patch_id_s1": [f"S1A_X_{end}" for end in radar_ends]}
    return pd.DataFrame(columns | {"days_apart": days})


def test_days_and_the_rank_correlation_are_told():
    found = pairing.facts(patches(), summary([[0.1, 0.3], [0.2, 0.2], [0.3, 100.0]]))
    assert found["days_apart"] == {"median": 3.5, "largest": 5.0}
    assert found["vh_nir_correlation"] == pytest.approx(0.5)  # ranks 1 2 3 and 2 1 3
    assert found["vh_nir_patches"] == 3


def test_what_is_unknown_is_null():
    found = pairing.facts(patches(days=(np.nan, np.nan)), summary(np.empty((0, 2))))
    assert found == {"days_apart": None, "vh_nir_correlation": None, "vh_nir_patches": 0}


def test_radar_that_goes_with_the_light_gives_no_warning_and_shuffled_radar_does():
    rng = np.random.default_rng(0)
    ground = rng.random(400)
    pairs = np.stack([ground + 0.5 * rng.random(400), ground + 0.5 * rng.random(400)], axis=1)
    assert pairing.warnings(patches(), summary(pairs)) == []
    pairs[:, 0] = rng.permutation(pairs[:, 0])
    (told,) = pairing.warnings(patches(), summary(pairs))
    assert told.startswith("VH does not rise with the near infrared (rank correlation ")


def test_ids_and_places_that_differ_are_told_with_a_count():
    found = pairing.warnings(patches(radar_ends=("0_1", "3_2")), summary(np.empty((0, 2)), ["S2B_X", "S2A_X"]))
    assert found[0].startswith("in 2 of 2 patches, for example S2A_X, the radar or elevation lies elsewhere")
    assert found[1].startswith("in 1 of 2 patches, patch_id_s1 ends with another column or row")


def test_without_radar_there_is_nothing_to_say():
    assert pairing.warnings(patches()[["patch_id"]], summary(np.empty((0, 2)))) == []

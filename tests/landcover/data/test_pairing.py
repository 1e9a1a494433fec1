import numpy as np
import pandas as pd
import pytest

from landcover.data import pairing
from landcover.data.conversion import Summary
from landcover.data.pairing import DaysApart, Radar


def summary(pairs, far_apart=()) -> Summary:
    return Summary(np.zeros((3, 65536), int), far_apart=list(far_apart), vh_and_nir=np.array(pairs, float))


def patches(days=(2, -5), warning="") -> pd.DataFrame:
    return pd.DataFrame({"patch_id": ["a", "b"], "days_apart": days, "warning": ["", warning]})


def test_days_apart_and_the_rank_correlation():
    radar = pairing.compare_with_radar(patches(), summary([[0.1, 0.3], [0.2, 0.2], [0.3, 100.0]]))
    assert radar.days_apart == DaysApart(median=3.5, largest=5.0)
    assert radar.vh_nir_correlation == pytest.approx(0.5)  # ranks 1 2 3 and 2 1 3
    assert radar.vh_nir_patches == 3


def test_what_is_unknown_is_none():
    assert pairing.compare_with_radar(patches((np.nan, np.nan)), summary(np.empty((0, 2)))) == Radar(None, None, 0)


def test_radar_of_the_same_ground_gives_no_warning_and_shuffled_radar_does():
    rng = np.random.default_rng(0)
    ground = rng.random(400)
    pairs = np.stack([ground + 0.5 * rng.random(400), ground + 0.5 * rng.random(400)], axis=1)
    assert pairing.warnings(patches(), summary(pairs)) == []
    pairs[:, 0] = rng.permutation(pairs[:, 0])
    (warning,) = pairing.warnings(patches(), summary(pairs))
    assert warning.startswith("VH does not rise with the near infrared (rank correlation ")


def test_doubtful_patches_are_counted():
    warnings = pairing.warnings(patches(warning="its id is odd"), summary(np.empty((0, 2)), ["b", "a"]))
    assert warnings[0].startswith("in 2 of 2 patches, for example a, the radar or elevation lies elsewhere")
    assert warnings[1] == "in 1 of 2 patches, its id is odd"


def test_without_radar_there_is_no_warning():
    assert pairing.warnings(patches().drop(columns="days_apart"), summary(np.empty((0, 2)))) == []

import numpy as np
import pandas as pd
import pytest

from stages import report

COMPARISON = {"difference": 0.05, "low": 0.01, "high": 0.09, "p": 0.01}


def test_a_table_aligns_numbers_and_dashes_what_is_missing():
    text = report.markdown_table([{"class": "a", "n": 3, "f1": 0.5}, {"class": "b", "n": 0, "f1": float("nan")}])
    assert text.splitlines() == [
        "| class | n | f1 |",
        "| :--- | ---: | ---: |",
        "| a | 3 | 0.500 |",
        "| b | 0 | - |",
    ]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.09, "better, by +5.0 points (+1.0 to +9.0)"),
        (-0.01, 0.11, "not to be told apart"),
        (-0.1, -0.01, "worse"),
    ],
)
def test_the_verdict_follows_the_interval(low, high, words):
    assert report.verdict(COMPARISON | {"low": low, "high": high}).startswith(words)


def test_the_network_is_compared_with_each_baseline_by_patch_id():
    actual = np.array(["tree_cover", "cropland"] * 50)
    ids = [f"p{i}" for i in range(100)]
    predictions = pd.DataFrame({"patch_id": ids, "actual": actual, "predicted": actual})
    baselines = pd.DataFrame(
        {"patch_id": ids, "actual": actual, "majority": "tree_cover", "band_statistics": actual}
    ).sample(frac=1, random_state=0)
    found = report.compare_with_baselines(predictions, baselines, resamples=500, seed=0)
    assert found["majority"]["difference"] == 0.5
    assert found["majority"]["low"] > 0.35
    assert found["majority"]["p"] < 1e-10
    assert found["band_statistics"] == {"difference": 0, "low": 0, "high": 0, "p": 1}

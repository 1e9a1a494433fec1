import numpy as np
import pandas as pd

from stages import report


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

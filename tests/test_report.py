from stages import report


def test_the_network_is_compared_with_each_baseline_by_patch_id():
    actual = ["tree_cover", "cropland"] * 50
    ids = [f"p{i}" for i in range(100)]
    predictions = [{"patch_id": i, "actual": name, "predicted": name} for i, name in zip(ids, actual, strict=True)]
    baselines = [
        {"patch_id": i, "actual": name, "majority": "tree_cover", "band_statistics": name}
        for i, name in zip(ids, actual, strict=True)
    ][::-1]
    found = report.compare_with_baselines(predictions, baselines, resamples=500, seed=0)
    assert found["majority"]["difference"] == 0.5
    assert found["majority"]["low"] > 0.35
    assert found["majority"]["p"] < 1e-10
    assert found["band_statistics"] == {"difference": 0, "low": 0, "high": 0, "p": 1}

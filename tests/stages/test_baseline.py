import json

import pandas as pd

from landcover.evaluation.predictions import BASELINES


def test_the_baselines_are_scored_and_the_chosen_regularization_is_told(tmp_path, prepared, run_stage):
    (tmp_path / "folds.csv").write_text("patch_id,split,row,place,fold\n")
    params = prepared(40, 4, 12) | {"baseline": {"inverse_regularization": [0.5, 5]}}
    for threads in (1, 2):
        params["runtime"] = {"threads": threads}
        done = run_stage(
            "baseline", "tensors", "shares", "folds.csv", f"{threads}.json", f"{threads}.csv", "f.csv", params=params
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()

    scores, table = json.loads((tmp_path / "1.json").read_text()), pd.read_csv(tmp_path / "1.csv")
    charted, of_shares = scores.pop("accuracies"), scores.pop("shares")
    assert list(of_shares) == ["mean_shares", "share_regression"]
    assert of_shares["share_regression"]["rmse"]["value"] < of_shares["mean_shares"]["rmse"]["value"]
    assert list(scores) == list(BASELINES) == ["majority", "band_statistics", "texture"]
    assert [row["accuracy"] for row in charted] == [scores[name]["accuracy"] for name in BASELINES]
    assert list(table) == ["patch_id", "actual", *BASELINES]
    assert scores["band_statistics"]["inverse_regularization"] in (0.5, 5)
    for name in BASELINES:
        assert scores[name]["accuracy"] == round((table[name] == table["actual"]).mean(), 6)
    assert scores["texture"]["accuracy"] > scores["majority"]["accuracy"]  # the classes differ in brightness

import hashlib
import json

import numpy as np
import pytest
from tiny import architecture

from landcover import files
from landcover.config import Training
from landcover.data.index import Index
from landcover.report.model_item import model_item
from landcover.report.page import Run

FACTS = {
    "bands": ["B02", "B8A"], "classes": ["tree_cover", "bare/sparse_vegetation"], "patch_size": 120, "parameters": 7,
    "scale": {"divisor": 10_000.0, "offset": 0}, "temperature": 1.25, "dataset": "tiny", "synthetic": True,
}  # fmt: skip
IDS = ["S2A_MSIL2A_20170717T113321_1_2", "S2B_MSIL2A_20170613T101031_3_4"]


@pytest.fixture
def item(tmp_path, default_params):
    """The item, as written, of a model of these facts, with other parameters of its training."""

    def write(facts=FACTS, ids=IDS, lon=(10.0, 13.5), initialization=None, **train) -> dict:
        model_path = tmp_path / "model.safetensors"
        model_path.write_bytes(b"weights")
        training = Training(**default_params["train"] | train)
        run = Run(architecture(), training, {"level": "2A"}, {}, {}, {}, initialization or {})
        patches = Index(np.array(ids), np.ones(2), np.array(lon), np.array([50.0, 48.25]))
        for name in ("item.json", "again.json"):
            files.write_json(tmp_path / name, model_item(model_path, facts, run, patches))
        assert (tmp_path / "item.json").read_bytes() == (tmp_path / "again.json").read_bytes()
        return json.loads((tmp_path / "item.json").read_text())

    return write


def test_a_model_is_an_item_that_says_what_it_takes_and_gives(item):
    found = item()
    properties = found["properties"]
    assert (found["type"], found["stac_version"], found["id"]) == ("Feature", "1.1.0", "land-cover-cnn")
    assert found["stac_extensions"][0] == "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
    assert found["bbox"] == [10, 48.25, 13.5, 50]
    ring = [[10, 48.25], [13.5, 48.25], [13.5, 50], [10, 50], [10, 48.25]]
    assert found["geometry"] == {"type": "Polygon", "coordinates": [ring]}
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "2017-06-13T00:00:00Z"
    assert properties["end_datetime"] == "2017-07-17T23:59:59Z"
    assert "predictions for real scenes mean nothing" in properties["description"]
    expected = {
        "name": "land-cover-cnn", "architecture": "CNN", "tasks": ["scene-classification"], "framework": "PyTorch",
        "framework_version": "2.13.0", "total_parameters": 7, "pretrained": False, "pretrained_source": None,
    }  # fmt: skip
    assert {key: properties[f"mlm:{key}"] for key in expected} == expected
    assert properties["mlm:hyperparameters"]["learning_rate"] == 0.0001
    assert properties["bands"] == [
        {"name": "B02", "gsd": 10, "eo:common_name": "blue"}, {"name": "B8A", "gsd": 20, "eo:common_name": "nir08"}
    ]  # fmt: skip
    (given,) = properties["mlm:input"]
    assert given["bands"] == ["B02", "B8A"]
    assert given["input"] == {
        "shape": [-1, 2, 120, 120], "dim_order": ["batch", "channel", "height", "width"], "data_type": "float32"
    }  # fmt: skip
    assert given["value_scaling"] == [{"type": "min-max", "minimum": 0, "maximum": 10_000}]
    assert given["description"].startswith("Numbers of Sentinel-2, Level 2A, less the offset")
    assert (given["resize_type"], given["pre_processing_function"]) == (None, None)
    (output,) = properties["mlm:output"]
    assert output["result"] == {"shape": [-1, 2], "dim_order": ["batch", "class"], "data_type": "float32"}
    assert output["classification:classes"] == [
        {"value": 0, "name": "tree_cover", "description": "tree cover"},
        {"value": 1, "name": "bare-sparse_vegetation", "description": "bare/sparse vegetation"},
    ]
    assert output["post_processing_function"] == {"format": "torch", "expression": "(logits / 1.25).softmax(1)"}
    model = found["assets"]["model"]
    assert model["href"] == "./model.safetensors"
    assert model["roles"] == ["mlm:model", "mlm:weights"]
    assert model["mlm:artifact_type"] == "safetensors.torch.save_file"
    assert model["file:size"] == 7
    assert model["file:checksum"] == "1220" + hashlib.sha256(b"weights").hexdigest()


def test_what_is_unknown_is_not_made_up(item):
    found = item(facts={**FACTS, "scale": {}}, ids=["field_1", "field_2"], lon=(np.nan, np.nan))
    assert found["geometry"] is None
    assert "bbox" not in found
    times = [found["properties"][f"{end}_datetime"] for end in ("start", "end")]
    assert times == ["1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
    assert found["properties"]["mlm:input"][0]["value_scaling"] is None


def test_other_inputs_have_their_own_scaling_and_shares_are_a_regression(item):
    facts = FACTS | {"bands": ["B02", "VV"], "context": ["season", "temperature"]}
    properties = item(facts=facts, initialization={"file": "mine.pth"}, target="shares")["properties"]
    images, context = properties["mlm:input"]
    assert images["value_scaling"] == [
        {"type": "min-max", "minimum": 0, "maximum": 10_000}, {"type": "min-max", "minimum": -60, "maximum": 20}
    ]  # fmt: skip
    assert context["input"] == {"shape": [-1, 2], "dim_order": ["batch", "feature"], "data_type": "float32"}
    assert properties["bands"][1] == {"name": "VV"}
    assert properties["mlm:tasks"] == properties["mlm:output"][0]["tasks"] == ["regression"]
    assert (properties["mlm:pretrained"], properties["mlm:pretrained_source"]) == (True, "mine.pth")

"""A model as a STAC item, so that catalogues and other programs know what it takes and what it gives.

Source: the STAC specification, version 1.1, and its extensions Machine Learning Model (MLM) 1.4, the newest that PySTAC
knows, classification 2.0, eo 2.0 and file 2.1.
"""

import hashlib
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from landcover.constants import BANDS, DATE, readable
from landcover.data.index import Index
from landcover.modalities import QUANTITIES
from landcover.report.page import Run

EXTENSIONS = ("mlm/v1.4.0", "classification/v2.0.0", "eo/v2.0.0", "file/v2.1.0")
# Of the bands, as the eo extension has them.
COMMON_NAMES = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071", "B06": "rededge075",
    "B07": "rededge078", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16",
    "B12": "swir22",
}  # fmt: skip
ANY_TIME = ("1900-01-01", "9999-12-31")  # as MLM has it where the time is unknown, since STAC demands one
SHA2_256 = "1220"  # the multihash prefix of a SHA-256


def _place(patches: Index) -> dict[str, Any]:
    """The rectangle in which patches lie; none if that is unknown."""
    if np.isnan(patches.lon).any():
        return {"geometry": None}
    (west, east), (south, north) = ((float(each.min()), float(each.max())) for each in (patches.lon, patches.lat))
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [west, south, east, north]}


def _time(patches: Index) -> dict[str, Any]:
    """From the first day of patches to the last, by the names of their products."""
    days = pd.Series(patches.patch_ids).str.extract(DATE, expand=False)
    start, end = (
        ANY_TIME if days.isna().any() else (f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in (days.min(), days.max()))
    )
    return {"datetime": None, "start_datetime": f"{start}T00:00:00Z", "end_datetime": f"{end}T23:59:59Z"}


def _inputs(facts: dict[str, Any], level: str | None) -> list[dict[str, Any]]:
    """The images (N, C, H, W) and, if the network has them, the context features (N, F)."""
    channels, size, scale = facts["bands"], facts["patch_size"], facts.get("scale")

    def scaling(name: str) -> dict[str, Any]:
        if name in QUANTITIES:
            return {"type": "min-max", "minimum": QUANTITIES[name].low, "maximum": QUANTITIES[name].high}
        return {"type": "min-max", "minimum": scale["offset"], "maximum": scale["offset"] + scale["divisor"]}

    scalings = [scaling(name) for name in channels] if scale else None
    if scalings and all(one == scalings[0] for one in scalings):
        scalings = scalings[:1]
    image = {
        "name": "images",
        "description": f"Numbers of Sentinel-2{f', Level {level}' if level else ''}, less the offset that their "
        "product adds. Scaled values are clipped to 0 ... 1. 0 is nodata.",
        "bands": channels,
        "input": {
            "shape": [-1, len(channels), size, size],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": scalings,
        "resize_type": None,
        "pre_processing_function": None,
    }
    context = facts.get("context", [])
    other = {
        "name": "context",
        "description": f"0 ... 1: {', '.join(context)}",
        "bands": [],
        "input": {"shape": [-1, len(context)], "dim_order": ["batch", "feature"], "data_type": "float32"},
    }
    return [image, other] if context else [image]


def _output(facts: dict[str, Any], task: str) -> dict[str, Any]:
    what = "shares of the patch" if task == "regression" else "probabilities"
    return {
        "name": "logits",
        "description": f"A logit for each class; the function makes them {what}.",
        "tasks": [task],
        "result": {
            "shape": [-1, len(facts["classes"])],
            "dim_order": ["batch", "class"],
            "data_type": "float32",
        },
        "classification:classes": [
            {
                "value": position,
                "name": re.sub(r"[^0-9A-Za-z_-]", "-", name),
                "description": readable(name),
            }
            for position, name in enumerate(facts["classes"])
        ],
        "post_processing_function": {
            "format": "torch",
            "expression": f"(logits / {facts['temperature']:.6g}).softmax(1)",
        },
    }


def model_item(model_path: Path, facts: dict[str, Any], run: Run, patches: Index) -> dict[str, Any]:
    """The item of a model whose card lies beside it.

    Args:
        facts: the metadata of the model file.
        patches: those that it was trained on.
    """
    name, content = f"land-cover-{run.model.name}", model_path.read_bytes()
    task = "regression" if run.train.target == "shares" else "scene-classification"
    bands = [
        {"name": channel}
        | ({"gsd": BANDS[channel], "eo:common_name": COMMON_NAMES[channel]} if channel in BANDS else {})
        for channel in facts["bands"]
    ]
    synthetic = " Trained on synthetic data: predictions for real scenes mean nothing." if facts["synthetic"] else ""
    start = run.initialization
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [f"https://stac-extensions.github.io/{one}/schema.json" for one in EXTENSIONS],
        "id": name,
        **_place(patches),
        "properties": {
            **_time(patches),
            "title": "Land cover of Sentinel-2 patches",
            "description": f"Trained on the dataset {facts['dataset']}. Network: {run.model.describe()}.{synthetic}",
            "bands": bands,
            "mlm:name": name,
            "mlm:architecture": type(run.model.parameters).__name__,
            "mlm:tasks": [task],
            "mlm:framework": "PyTorch",
            "mlm:framework_version": version("torch").partition("+")[0],
            "mlm:total_parameters": facts["parameters"],
            "mlm:pretrained": bool(start),
            "mlm:pretrained_source": start["file"] if start else None,
            "mlm:input": _inputs(facts, run.data.get("level")),
            "mlm:output": [_output(facts, task)],
            "mlm:hyperparameters": run.train.model_dump(),
        },
        "links": [],
        "assets": {
            "model": {
                "href": f"./{model_path.name}",
                "title": "the weights, and what landcover needs to use them",
                "type": "application/octet-stream; framework=pytorch",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "safetensors.torch.save_file",
                "file:size": len(content),
                "file:checksum": SHA2_256 + hashlib.sha256(content).hexdigest(),
            },
            "card": {
                "href": "./card.md",
                "title": "the model card",
                "type": "text/markdown",
                "roles": ["metadata"],
            },
        },
    }

"""Write the model as ONNX, for programs without torch.  models/model.safetensors -> models/model.onnx

    python -m landcover export [--model FILE] [--out FILE.onnx] [--tensors FOLDER]

The ONNX model takes `reflectances`, float32 (patches, image channels, side, side), and, if the network has context
features, `context`, float32 (patches, features). It returns `log_probabilities`, float32 (patches, classes), to which
the temperature has not been applied. Its metadata_props are the model file's metadata, as JSON. If there are tensors,
onnxruntime's log-probabilities of their test split must agree with torch's.
"""

import argparse
import json
import logging
import warnings
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from landcover import files
from landcover.data import tensors
from landcover.errors import InputError
from landcover.models.metadata import Metadata
from landcover.models.model import Model
from landcover.models.weights import load
from landcover.training.inputs import inputs_of
from landcover.training.loader import load as load_patches
from landcover.training.prediction import predict

PACKAGES = ("onnxruntime", "onnxscript")
TOLERANCE = 1e-5  # of log-probabilities, absolute and relative
BATCH = 16


class LogProbabilities(torch.nn.Module):
    """A network followed by log-softmax."""

    def __init__(self, network: Model):
        super().__init__()
        self.network = network

    def forward(self, reflectances: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        return self.network.predict(reflectances, context).log_softmax(1)


def export(path: Path, network: Model, metadata: Metadata) -> None:
    """Write the network as ONNX; the same network gives the same bytes."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that it lacks torchvision, which is not needed
    expected = network.inputs
    inputs = {"reflectances": torch.zeros(2, len(expected.channels), expected.patch_size, expected.patch_size)}
    if expected.context:
        inputs["context"] = torch.zeros(2, len(expected.context))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's own code
        program = torch.onnx.export(
            LogProbabilities(network).eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["log_probabilities"],
            dynamic_shapes=[{0: torch.export.Dim("patches")} for _ in inputs],
            dynamo=True,
            verbose=False,
        )
    ClearMetadataAndDocStringPass()(program.model)  # the lines of code that made each node, with their paths
    program.model.metadata_props.update({key: json.dumps(value) for key, value in metadata.to_json().items()})
    program.save(path)


def largest_difference(path: Path, network: Model, split: tensors.Split) -> float:
    """The largest difference between onnxruntime's log-probabilities of a split and torch's.

    Raises:
        InputError: they differ by more than TOLERANCE.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {"reflectances": split.images} | ({} if split.context is None else {"context": split.context})
    starts = range(0, len(split.labels), BATCH)
    batches = ({name: values[start : start + BATCH] for name, values in inputs.items()} for start in starts)
    exported = np.concatenate([session.run(None, batch)[0] for batch in batches])
    expected = predict(network, load_patches(split, torch.device("cpu"), gigabytes=0), BATCH)
    largest = float(np.abs(exported - expected).max())
    if not np.allclose(exported, expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise InputError(
            f"export: onnxruntime's log-probabilities differ from torch's by up to {largest:.2g}; "
            "install the tested versions: pip install -r requirements-onnx.txt"
        )
    return largest


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m landcover export", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/model.safetensors"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="default: the model's path, with .onnx")
    parser.add_argument(
        "--tensors", type=Path, default=Path("data/tensors"), help="for the check; default: %(default)s"
    )
    given = parser.parse_args(arguments)
    if lacking := [name for name in PACKAGES if find_spec(name) is None]:
        raise InputError(f"export needs {' and '.join(lacking)}; pip install -r requirements-onnx.txt")
    network, metadata = load(given.model)
    split = tensors.load_split(given.tensors, "test", gigabytes=0) if given.tensors.is_dir() else None
    if split:
        theirs = asdict(inputs_of(split)) | {"scale": split.scale}
        own = asdict(network.inputs) | {"scale": metadata.scale}
        if others := [name for name, value in theirs.items() if own[name] != value]:
            raise InputError(
                f"{given.tensors}: differs in {', '.join(others)} from {given.model}; give this model's tensors by "
                "--tensors"
            )
    out = given.out or given.model.with_suffix(".onnx")
    with files.replacing(out) as part:
        export(part, network, metadata)
        largest = largest_difference(part, network, split) if split else None
    if split:
        print(f"{out}: on {len(split.labels)} test patches, its log-probabilities agree with torch's to {largest:.1g}")
    else:
        print(f"{out}: not checked, because there is no {given.tensors}")

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors
from conftest import REPOSITORY

from stages import tensors
from stages.errors import InputError

ARRAYS = {"images": np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2), "labels": np.array([3, 0])}
METADATA = {"bands": ["B02"], "classes": ["a", "b"], "scale": {"divisor": 10_000}, "é": "ü", "z": None}


def test_what_is_saved_is_loaded_and_others_can_read_it(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors.save(path, ARRAYS, METADATA)
    arrays, metadata = tensors.load(path)
    assert metadata == METADATA
    for name, array in ARRAYS.items():
        assert (arrays[name] == array).all()
        assert arrays[name].dtype == array.dtype
    with safetensors.safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["bands"]) == ["B02"]


def test_each_process_writes_the_same_bytes(tmp_path):
    """The library alone does not: it orders metadata by a hash that differs from process to process."""
    code = f"""if True:
        import numpy as np, pathlib, sys
        from stages import tensors
        arrays = {{"b": np.zeros(3, np.float32), "a": np.ones(2, np.int64)}}
        tensors.save(pathlib.Path(sys.argv[1]), arrays, {METADATA!r})"""
    for i in range(4):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / str(i))], check=True, cwd=REPOSITORY)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(4)}) == 1


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(InputError, match="not found; run dvc repro"):
        tensors.load(tmp_path / "none")
    (tmp_path / "pickle").write_bytes(b"\x80\x04]\x94." * 10)
    with pytest.raises(InputError, match="is not a safetensors file"):
        tensors.load(tmp_path / "pickle")


def test_shards_are_joined_in_order(tmp_path):
    for number in (1, 0):
        images = np.full((2, 1, 2, 2), number, np.float32)
        shard = {"images": images, "labels": np.array([number, number])}
        tensors.save(tmp_path / tensors.shard_name("val", number), shard, METADATA)
    split = tensors.load_split(tmp_path, "val")
    assert split.images.shape == (4, 1, 2, 2)
    assert split.labels.tolist() == [0, 0, 1, 1]
    assert split.bands == ["B02"]
    with pytest.raises(InputError, match="has no shard of the test split"):
        tensors.load_split(tmp_path, "test")

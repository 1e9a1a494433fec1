import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors
from tiny import REPOSITORY

from landcover.data import tensors
from landcover.errors import InputError

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
        from landcover.data import tensors
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


def test_shards_are_read_as_an_array_is(tmp_path):
    images = np.random.default_rng(0).random((11, 2, 3, 3), np.float32)
    for number, rows in enumerate((slice(0, 4), slice(4, 5), slice(5, 11))):
        shard = {"images": images[rows], "labels": np.arange(11)[rows]}
        tensors.save(tmp_path / tensors.shard_name("val", number), shard, METADATA)
    resident, streamed = (tensors.load_split(tmp_path, "val", gigabytes=gigabytes) for gigabytes in (1, 0))
    assert isinstance(resident.images, np.ndarray)
    assert isinstance(streamed.images, tensors.Shards)
    assert streamed.labels.tolist() == list(range(11))
    assert (len(streamed.images), streamed.images.shape, streamed.images.nbytes) == (11, (11, 2, 3, 3), images.nbytes)
    for rows in (
        slice(None), slice(2, 9), slice(3, 11, 3), slice(7, 7), np.array([10, 0, 5]), np.array([0, 4, 1]),
        np.array([], int), 0, 6, -1,
    ):  # fmt: skip
        assert (streamed.images[rows] == images[rows]).all()
        assert streamed.images[rows].shape == images[rows].shape
    assert (np.stack(list(streamed.images)) == images).all()
    assert (resident.images == images).all()


def test_an_array_is_saved_by_its_values_however_it_lies_in_memory(tmp_path):
    values = np.arange(24.0).reshape(2, 3, 4)
    arrays = {"transposed": values.T, "reversed": values[::-1], "strided": values[:, ::2], "chosen": values[:, [2, 0]]}
    tensors.save(tmp_path / "x.safetensors", arrays, {})
    found, _ = tensors.load(tmp_path / "x.safetensors")
    for name, array in arrays.items():
        assert (found[name] == array).all(), name


def test_shares_are_kept_by_split_and_in_sum_1(tmp_path):
    splits = np.array(["train", "val", "val", "test"])
    shares = np.array([[0.5, 0.5], [0.75, 0.25], [0.2, 0.2], [0, 1]])
    for split in ("train", "val", "test"):
        count = (splits == split).sum()
        shard = {"images": np.ones((count, 1, 2, 2), np.float32), "labels": np.zeros(count, int)}
        tensors.save(tmp_path / tensors.shard_name(split, 0), shard, METADATA | {"classes": ["a", "b"]})
    tensors.save_shares(tmp_path / "shares", splits, shares, ["a", "b"])
    both = tensors.load_split(tmp_path, "val", "test", shares=tmp_path / "shares")
    assert both.shares.tolist() == [[0.75, 0.25], [0.5, 0.5], [0, 1]]
    assert both.select(np.array([2, 0])).shares.tolist() == [[0, 1], [0.75, 0.25]]
    assert tensors.load_split(tmp_path, "val").shares is None
    tensors.save_shares(tmp_path / "none", splits, None, ["a", "b"])
    assert tensors.load_split(tmp_path, "val", shares=tmp_path / "none").shares is None
    tensors.save_shares(tmp_path / "others", splits[[0, 1, 3]], shares[:3], ["a", "b"])
    with pytest.raises(InputError, match=r"others: does not cover the 2 patches in .*; run dvc repro"):
        tensors.load_split(tmp_path, "val", shares=tmp_path / "others")

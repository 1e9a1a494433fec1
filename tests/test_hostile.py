"""Damaged and hostile inputs: nothing is written outside its folder, errors are one line, no pickle is ever read."""

import ast
import gzip
import io
import json
import os
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import call
from tiny import REPOSITORY, Dataset, merged

from landcover.archives import archive
from landcover.data import tensors
from landcover.errors import InputError


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some bits flipped, cut, overwritten with a telling number, or with a piece of them elsewhere."""
    found = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        # Half of the damage is done to where headers are.
        end = min(len(found), int(rng.choice([600, len(found)])))
        place, length = int(rng.integers(end)) if end else 0, int(rng.integers(1, 64))
        match rng.integers(6):
            case 0 | 1:
                found[place : place + 1] = bytes(byte ^ 1 << int(rng.integers(8)) for byte in found[place : place + 1])
            case 2:
                del found[place : place + length * int(rng.choice([1, 10**9]))]
            case 3:
                telling = int(rng.choice([0, 1, 2, 0x7F, 0xFF, *b',"\n./']))
                found[place : place + length % 9] = bytes([telling]) * (length % 9)
            case 4:
                found[place : place + length] = found[-length:]
            case 5:
                found[place:place] = rng.bytes(length)
    return bytes(found)


# -- archives


def whole_archives() -> dict[str, bytes]:
    """By name: tars of three formats, one of them packed, and a zip; each with two tables, a tile and a link."""
    tile = "tiny/sentinel-2/" + "/".join(f"S2A_MSIL2A_{'N' * 60}_1_2{end}" for end in ("", "_B02.tif"))
    files = dict.fromkeys(("tiny/tiny_meta.csv", tile, "tiny/é.csv"), bytes(range(100)) * 7)
    found = {}
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(fileobj=(file := io.BytesIO()), mode="w", format=form) as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            link = tarfile.TarInfo("tiny/link")
            link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
            tar.addfile(link)
        found[f"tar {form}"] = file.getvalue()
    found["tar.gz"] = gzip.compress(found["tar 0"], 1, mtime=0)
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    found["zip"] = file.getvalue()
    return found


@pytest.mark.parametrize("kind", whole_archives())
def test_damaged_archive_is_read_or_refused_in_one_line_and_stays_in_its_folder(tmp_path, kind):
    whole, read, told = whole_archives()[kind], 0, []
    for number in range(200):
        top = tmp_path / str(number)
        (top / "outside").mkdir(parents=True)
        (top / "inside").mkdir()
        (top / "archive").write_bytes(damaged(whole, np.random.default_rng(number)))
        limits = {"max_members": 20, "max_gigabytes": 1e-4}
        try:
            archive.extract(top / "archive", top / "inside", lambda path: "." in str(path), **limits)
            read += 1
        except InputError as error:
            told.append(str(error))
        assert {path.name for path in top.iterdir()} == {"archive", "inside", "outside"}
        assert not list((top / "outside").iterdir())
        for path in (top / "inside").rglob("*"):
            assert not path.is_symlink()
            assert path.is_dir() or path.stat().st_size <= 1e5
    assert read < 200
    assert all(map(str.isprintable, told))


# -- tables and tiles


def small(data: Dataset, **changes) -> dict:
    """Parameters for a few patches, of which the last four are for validation and test."""
    split = {"method": "order", "train": len(data.ids) - 4, "val": 2, "test": 2}
    datasets = {"tiny": {"source": "x", "split": split}}
    return {"dataset": "tiny", "datasets": datasets, "bands": ["B02", "B08"], "runtime": {"workers": 1}} | changes


@pytest.mark.parametrize("what", ["*/*.csv", "*/sentinel-2/*/*_B02.tif"])
def test_damaged_tables_and_tiles_are_left_out_or_refused_in_one_line(tmp_path, default_params, what):
    codes = set()
    for number in range(8):
        folder, rng = tmp_path / str(number), np.random.default_rng(number)
        data = Dataset(folder / "data" / "patches" / "tiny", [0, 3] * 4)
        for path in sorted((folder / "data" / "patches").glob(what))[: 1 + number % 2]:
            path.write_bytes(damaged(path.read_bytes(), rng))
        params = merged(default_params, small(data, preprocess={"max_bad_patches": 1}))
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        done = call(
            folder,
            "stages",
            "preprocess",
            "data/patches",
            "data/tensors",
            "data/shares.safetensors",
            "reports/data.json",
        )
        codes.add(done.returncode)
        if done.returncode:
            assert re.fullmatch("error: [^\n]+\n", done.stderr)
            assert not (folder / "data" / "tensors").exists()
    assert {1} <= codes <= {0, 1}


# -- no pickle

# Nobody but multiprocessing, from its own children, may read a pickle.
GUARD = """
import pickle, sys
import numpy, pandas, torch

__name__ = "guard"  # what runs is __main__, and is trusted as little as what it imports

def caller():
    return sys._getframe(2).f_globals["__name__"].partition(".")[0]

def guarded(function, *trusted):
    def call(*args, **kwargs):
        if caller() not in trusted:
            raise AssertionError(f"{caller()} calls {function}")
        return function(*args, **kwargs)
    return call

class Unpickler(pickle.Unpickler):
    def __init__(self, *args, **kwargs):
        raise AssertionError(f"{caller()} calls an Unpickler")

def found(event, names):  # by whatever name a pickle is read
    if event == "pickle.find_class" and caller() not in ("multiprocessing", "guard"):
        raise AssertionError(f"{caller()} reads a pickle with {names}")

pickle.load = guarded(pickle.load, "multiprocessing")
pickle.loads = guarded(pickle.loads, "multiprocessing")
pickle.Unpickler = Unpickler
numpy.load, pandas.read_pickle, torch.load = map(guarded, (numpy.load, pandas.read_pickle, torch.load))
sys.addaudithook(found)
"""
READERS = [
    "from pickle import load; load(open('x', 'rb'))",
    "from pickle import Unpickler; Unpickler(open('x', 'rb')).load()",
    "import _pickle; _pickle.load(open('x', 'rb'))",
    "import torch; torch.load('x')",
    "import numpy; numpy.load('x', allow_pickle=True)",
    "import pandas; pandas.read_pickle('x')",
]


def finite(value: object) -> bool:
    match value:
        case dict():
            return all(map(finite, value.values()))
        case float():
            return np.isfinite(value)
    return True


def test_stages_read_no_pickle_and_hardly_any_patches_give_finite_numbers(tmp_path, in_turn):
    """In one process, in which readers of a pickle show first that they would be noticed."""
    (tmp_path / "x").write_bytes(pickle.dumps(Path))
    for i, code in enumerate(READERS):
        (tmp_path / f"reader{i}.py").write_text(code)
    trap = "try: {0}\nexcept AssertionError as error: print(error)\n"
    codes = [*(f"import reader{i}" for i in range(len(READERS))), *READERS]  # in a module, and in the stage itself
    (tmp_path / "trap.py").write_text("".join(map(trap.format, codes)))

    labels = [3, 0, 7]  # no class in two splits
    data = Dataset(tmp_path / "data/patches/tiny", labels)
    changes = small(data, train={"epochs": 1}, repeat={"seeds": [1, 2]}, evaluate={"resamples": 100})
    changes["datasets"]["tiny"]["split"] |= {"train": len(labels) - 2, "val": 1, "test": 1}
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    commands = [stage["cmd"].partition(" -m ")[2] for stage in stages.values()]
    start = next(number for number, command in enumerate(commands) if command.startswith("stages preprocess "))
    done = in_turn("trap", *commands[start:], params=changes, before=GUARD)
    assert done.returncode == 0, done.stderr
    noticed = [line.split()[0] for line in done.stdout.splitlines()[: 2 * len(READERS)]]
    assert noticed == [*(f"reader{i}" for i in range(len(READERS))), *["__main__"] * len(READERS)]
    reports = tmp_path / "reports"
    assert all(finite(json.loads(path.read_text())) for path in reports.glob("*.json"))
    for path in (reports / "report.md", tmp_path / "models" / "card.md"):
        assert not re.search(r"\b(nan|inf)\b", path.read_text())


FORBIDDEN = {
    "pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "allow_pickle", "read_pickle",
    "unsafe_load", "full_load", "hub", "exec", "eval",
}  # fmt: skip
LIBRARIES = {"torch", "yaml"}  # whose `load` may run code; NumPy's only with allow_pickle


def names(node: ast.AST) -> list[str]:
    match node:
        case ast.Name(id=name) | ast.keyword(arg=str(name)):
            return [name]
        case ast.Attribute(attr="load" | "loads", value=ast.Name(id=owner)) if owner in LIBRARIES:
            return ["exec"]
        case ast.Attribute(attr=name):
            return [name] if name != "eval" else []  # a network's own
        case ast.Import(names=found) | ast.ImportFrom(names=found):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in found)]
            return [part for module in modules for part in module.split(".")]
    return []


def reads_tensors_alone(call: ast.Call) -> bool:
    """torch.load(..., weights_only=True), whose unpickler runs no code."""
    return any(
        key.arg == "weights_only" and isinstance(key.value, ast.Constant) and key.value.value is True
        for key in call.keywords
    )


def test_no_module_names_what_runs_code_from_data():
    folders = (REPOSITORY / name for name in ("stages", "landcover"))
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        safe = {node.func for node in nodes if isinstance(node, ast.Call) and reads_tensors_alone(node)}
        for node in (node for node in nodes if node not in safe):
            assert not FORBIDDEN & set(names(node)), f"{path.name}: {ast.unparse(node)}"


# -- models and tensors


class Harm:
    """Makes the folder `harmed` when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


def header(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A safetensors file with another header, of the length that it says."""
    size = int.from_bytes(content[:8], "little")
    changed = change(content[8 : 8 + size])
    return len(changed).to_bytes(8, "little") + changed + content[8 + size :]


def saved() -> bytes:
    torch.save({"weights": Harm()}, file := io.BytesIO())
    return file.getvalue()


FILES = {
    "a pickle": lambda b: pickle.dumps(Harm()),
    "of torch.save": lambda b: saved(),
    "empty": lambda b: b"",
    "cut": lambda b: b[:-1],
    "cut in the header": lambda b: b[:60],
    "longer": lambda b: b + b"x",
    "a header longer than the file": lambda b: len(b).to_bytes(8, "little") + b[8:],
    "a header of 2^63 bytes": lambda b: (1 << 63).to_bytes(8, "little") + b[8:],
    "a header that is no JSON": lambda b: header(b, lambda _: b"x" * 100),
    "no metadata": lambda b: header(b, lambda h: h.replace(b"__metadata__", b"__metadata2__")),
    "metadata that are no JSON": lambda b: header(b, lambda h: h.replace(b'"bands":"[', b'"bands":"{')),
    "overlapping tensors": lambda b: header(b, lambda h: h.replace(b'offsets":[0,', b'offsets":[4,')),
}


@pytest.mark.parametrize("change", FILES.values(), ids=FILES)
def test_what_is_no_safetensors_file_is_refused_and_not_run(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / tensors.shard_name("train", 0)
    tensors.save(path, {"images": np.ones((2, 1, 4, 4), np.float32), "labels": np.array([0, 1])}, {"bands": ["B02"]})
    path.write_bytes(change(path.read_bytes()))
    for load in (lambda: tensors.load(path), lambda: tensors.load_split(tmp_path, "train")):
        with pytest.raises(InputError, match="is not a safetensors file from this pipeline") as error:
            load()
        assert len(str(error.value).splitlines()) == 1
    assert not Path("harmed").exists()


def test_damaged_safetensors_file_is_read_or_refused_in_one_line(tmp_path):
    path = tmp_path / "m.safetensors"
    tensors.save(path, {"a": np.ones((2, 3), np.float32), "b": np.arange(4)}, {"bands": ["B02"], "classes": ["x", "y"]})
    whole, told = path.read_bytes(), []
    for number in range(300):
        path.write_bytes(damaged(whole, np.random.default_rng(number)))
        try:
            tensors.load(path)
        except InputError as error:
            told.append(str(error))
    assert all(len(message.splitlines()) == 1 for message in told)

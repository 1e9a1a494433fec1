import re

import pytest
from tiny import REPOSITORY

PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)


def read(name: str) -> str:
    return (REPOSITORY / name).read_text()


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall(read(name)))


def asked_for(name: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)", re.sub("(?m)^-.*", "", read(name)), re.MULTILINE))


def test_all_but_torch_is_hashed_at_the_version_that_is_pinned():
    every = pins("requirements.txt")
    assert pins("requirements-hashes.txt") == {name: pin for name, pin in every.items() if name != "torch"}
    assert every["torch"] == "2.13.0"
    for name in ("dask", "onnx", "remotes", "test"):
        extra = pins(f"requirements-{name}.txt")
        assert {package: pin for package, pin in extra.items() if every.get(package, pin) != pin} == {}


@pytest.mark.parametrize("name", ["hashes", "dask", "onnx", "remotes", "test"])
def test_every_pin_has_a_hash(name):
    blocks = re.split(r"\n(?=\S)", re.sub("(?m)^ *#.*\n?", "", read(f"requirements-{name}.txt")).strip())
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_each_direct_dependency_is_pinned_and_listed_with_its_licence():
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \|", read("SECURITY.md"), re.MULTILINE)) - {"package", "input"}
    extras = (f"requirements-{name}.in" for name in ("dask", "onnx", "remotes", "test"))
    direct = asked_for("requirements.in").union(*map(asked_for, extras))
    rows = {"servers", "archives", "tables", "tiles", "scenes", "points", "models", "parameters"}
    assert listed - rows == direct
    assert direct <= {package for name in ("", "-remotes", "-test") for package in pins(f"requirements{name}.txt")}

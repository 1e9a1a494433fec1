"""What `pip install .` installs works outside a clone."""

import os
import shutil
import subprocess
import sys

import pytest
from tiny import REPOSITORY, brighter_band

from landcover.models.weights import save


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the library and the script `landcover` in bin/, from a copy of what is installed."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    shutil.copytree(REPOSITORY / "landcover", source / "landcover")
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.in"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", folder / "site", source], check=True)
    return folder / "site"


def landcover(installed, folder, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, installed / "bin" / "landcover", *arguments]
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_scene_is_mapped_outside_a_clone(installed, tmp_path):
    network, metadata = brighter_band(patch_size=120)
    save(tmp_path / "mine.safetensors", network, metadata)
    done = landcover(installed, tmp_path, "predict", "sample", "--model", "mine.safetensors", "--out", "map")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "map").iterdir()} >= {"classes.tif", "map.png", "summary.json"}


def test_tables_are_compared_outside_a_clone(installed, tmp_path):
    for name, predicted in (("A.csv", "water"), ("B.csv", "forest")):
        rows = "".join(f"p{number},water,{predicted}\n" for number in range(30))
        (tmp_path / name).write_text(f"patch_id,actual,predicted\n{rows}")
    done = landcover(installed, tmp_path, "compare", "--base", "A.csv", "--head", "B.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Worse: accuracy -100.0 points")
    assert "Worse" in (tmp_path / "comparison.md").read_text()

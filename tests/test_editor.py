"""VS Code's settings and the dev container name what is there."""

import json
import re
import subprocess

import yaml
from tiny import REPOSITORY


def read(name: str) -> dict:
    return json.loads((REPOSITORY / name).read_text())


def test_the_container_is_set_up_by_what_the_repository_has():
    container = read(".devcontainer/devcontainer.json")
    assert container["image"] == yaml.safe_load((REPOSITORY / ".gitlab-ci.yml").read_text())["default"]["image"]
    (target,) = re.findall(r"make (\S+)", container["postCreateCommand"])
    subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, check=True)


def test_the_editor_finds_the_environment_that_make_creates():
    (venv,) = re.findall(r"^VENV := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert read(".vscode/settings.json") == {"python.defaultInterpreterPath": f"${{workspaceFolder}}/{venv}"}
    container = read(".devcontainer/devcontainer.json")
    assert container["remoteEnv"]["PATH"].startswith(f"${{containerWorkspaceFolder}}/{venv}/bin:")

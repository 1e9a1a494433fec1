"""VS Code's settings and the dev container name what is there."""

import json
import re
import subprocess

import yaml
from tiny import REPOSITORY


def read(name: str) -> dict:
    return json.loads((REPOSITORY / name).read_text())


def shell(command: str) -> None:
    subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, check=True)


def test_the_container_is_set_up_by_what_the_repository_has():
    container = read(".devcontainer/devcontainer.json")
    assert container["image"] == yaml.safe_load((REPOSITORY / ".gitlab-ci.yml").read_text())["default"]["image"]
    assert container["containerEnv"] == {"PIP_EXTRA_INDEX_URL": "${localEnv:PIP_EXTRA_INDEX_URL}"}  # of PyTorch's build
    (target,) = re.findall(r"make (\S+)", container["postCreateCommand"])
    shell(f"make --dry-run {target}")


def test_the_editor_finds_the_environment_that_make_creates():
    (venv,) = re.findall(r"^VENV := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert read(".vscode/settings.json") == {"python.defaultInterpreterPath": f"${{workspaceFolder}}/{venv}"}
    container = read(".devcontainer/devcontainer.json")
    assert container["remoteEnv"]["PATH"].startswith(f"${{containerWorkspaceFolder}}/{venv}/bin:")
    assert container["postCreateCommand"].startswith(f"rm -rf {venv} && make {venv}/")


def test_the_container_has_the_extensions_that_are_recommended():
    customizations = read(".devcontainer/devcontainer.json")["customizations"]
    assert customizations["vscode"]["extensions"] == read(".vscode/extensions.json")["recommendations"]

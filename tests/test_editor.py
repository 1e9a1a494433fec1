"""VS Code's settings and the dev container name what is there."""

import json
import re
import subprocess

import yaml
from tiny import REPOSITORY


def read(name: str) -> dict:
    return json.loads((REPOSITORY / name).read_text())


def shell(command: str) -> str:
    return subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


def test_the_container_is_set_up_by_what_the_repository_has():
    container = read(".devcontainer/devcontainer.json")
    assert container["image"] == yaml.safe_load((REPOSITORY / ".gitlab-ci.yml").read_text())["default"]["image"]
    setup = container["postCreateCommand"]
    (pin,) = re.findall(r"\$\((.*?)\)", setup)
    assert shell(pin).startswith("torch==")
    (target,) = re.findall(r"make (\S+)", setup)
    shell(f"make --dry-run {target}")


def test_the_editor_finds_the_environment_that_make_creates():
    (venv,) = re.findall(r"^VENV := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert read(".vscode/settings.json") == {"python.defaultInterpreterPath": f"${{workspaceFolder}}/{venv}"}
    container = read(".devcontainer/devcontainer.json")
    assert container["remoteEnv"]["PATH"].startswith(f"${{containerWorkspaceFolder}}/{venv}/bin:")
    assert f"venv --clear {venv} " in container["postCreateCommand"]


def test_the_container_has_the_extensions_that_are_recommended():
    customizations = read(".devcontainer/devcontainer.json")["customizations"]
    assert customizations["vscode"]["extensions"] == read(".vscode/extensions.json")["recommendations"]

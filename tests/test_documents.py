"""The commands in the documents exist, and take the arguments that the documents give them."""

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from unittest import mock

import dvc.cli
import pytest
import yaml
from tiny import REPOSITORY

DOCUMENTS = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted(REPOSITORY.glob("docs/*.md")),
    REPOSITORY / "benchmarks/README.md",
]
PARAMS, EXPERIMENTS = (yaml.safe_load((REPOSITORY / f"{name}.yaml").read_text()) for name in ("params", "experiments"))
NAMES = {*EXPERIMENTS, *(name for group in EXPERIMENTS.values() for name in group)}
ADDED = {"points", "fields", "few"}  # entries of `datasets` that a page has its reader add
OTHERS = {"cd", "cp", "git", "gto", "pip", "salloc", "srun"}  # programs that are not ours


def commands() -> list[str]:
    """The lines of all blocks without a language, without comments, each once."""
    pages = [path.read_text() for path in DOCUMENTS]
    blocks = [block for page in pages for block in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    lines = [part for line in lines for part in re.sub(r"\s+#.*", "", line).split(" && ")]
    return [line for line in dict.fromkeys(lines) if not re.match(r"[A-Z_]+=", line)]


def words_of(command: str) -> list[str]:
    return shlex.split(command.removesuffix("&"))


def of_program(*start: str) -> list[str]:
    return [command for command in commands() if words_of(command)[: len(start)] == list(start)]


def test_every_command_is_of_a_known_program():
    programs = {words_of(command)[0] for command in commands()}
    assert programs - OTHERS == {"make", "dvc", "python", "landcover"} & programs
    assert {"make", "dvc", "python"} <= programs


@pytest.mark.parametrize("command", of_program("make"))
def test_make_has_the_target_and_the_variables(command):
    _, target, *given = words_of(command)
    makefile = (REPOSITORY / "Makefile").read_text()
    assert target in re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    for name, value in (one.split("=", 1) for one in given):
        assert re.search(rf"^{name} :=", makefile, re.MULTILINE)
        if name in ("NAME", "GROUP"):
            assert value in NAMES
        if name == "ARGS":
            parse(target, value.split() + ["scene"] * (target == "predict"))


def parse(verb: str, arguments: list[str]) -> None:
    """Have `python -m landcover <verb>` parse its arguments, and no more."""
    original = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, given: list[str]) -> None:
        original(parser, given)
        sys.exit("parsed")

    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop), pytest.raises(SystemExit, match="parsed"):
        importlib.import_module(f"landcover.commands.{verb}").main(arguments)


@pytest.mark.parametrize("command", of_program("python", "-m", "landcover") + of_program("landcover"))
def test_our_command_takes_its_arguments(command):
    verb, *arguments = words_of(command)[1 if command.startswith("landcover") else 3 :]
    if verb == "worker":  # passes its arguments on to Dask
        return
    parse(verb, arguments)
    if verb == "experiment":
        names = [one for one in arguments[1:] if not one.startswith("-") and not one.isdigit()]
        assert set(names) <= NAMES | ADDED | set(PARAMS["datasets"])


@pytest.mark.parametrize("command", of_program("python", "-m"))
def test_the_module_exists(command):
    module = words_of(command)[2]
    assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("command", of_program("dvc"))
def test_dvc_takes_the_arguments_and_the_parameters_exist(command):
    given = dvc.cli.parse_args(words_of(command)[1:])
    for setting in getattr(given, "set_param", None) or []:
        key, value = setting.split("=", 1)
        section = PARAMS
        for part in key.split("."):
            assert part in section, key
            section = section[part]
        if key == "dataset":
            assert value in {*PARAMS["datasets"], *ADDED}


def test_requirements_that_are_installed_exist():
    for command in of_program("pip", "install", "-r"):
        assert (REPOSITORY / words_of(command)[3]).is_file()


# -- make


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["predict", "SCENE=a b (1).zip", "OUT=the 'map", "ARGS=--step 12"],
         ["predict", "a b (1).zip", "--out", "the 'map", "--step", "12"]),
        (["predict", "SCENE=https://h/a.tif?se=1&sig=s"], ["predict", "https://h/a.tif?se=1&sig=s"]),
        (["predict", "SCENE=Nodes(a.jp2)/$value", "OUT=$(x) `y` $$ #"],
         ["predict", "Nodes(a.jp2)/$value", "--out", "$(x) `y` $$ #"]),
        (["compare", "BASE=main"], ["compare", "--base", "main"]),
        (["experiment"], ["experiment", "run", ""]),
    ],
)  # fmt: skip
def test_make_passes_its_arguments_whole(tmp_path, arguments, called):
    """Names with spaces, and signed addresses, which it does not print; and no variables of Git's or Python's."""
    for name in ("Makefile", "requirements.txt", "requirements-hashes.txt"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/bash\n[ "$1" = -c ] || { printf "%s\\n" "$@" > called; env > variables; }\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / "installed").touch()
    foreign = {"GIT_DIR": "x", "GIT_INDEX_FILE": "x", "PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "2"}
    options = {"cwd": tmp_path, "env": os.environ | foreign, "capture_output": True, "text": True}
    done = subprocess.run(["make", "--no-print-directory", *arguments], **options)
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "called").read_text().splitlines() == ["-m", "landcover", *called]
    variables = {line.partition("=")[0] for line in (tmp_path / "variables").read_text().splitlines()}
    assert foreign.keys() & variables == set()
    assert {"LOGNAME", "PATH"} <= variables

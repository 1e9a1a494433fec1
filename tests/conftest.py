"""What the tests share: the tiny dataset, the default parameters, and ways to run a stage."""

import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import chdir, nullcontext, redirect_stderr, redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import yaml
from tiny import REPOSITORY, Dataset, merged, write_tile
from tqdm import tqdm

from landcover import cli, environment
from landcover.archives import archive
from landcover.synthetic import writer


def pytest_configure() -> None:
    """Before a test imports a numerical library."""
    cli.clear_environment()  # or the tests' commits could go to the user's own repository, as from a pre-push hook
    environment.pin("native")  # threads that wait for each other leave the cores to other tests
    # A job in the background of a script ignores Ctrl-C, and all that it starts does, too.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Eight patches of the classes 0 and 3, in data/patches/tiny."""
    return Dataset(tmp_path / "data" / "patches" / "tiny", [0, 3] * 4)


@pytest.fixture(scope="session")
def default_params() -> dict:
    """Those in params.yaml, but on the CPU, for the same results on any machine; test_gpu.py is for GPUs."""
    found = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    found["runtime"]["device"] = "cpu"
    return found


def python(folder: Path, *arguments: str, root: Path | str = REPOSITORY) -> subprocess.CompletedProcess:
    """Run Python in a folder, with the project's code, or with a copy below `root`."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def call(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run `python -m <program> ...` in a folder as `python` does, but in this process, which has imported torch."""
    main = import_module(f"{program}.__main__").main
    import torch

    out, errors, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", [program, *arguments]),
        mock.patch.object(cli, "imports", nullcontext),
        mock.patch.dict(os.environ),
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(errors),
        warnings.catch_warnings(record=True) as warned,
    ):
        for category in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):  # as outside of pytest
            warnings.simplefilter("ignore", category)
        try:
            cli.guard(main)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
            errors.write(f"{stop.code}\n" * isinstance(stop.code, str))
        finally:
            torch.set_num_threads(1)
            torch.set_deterministic_debug_mode("default")
    told = errors.getvalue() + "".join(f"{warning.message}\n" for warning in warned)
    return subprocess.CompletedProcess([program, *arguments], code, out.getvalue(), told)


@pytest.fixture
def run_stage(tmp_path: Path, default_params: dict) -> Callable[..., subprocess.CompletedProcess]:
    """Run `python -m stages <verb>` in the test's folder, with the default parameters changed as a test says.

    In processes of its own only if a launcher starts them.
    """

    def run(
        verb: str, *paths: str, params: dict | None = None, launcher: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(merged(default_params, params or {})))
        if launcher:
            return python(tmp_path, *launcher, "-m", "stages", verb, *paths)
        return call(tmp_path, "stages", verb, *paths)

    return run


# Runs commands in one process, which imports libraries once.
IN_TURN = """
import runpy, sys
for command in sys.argv[1:]:
    sys.argv = command.split()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def in_turn(tmp_path: Path, default_params: dict) -> Callable[..., subprocess.CompletedProcess]:
    """Run commands such as `stages <verb> <path>`, with changed default parameters, until one fails.

    In this process, or in one of their own which runs the code `before` first.
    """

    def run(*commands: str, params: dict, before: str = "") -> subprocess.CompletedProcess:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(merged(default_params, params)))
        if before:
            return python(tmp_path, "-c", before + IN_TURN, *commands)
        out = errors = ""
        for command in commands:
            done = call(tmp_path, *command.split())
            out, errors = out + done.stdout, errors + done.stderr
            if done.returncode:
                break
        return subprocess.CompletedProcess(commands, done.returncode, out, errors)

    return run


@pytest.fixture
def prepared(tmp_path, run_stage) -> Callable[[int, int, int], dict]:
    """Write the tensors of so many train, val and test patches, and give the parameters that they are of."""

    def prepare(train: int, val: int, test: int) -> dict:
        rng = np.random.default_rng(0)
        labels = rng.choice([0, 2, 3, 7], train + val + test).tolist()
        data = Dataset(tmp_path / "patches" / "small", labels)
        for patch_id, label in zip(data.ids, labels, strict=True):
            for band in data.bands:
                pixels = rng.gamma(4, 100 * (1 + label), (120, 120)).astype(np.uint16) + 1
                write_tile(data.tile(patch_id, band), pixels)
        split = {"method": "order", "train": train, "val": val, "test": test}
        params = {"dataset": "small", "datasets": {"small": {"source": "x", "split": split}}, "bands": ["B02", "B08"]}
        done = run_stage("preprocess", "patches", "tensors", "shares", "data.json", params=params)
        assert done.returncode == 0, done.stderr
        return params

    return prepare


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    """A terminal, to which progress bars show each of their steps."""
    found = Terminal()
    for module in (archive, writer):
        monkeypatch.setattr(module, "tqdm", partial(tqdm, file=found, mininterval=0))
    return found


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The tests run in several processes, which would fight over the cores."""
    import torch

    torch.set_num_threads(1)

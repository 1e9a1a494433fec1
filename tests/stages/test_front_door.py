import errno
import json
import os
import platform
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import python
from tiny import REPOSITORY

from landcover import cli, files
from landcover.environment import AVX2
from stages.__main__ import STAGES


def test_bad_input_ends_in_one_line_and_exit_1(tmp_path, default_params):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(default_params | {"bands": ["B77"]}))
    done = python(tmp_path, "-m", "stages", "unpack", "data/archive", "data/patches")
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: bands.0 = 'B77'")
    assert done.stderr.count("\n") == 1


def test_a_missing_file_ends_in_one_line_and_exit_1(run_stage):
    done = run_stage("unpack", "data/archive", "data/patches")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "data/archive: No such file or directory" in done.stderr


def test_wrong_arguments_show_the_usage(run_stage):
    done = run_stage("unpack", "data/archive")
    assert done.returncode == 1
    assert "usage: python -m stages unpack ARCHIVE_PATH PATCHES_DIR" in done.stderr
    done = run_stage("unpak")
    assert done.returncode == 2
    assert "invalid choice: 'unpak' (choose from" in done.stderr
    done = run_stage("download", "-h")  # not taken for the one path of this stage
    assert done.returncode == 0
    assert (
        "{download,unpack,preprocess,folds,baseline,applicability,pretrained,train,repeat,evaluate,report}"
        in done.stdout
    )


def test_the_front_door_knows_every_stage():
    stages = {path.stem for path in (REPOSITORY / "stages").glob("[a-z]*.py")}
    assert set(STAGES) == stages
    assert list(yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]) == list(STAGES)


PROBE = """
import json, os, sys
def {stage}(*, runtime):
    numerical = [name for name in ("numpy", "torch") if name in sys.modules]
    variables = {{name: os.environ.get(name) for name in ("ATEN_CPU_CAPABILITY", "MKL_CBWR")}}
    print(json.dumps([numerical, variables]))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the pin is for x86-64")
@pytest.mark.parametrize("instruction_set", ["avx2", "native"])
def test_the_instruction_set_is_pinned_before_a_numerical_library_is_imported(
    tmp_path, default_params, instruction_set
):
    """A stage of ours in place of report tells what it finds."""
    shutil.copytree(REPOSITORY / "stages", tmp_path / "stages")
    (tmp_path / "landcover").symlink_to(REPOSITORY / "landcover")
    (tmp_path / "stages" / "report.py").write_text(PROBE.format(stage="report"))
    params = default_params | {"runtime": default_params["runtime"] | {"instruction_set": instruction_set}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    environment = {name: value for name, value in os.environ.items() if name not in AVX2}
    done = subprocess.run(
        [sys.executable, "-m", "stages", "report"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    numerical, variables = json.loads(done.stdout)
    assert numerical == []
    expected = AVX2 if instruction_set == "avx2" else {}
    assert variables == {name: expected.get(name) for name in ("ATEN_CPU_CAPABILITY", "MKL_CBWR")}


def test_a_bug_shows_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.guard(lambda: 1 / 0)


def test_an_interrupt_exits_130_and_says_how_to_go_on(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        cli.guard(interrupted)
    assert stop.value.code == 130
    assert capsys.readouterr() == ("", "interrupted: run the same command again; finished work is kept\n")


def test_a_failed_write_names_the_file(tmp_path):
    def write():
        with files.replacing(tmp_path / "model"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(SystemExit, match=rf"^error: {tmp_path}/model: No space left on device: fix this"):
        cli.guard(write)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_ends_in_one_line_with_a_remedy(error):
    def greedy():
        raise error

    with pytest.raises(SystemExit, match=r"^error: out of memory: lower train\.batch_size"):
        cli.guard(greedy)
    with pytest.raises(RuntimeError, match="size mismatch"):
        cli.guard(lambda: (_ for _ in ()).throw(RuntimeError("size mismatch")))


def test_windows_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match=r"^error: .*: run it in WSL$"):
        cli.run(lambda: None)


@pytest.mark.parametrize(
    ("scripts", "python", "stale"),
    [
        ("{folder}/.venv/bin/python", "true", False),
        ("/elsewhere/.venv/bin/python", "true", True),
        (None, "true", False),
        ("{folder}/.venv/bin/python", "false", True),
    ],
    ids=["whole", "moved", "begun", "of another Python"],
)
def test_make_begins_a_virtual_environment_anew_that_does_not_run_here(tmp_path, scripts, python, stale):
    (tmp_path / "Makefile").write_text((REPOSITORY / "Makefile").read_text())
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(shutil.which(python))
    if scripts:
        (tmp_path / ".venv" / "bin" / "dvc").write_text(f"#!{scripts.format(folder=tmp_path)}\n")
    for name in ("requirements.txt", "requirements-hashes.txt", ".venv/installed"):
        (tmp_path / name).touch()
    done = subprocess.run(["make", "--dry-run", "repro"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ("rm -rf .venv" in done.stdout) == stale
    assert ("-m venv .venv" in done.stdout) == stale


def test_make_takes_its_arguments_from_the_command_line_alone(monkeypatch):
    for name in ("NAME", "OUT"):  # WSL sets NAME
        monkeypatch.setenv(name, "elsewhere")

    def planned(*arguments: str) -> str:
        command = ["make", "--dry-run", "--no-print-directory", *arguments]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout

    assert "elsewhere" not in planned("predict", "SCENE=sample") + planned("experiment")

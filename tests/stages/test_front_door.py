import errno
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from tiny import REPOSITORY

from landcover import cli
from landcover.environment import AVX2
from stages.__main__ import STAGES


def test_bad_input_ends_in_one_line_and_exit_1(run_stage):
    done = run_stage("unpack", "data/archive", "data/patches", params={"bands": ["B77"]})
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
    assert "{download,unpack,preprocess,baseline,train,repeat,evaluate,report}" in done.stdout


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
    def buggy():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.guard(buggy)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ((), "interrupted: run the same command again; finished work is kept\n"),
        (
            ("training will resume after epoch 3",),
            "interrupted: run the same command again; training will resume after epoch 3\n",
        ),
    ],
)
def test_an_interrupt_exits_130_and_says_how_to_go_on(capsys, reason, told):
    def interrupted():
        raise KeyboardInterrupt(*reason)

    with pytest.raises(SystemExit) as stop:
        cli.guard(interrupted)
    assert stop.value.code == 130
    assert capsys.readouterr() == ("", told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["unpack", "evaluate"])
def test_an_interrupt_at_any_moment_exits_130_with_no_more_than_a_line(default_params, tmp_path, stage, number):
    """From its first line of code on, imports included; before, Python itself ends by the signal."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(default_params))
    for wait in (0.03, 0.06, 0.1, 0.2, 0.4, 0.8):
        process = subprocess.Popen(
            [sys.executable, "-m", "stages", stage, *"abcdef"[: 2 if stage == "unpack" else 6]],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(wait)
        process.send_signal(number)
        words = process.communicate(timeout=60)[1]  # a stage that waits for its helpers for good would hang
        # Too late for the signal, the stage has ended for want of its input; too early, it has not begun.
        told = "interrupted: run the same command again; finished work is kept\n"
        assert (process.returncode, words) in ((130, ""), (130, told), (1, words), (-number, words))


def test_an_interrupt_of_an_import_is_an_interrupt():
    def interrupted():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as stop:
            raise ImportError("initialization failed") from stop

    with pytest.raises(SystemExit) as stop:
        cli.guard(interrupted)
    assert stop.value.code == 130
    with pytest.raises(ModuleNotFoundError):
        cli.guard(lambda: __import__("no_such_module"))


def test_an_interrupt_that_python_drops_comes_again():
    """In the callback of a weak reference, an exception can only be dropped; other ones are still shown."""
    dropped = (
        "import signal, time, weakref",
        "from landcover import cli",
        "def command():",
        "    with cli.work():",
        "        for callback in (lambda _: 1 / 0, lambda _: signal.raise_signal(signal.SIGINT)):",
        "            watched = set()",
        "            watcher = weakref.ref(watched, callback)",
        "            del watched",
        "        time.sleep(30)",
        "cli.run(command)",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(dropped)], cwd=REPOSITORY, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 130
    assert done.stderr.count("Traceback") == done.stderr.count("ZeroDivisionError") == 1
    assert done.stderr.endswith("interrupted: run the same command again; finished work is kept\n")


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


def test_a_stage_waits_for_another_in_its_folder(tmp_path, default_params):
    """As after the death of a dvc whose stage goes on."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(default_params))
    command = [sys.executable, "-m", "stages", "unpack", "archive", "patches"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    os.mkfifo(tmp_path / "archive")
    first, second = (
        subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)
    )
    (told,), *_ = select.select([first.stderr, second.stderr], [], [], 30)
    waiting, other = (first, second) if told is first.stderr else (second, first)
    assert waiting.stderr.readline().startswith("waiting for another stage in this folder to end")
    other.kill()
    (tmp_path / "archive").unlink()
    assert "archive: No such file or directory" in waiting.communicate()[1]


def test_a_stage_takes_its_turn_before_it_imports(tmp_path, default_params):
    """Otherwise a later stage may overtake one whose dvc was killed during its imports, and be overwritten by it."""
    shutil.copytree(REPOSITORY / "stages", tmp_path / "stages")
    (tmp_path / "landcover").symlink_to(REPOSITORY / "landcover")
    probe = "import fcntl, os\nfcntl.flock(os.open('.', os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    (tmp_path / "stages" / "report.py").write_text(probe)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(default_params))
    done = subprocess.run([sys.executable, "-m", "stages", "report"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert os.strerror(errno.EAGAIN) in done.stderr  # the folder is locked


def test_windows_is_told_in_one_line():
    without = "import sys, runpy; sys.modules['fcntl'] = None; runpy.run_module('stages', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", without], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.endswith("run it in WSL\n")


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
        command = ["make", "--dry-run", *arguments]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout

    assert "elsewhere" not in planned("predict", "SCENE=sample") + planned("experiment")
    assert "--out here" in planned("predict", "SCENE=sample", "OUT=here")

from pathlib import Path

import pytest

from stages import cli
from stages.benge import Bands
from stages.errors import InputError
from stages.params import Runtime


def test_arguments_come_from_the_sections_of_their_names(default_params):
    def stage(path: Path, *, bands: Bands, runtime: Runtime):
        raise AssertionError("not to be called")

    found = cli.arguments(stage, default_params)
    assert found["bands"] == ["B02", "B03", "B04", "B08"]
    assert found["runtime"].workers == default_params["runtime"]["workers"]
    with pytest.raises(InputError, match="bands: is missing"):
        cli.arguments(stage, {})


def test_bad_input_ends_in_one_line_and_exit_1(run_stage):
    done = run_stage("unpack", "data/archive.tar.gz", "data/patches", params={"bands": ["B77"]})
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: bands.0 = 'B77'")
    assert done.stderr.count("\n") == 1


def test_a_missing_file_ends_in_one_line_and_exit_1(run_stage):
    done = run_stage("unpack", "data/archive.tar.gz", "data/patches")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "data/archive.tar.gz: No such file or directory" in done.stderr


def test_wrong_arguments_show_the_usage(run_stage):
    done = run_stage("unpack", "data/archive.tar.gz")
    assert done.returncode == 1
    assert "usage: python -m stages.unpack ARCHIVE_PATH PATCHES_DIR" in done.stderr
    done = run_stage("download", "-h")  # not taken for the one path of this stage
    assert done.returncode == 0
    assert "usage: python -m stages.download ARCHIVE_PATH" in done.stdout


def test_a_bug_shows_its_traceback():
    def buggy():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.guard(buggy)


def test_an_interrupt_exits_130():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        cli.guard(interrupted)
    assert stop.value.code == 130

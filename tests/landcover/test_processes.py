import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from tiny import REPOSITORY

from landcover import processes
from landcover.errors import InputError


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_helper_is_told_in_one_line():
    with pytest.raises(InputError, match="one of 2 helper processes was killed"), processes.helpers(2) as pool:
        pool.submit(kill_itself).result()


def test_a_failure_does_not_wait_for_the_helpers_jobs():
    start = time.monotonic()

    def fail() -> None:
        with processes.helpers(2) as pool:
            for _ in range(9):
                pool.submit(time.sleep, 60)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert time.monotonic() - start < 30


BUSY = """
import os, time
from landcover import cli, processes
def work():
    with processes.helpers(2) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(50)}, flush=True)
        for job in [pool.submit(time.sleep, SECONDS) for _ in range(9)]:
            job.result()
        time.sleep(60)
cli.run(work)
"""


def start_busy(seconds: float) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A program with two busy helpers, in a process group of its own, as in a terminal."""
    program = subprocess.Popen(
        [sys.executable, "-c", BUSY.replace("SECONDS", str(seconds))],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    program.stdout.readline()
    return program, psutil.Process(program.pid).children()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_all", [True, False])
def test_an_interrupt_ends_a_program_and_its_helpers_with_one_line(number, to_all):
    program, helpers = start_busy(60)
    (os.killpg if to_all else os.kill)(program.pid, number)
    _, errors = program.communicate(timeout=30)
    assert (program.returncode, errors) == (130, "interrupted: run the same command again; finished work is kept\n")
    assert psutil.wait_procs(helpers, timeout=10)[1] == []


@pytest.mark.parametrize("seconds", [0, 60], ids=["idle", "busy"])
def test_helpers_end_when_their_parent_is_killed(seconds):
    program, helpers = start_busy(seconds)
    program.kill()
    assert len(helpers) == 2
    assert psutil.wait_procs(helpers, timeout=30)[1] == []

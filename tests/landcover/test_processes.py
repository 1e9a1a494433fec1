import os
import signal
from concurrent.futures import Executor

import pytest

from landcover import processes
from landcover.errors import InputError


def kill_one(pool: Executor) -> None:
    pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL)
    for _ in range(10_000):  # until the pool notices
        pool.submit(os.getpid).result()


def test_a_killed_helper_is_told_in_one_line():
    with pytest.raises(InputError, match="one of 2 helper processes was killed"), processes.helpers(2) as pool:
        kill_one(pool)

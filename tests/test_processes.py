import os
import signal

import pytest

from stages import processes
from stages.errors import InputError


def test_helpers_call_what_they_import():
    with processes.importing("colorsys", 1) as pool:
        assert pool.submit(processes.call, "math", "gcd", 12, 18).result() == 6


def test_a_killed_helper_is_told_in_one_line():
    with pytest.raises(InputError, match="a helper process was killed"), processes.importing("math", 1) as pool:
        pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL).result()

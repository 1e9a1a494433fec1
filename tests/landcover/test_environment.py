import os
from unittest import mock

import pytest

from landcover import environment


def test_matplotlib_needs_no_backend_of_the_user():
    with mock.patch.dict(os.environ, MPLBACKEND="nonsense"):
        environment.pin("native")
        assert os.environ["MPLBACKEND"] == "agg"


@pytest.mark.parametrize(
    ("own", "count"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, None)],
    ids=["default", "own count", "own policy"],
)
def test_threads_wait_as_the_user_says_or_spin_briefly(own, count):
    with mock.patch.dict(os.environ, own):
        for name in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} - set(own):
            os.environ.pop(name, None)
        environment.pin("native")
        assert os.environ.get("GOMP_SPINCOUNT") == count

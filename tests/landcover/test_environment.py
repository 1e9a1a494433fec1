import os
from unittest import mock

from landcover import environment


def test_matplotlib_needs_no_backend_of_the_user():
    with mock.patch.dict(os.environ, MPLBACKEND="nonsense"):
        environment.pin("native")
        assert os.environ["MPLBACKEND"] == "agg"

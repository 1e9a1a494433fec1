import subprocess
import sys

import pytest

from landcover import api
from landcover.errors import InputError


def test_the_import_is_cheap():
    probe = "import sys; from landcover import api; print({'numpy', 'torch', 'pydantic'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout == "set()\n"


def test_every_public_name_is_documented():
    assert [name for name in api.__all__ if not getattr(api, name).__doc__] == []


def test_outside_a_clone_the_error_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is not in a clone; change to one, for example with %cd landcover"):
        api.look()

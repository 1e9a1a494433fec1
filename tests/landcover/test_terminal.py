import io
import sys

import pytest

from landcover.terminal import showing


def test_a_terminal_shows_what_lasts_until_it_ends(monkeypatch, terminal):
    monkeypatch.setattr(sys, "stderr", terminal)
    with showing("boosting"):
        assert terminal.getvalue() == "boosting ..."
    assert terminal.getvalue() == "boosting ...\r\033[K"
    with pytest.raises(ZeroDivisionError), showing("dividing"):
        raise ZeroDivisionError
    assert terminal.getvalue().endswith("dividing ...\r\033[K")


def test_a_file_does_not(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with showing("boosting"):
        pass
    assert sys.stderr.getvalue() == ""

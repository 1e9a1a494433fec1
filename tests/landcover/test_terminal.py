import io
import sys

import pytest

from landcover.terminal import progress, showing


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


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    """Every second epoch here, by a clock that each epoch moves on."""
    seconds = iter(range(0, 1000, 20))
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress(range(6), desc="train", unit="epoch") as bar:
        for epoch in bar:
            now[0] = next(seconds)
            bar.set_postfix(loss=epoch, refresh=False)
    lines = sys.stderr.getvalue().splitlines()
    assert [line.split(" [")[0] for line in lines] == ["train: 3/6", "train: 5/6"]
    assert lines[0].endswith(", loss=2]")


def test_a_log_gets_no_line_of_work_that_is_soon_done(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(progress(range(3), desc="train")) == [0, 1, 2]
    assert sys.stderr.getvalue() == ""

import os
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


def test_an_experiment_is_read_from_the_clone_of_the_notebook(tmp_path, monkeypatch):
    """In a hook that runs notebooks, Git's variables name another repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=clean, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def run(*command: str) -> None:
        assert command[:2] == ("dvc", "exp")
        commit = git("rev-parse", "HEAD")
        git("update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/mine", commit)

    clean = dict(os.environ)
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "headline.json").write_text('{"accuracy": 0.5}')
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "_run", run)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))
    assert api.train("mine") == {"accuracy": 0.5}

"""The small files of the repository at a commit, in an experiment, or in the workspace, read through Git."""

import io
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from landcover.errors import CHOICES, InputError, few

WORKSPACE = "workspace"
NO = 1  # git's exit code for "no such thing"; a higher one is a failure
ACCEPT = "Accept-Regression"  # the trailer in a commit's message: Accept-Regression: <reason>
MAIN_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


def git(*arguments: str) -> str | None:
    """What git prints, without the final newline; None if it exits with NO.

    Raises:
        InputError: git fails; says why.
    """
    output = _git(*arguments)
    return None if output is None else output.decode(errors="replace").rstrip("\n")


def _git(*arguments: str, fed: bytes | None = None) -> bytes | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, input=fed, env=os.environ | {"LC_ALL": "C"})
    except FileNotFoundError:
        raise InputError("git is not installed; install it and run again") from None
    reason = " ".join(done.stderr.decode(errors="replace").split())
    if "not a git repository" in reason:
        raise InputError("this folder is not in a Git repository, as a ZIP from GitHub is not; git clone the project")
    if done.returncode > NO and reason:
        raise InputError(f"git {arguments[0]}: {reason}; fix that and run again")
    return done.stdout if done.returncode == 0 else None


def _demand_history(missing: str) -> None:
    """Refuse a shallow clone, in which what is missing may be only cut off."""
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise InputError(
            f"{missing} in this clone, which is shallow; fetch the whole history and all branches, by git fetch "
            "--unshallow origin '+refs/heads/*:refs/remotes/origin/*', or in CI by the depth of its checkout"
        )


def merge_base() -> str:
    """The merge base with the main branch, which a pull request compares with.

    Raises:
        InputError: there is none; says what to fetch or to name.
    """
    for branch in MAIN_BRANCHES:
        if git("rev-parse", "--verify", "--quiet", branch) is not None:
            if (commit := git("merge-base", "HEAD", branch)) is None:
                _demand_history(f"no common ancestor with {branch}")
                raise InputError(f"no common ancestor with {branch}; give a revision with --base")
            return commit
    missing = f"none of {', '.join(MAIN_BRANCHES)} exists"
    _demand_history(missing)
    raise InputError(
        f"{missing}; give the revision that this work began from: make compare BASE=<revision>, or --base <revision>"
    )


def accepted_regression(base: "Revision", head: "Revision") -> str | None:
    """The reasons that commits between two revisions give for a regression, in a trailer; None if none does."""
    trailer = f"--format=%(trailers:key={ACCEPT},valueonly)"
    commits = "..".join(side.commit or "HEAD" for side in (base, head))
    return "; ".join(filter(None, (git("log", trailer, commits) or "").splitlines())) or None


class Revision:
    """A commit, tag, branch or experiment by name, or the current files of the workspace.

    Raises:
        InputError: there is no such revision.
    """

    def __init__(self, name: str):
        self.name, self.commit = name, None
        if name != WORKSPACE:
            # DVC keeps an experiment as a commit under refs/exps/<xx>/<baseline>/<name>; of several, the newest counts.
            newest = ("for-each-ref", "--sort=-committerdate", "--format=%(objectname)", f"refs/exps/*/*/{name}")
            experiments = [] if re.search(r"[*?\[]", name) else (git(*newest) or "").split()
            self.commit = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") or next(iter(experiments), None)
            if self.commit is None:
                _demand_history(f"no revision or experiment '{name}'")
                branches = git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes")
                experiments = git("for-each-ref", "--format=%(refname:lstrip=-1)", "refs/exps/*/*/*")
                names = few([WORKSPACE, "HEAD", *f"{branches}\n{experiments}".split()], CHOICES)
                raise InputError(f"no revision or experiment '{name}'; choose from {names}, or a commit")

    def __str__(self) -> str:
        if self.commit is None:
            return f"the workspace on {git('rev-parse', '--short=7', 'HEAD')}"
        short = self.commit[:7]
        return short if self.commit.startswith(self.name) else f"{self.name} ({short})"

    def read(self, path: str) -> bytes:
        """The content of a file tracked by Git.

        Raises:
            InputError: the revision has no such file.
        """
        if self.commit is None and Path(path).is_file():
            return Path(path).read_bytes()
        # Relative to this folder, which may lie below the top of the repository.
        if self.commit is None or not git("ls-tree", self.commit, path):
            raise InputError(f"{self} has no {path}; run dvc repro there and commit the result")
        return _git("show", f"{self.commit}:./{path}")

    def has(self, path: str) -> bool:
        try:
            return bool(self.read(path))
        except InputError:
            return False

    def contents(self, paths: Sequence[str]) -> dict[str, bytes]:
        """By path, the content of all files that are or lie below `paths`, and that Git has or does not ignore."""
        if self.commit is None:
            listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths) or b""
            names = {Path(name) for name in listed.decode().split("\0") if name}
            return {path.as_posix(): path.read_bytes() for path in names if path.is_file()}
        listed = (_git("ls-tree", "-r", "-z", self.commit, "--", *paths) or b"").decode().split("\0")
        # A line is '100644 blob <hash><tab><path>'; cat-file answers each hash with '<hash> blob <size>' and the bytes.
        blobs = dict(reversed(line.split("\t")) for line in listed if " blob " in line)
        blobs = {path: facts.split()[2] for path, facts in blobs.items()}
        answer = io.BytesIO(_git("cat-file", "--batch", fed="".join(f"{one}\n" for one in blobs.values()).encode()))
        return {path: answer.read(int(answer.readline().split()[2]) + 1)[:-1] for path in blobs}

    def _parsed(self, path: str, parse) -> Any:
        try:
            return parse(self.read(path))
        except (ValueError, yaml.YAMLError) as error:
            raise InputError(f"{self}: {path} cannot be read ({' '.join(str(error).split())})") from None

    def json(self, path: str) -> Any:
        return self._parsed(path, json.loads)

    def yaml(self, path: str) -> Any:
        return self._parsed(path, yaml.safe_load)

    def csv(self, path: str) -> pd.DataFrame:
        return self._parsed(path, lambda content: pd.read_csv(io.BytesIO(content)))

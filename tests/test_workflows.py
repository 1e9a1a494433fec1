"""Workflows: what they may do, and the comment on a pull or merge request: one, found by its marker, whoever else
comments. `gh` and `curl` are ours.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tiny import REPOSITORY

MARKER = "<!-- comparison of land-cover models -->"
BOT = "github-actions[bot]"
OTHERS = [
    {"id": 1, "user": {"login": BOT}, "body": "a linter's"},
    {"id": 2, "user": {"login": "someone"}, "body": f"{MARKER} in a quotation"},
]
OURS = {"id": 3, "user": {"login": BOT}, "body": f"{MARKER}\n# Comparison"}
PAGE = """**Gate: passed**, accuracy better.

| ![a before](comparison/before_a.png) | ![a after](comparison/after_a.png) |
![Fixed patches](comparison/fixed.png)
"""
# Both answer questions by what is there, fail if `down` is, and note what else they are told.
GH = """[ ! -e down ] || exit 1
case "$*" in
*/pulls*) jq -r "${@: -1}" < pulls.json;;
*--paginate*) jq -r "${@: -1}" < comments.json;;
*) echo "$*" >> told;;
esac"""
CURL = """[ ! -e down ] || exit 22
case "$*" in *per_page*) cat comments.json;; *) echo "${@:6}" >> told;; esac"""
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (REPOSITORY / ".github/workflows").glob("*.yml")}
GITLAB = yaml.safe_load((REPOSITORY / ".gitlab-ci.yml").read_text())
GITHUB_URL, GITLAB_URL = "https://host/o/r", "https://host/o/r/-"
NO_VERDICT = "**No verdict** on h: the run failed before the comparison. [Its log](https://job)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout of .ci beside what the hosts are asked for."""
    for name, body in (("gh", GH), ("curl", CURL)):
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "comment", tmp_path / ".ci")
    (tmp_path / "comparison.md").write_text(PAGE)
    return tmp_path


def run(folder: Path, script: str, **variables: str) -> int:
    """Run a step as the hosts do."""
    env = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"} | variables
    return subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=folder, env=env).returncode


def told(folder: Path) -> str | None:
    """What the host was told."""
    return (folder / "told").read_text().strip() if (folder / "told").exists() else None


def demand_comment(folder: Path, project: str) -> None:
    """The page, with those of its pictures that Git has."""
    comment = (folder / "comment.md").read_text().splitlines()
    assert comment[:3] == [MARKER, "**Gate: passed**, accuracy better.", ""]
    raw = f"{project}/raw"
    assert comment[3] == f"| ![a before]({raw}/b/reports/a.png) | ![a after]({raw}/h/reports/a.png) |"
    assert comment[4] == ""
    assert comment[5] == f"[How to read this]({project}/blob/h/docs/comparison.md#how-to-read-a-comparison)"
    assert comment[6].startswith("[All pictures, and the whole page](https://")


# -- GitHub


def step(workflow: str, name: str) -> str:
    (job,) = WORKFLOWS[workflow]["jobs"].values()
    return next(step["run"] for step in job["steps"] if step.get("name") == name)


def comment_on_github(folder: Path, comments: list[dict], head: str = "h") -> int:
    """The workflow that comments, after a run of `compare` that left from-compare/comment.md, or nothing."""
    (folder / "comparison.md").unlink(missing_ok=True)
    (folder / "comments.json").write_text(json.dumps(comments))
    (folder / "pulls.json").write_text(json.dumps([{"number": 7, "head": {"sha": head}}]))
    variables = {"GITHUB_REPOSITORY": "o/r", "HEAD": "h", "BRANCH": "o:mine", "PROJECT": GITHUB_URL}
    return run(folder, step("comment", "Comment"), RUN="https://job", **variables)


POST = "api --silent --method POST repos/o/r/issues/7/comments --field body=@comment.md"
PATCH = "api --silent --method PATCH repos/o/r/issues/comments/3 --field body=@comment.md"
needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="stands in for gh's own")


@needs_jq
@pytest.mark.parametrize(("comments", "expected"), [(OTHERS, POST), ([*OTHERS, OURS], PATCH)])
def test_github(folder, comments, expected):
    variables = {"GITHUB_STEP_SUMMARY": "summary", "GITHUB_RUN_ID": "1"}
    assert run(folder, step("compare", "Job summary"), BASE="b", HEAD="h", PROJECT=GITHUB_URL, **variables) == 0
    assert (folder / "summary").read_text() == (folder / "comment.md").read_text()
    (folder / "from-compare").mkdir()
    (folder / "comment.md").rename(folder / "from-compare" / "comment.md")
    assert comment_on_github(folder, comments) == 0
    assert told(folder) == expected
    demand_comment(folder, GITHUB_URL)


@needs_jq
@pytest.mark.parametrize("text", [None, "Buy now\n"])
def test_after_a_run_without_a_page_the_old_verdict_does_not_stand(folder, text):
    if text:
        (folder / "from-compare").mkdir()
        (folder / "from-compare" / "comment.md").write_text(text)
    assert comment_on_github(folder, [OURS]) == 0
    assert told(folder) == PATCH
    assert (folder / "comment.md").read_text().splitlines() == [MARKER, NO_VERDICT]


@needs_jq
def test_a_run_of_an_older_commit_is_not_shown(folder):
    assert comment_on_github(folder, [OURS], head="newer") == 0
    assert told(folder) is None


@needs_jq
def test_github_that_does_not_answer_gets_no_second_comment(folder):
    (folder / "down").touch()
    assert comment_on_github(folder, [OURS]) != 0
    assert told(folder) is None


def test_a_branch_without_a_base_is_compared_with_nothing(folder):
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    found = step("compare", "Where the branch left its target")
    assert run(folder, found, BASE_BRANCH="origin/main", GITHUB_OUTPUT="output") != 0
    assert not (folder / "output").exists()


def test_code_of_a_pull_request_finds_no_token_that_may_write():
    for name, workflow in WORKFLOWS.items():
        events = workflow[True]  # YAML's `on`
        if "pull_request" in events:
            assert workflow["permissions"] == {"contents": "read"}, name
        assert "pull_request_target" not in events, name
        for one in (one for job in workflow["jobs"].values() for one in job["steps"] if "uses" in one):
            assert re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", one["uses"]), name
            if one["uses"].startswith("actions/checkout@"):
                assert one["with"]["persist-credentials"] is False, name
                assert "pull_request" in events or "ref" not in one["with"], name


def test_runners_without_a_gpu_install_no_cuda():
    index = "https://download.pytorch.org/whl/cpu"
    assert GITLAB["variables"]["PIP_EXTRA_INDEX_URL"] == index
    for name in ("test", "compare"):
        assert [job["env"]["PIP_EXTRA_INDEX_URL"] for job in WORKFLOWS[name]["jobs"].values()] == [index]


# -- GitLab


def comment_on_gitlab(folder: Path, comments: list[dict]) -> int:
    (script,) = GITLAB["compare"]["after_script"]
    (folder / "comments.json").write_text(json.dumps(comments))
    variables = {"CI_API_V4_URL": "api", "CI_MERGE_REQUEST_PROJECT_ID": "1", "CI_MERGE_REQUEST_IID": "7"}
    variables |= {"CI_MERGE_REQUEST_DIFF_BASE_SHA": "b", "CI_COMMIT_SHA": "h", "CI_PROJECT_URL": "https://host/o/r"}
    variables |= {"REPORT_TOKEN": "t", "CI_JOB_URL": "https://job", "CI_JOB_STATUS": "failed"}
    return run(folder, script, **variables)


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        (OTHERS[:1], "--output /dev/null --form body=<comment.md api/projects/1/merge_requests/7/notes"),
        (
            [OTHERS[0], OURS],
            "--request PUT --output /dev/null --form body=<comment.md api/projects/1/merge_requests/7/notes/3",
        ),
    ],
)
def test_gitlab(folder, comments, expected):
    assert comment_on_gitlab(folder, comments) == 0
    assert told(folder) == expected
    demand_comment(folder, GITLAB_URL)


def test_gitlab_after_a_run_without_a_page(folder):
    (folder / "comparison.md").unlink()
    assert comment_on_gitlab(folder, [OURS]) == 0
    assert told(folder).startswith("--request PUT ")
    assert (folder / "comment.md").read_text().splitlines() == [MARKER, NO_VERDICT]


def test_gitlab_that_does_not_answer_gets_no_second_comment(folder):
    (folder / "down").touch()
    assert comment_on_gitlab(folder, [OURS]) != 0
    assert told(folder) is None

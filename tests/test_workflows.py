"""The comment on a pull or merge request: one, found by its marker, whoever else comments. `gh` and `curl` are ours."""

import json
import os
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
# Both answer a question for comments by what is there, and note what else they are told.
GH = """case "$*" in *--paginate*) jq -r "${@: -1}" < comments.json;; *) echo "$*" >> told;; esac"""
CURL = """case "$*" in *per_page*) cat comments.json;; *) echo "${@:6}" >> told;; esac"""


def run(folder: Path, comments: list[dict], script: str, project: str, **variables: str) -> str:
    """What is told to the host, by a step of the workflow."""
    for name, body in (("gh", GH), ("curl", CURL)):
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    (folder / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "comment", folder / ".ci")
    (folder / "comparison.md").write_text(PAGE)
    (folder / "comments.json").write_text(json.dumps(comments))
    env = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"} | variables
    subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=folder, env=env, check=True)
    comment = (folder / "comment.md").read_text().splitlines()
    assert comment[:3] == [MARKER, "**Gate: passed**, accuracy better.", ""]
    # Of the pictures, those that Git has.
    raw = f"{project}/raw"
    assert comment[3] == f"| ![a before]({raw}/b/reports/a.png) | ![a after]({raw}/h/reports/a.png) |"
    assert comment[4] == ""
    assert comment[5] == f"[How to read this]({project}/blob/h/docs/comparison.md#how-to-read-a-comparison)"
    assert comment[6].startswith("[All pictures, and the whole page](https://")
    return (folder / "told").read_text().strip()


@pytest.mark.skipif(not shutil.which("jq"), reason="stands in for gh's own")
@pytest.mark.parametrize(
    ("comments", "told"),
    [
        (OTHERS, "pr comment 7 --body-file comment.md"),
        ([*OTHERS, OURS], "api --silent --method PATCH repos/o/r/issues/comments/3 --field body=@comment.md"),
    ],
)
def test_github(tmp_path, comments, told):
    steps = yaml.safe_load((REPOSITORY / ".github/workflows/compare.yml").read_text())["jobs"]["compare"]["steps"]
    script = "\n".join(step["run"] for step in steps if step.get("name") in ("Job summary", "Comment"))
    variables = {
        "GITHUB_STEP_SUMMARY": "summary",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_RUN_ID": "1",
        "PULL_REQUEST": "7",
    }
    project = "https://host/o/r"
    commits = {"BASE": "b", "HEAD": "h", "PROJECT": project}
    assert run(tmp_path, comments, script, project, **variables, **commits) == told


@pytest.mark.parametrize(
    ("comments", "told"),
    [
        (OTHERS[:1], "--output /dev/null --form body=<comment.md api/projects/1/merge_requests/7/notes"),
        (
            [OTHERS[0], OURS],
            "--request PUT --output /dev/null --form body=<comment.md api/projects/1/merge_requests/7/notes/3",
        ),
    ],
)
def test_gitlab(tmp_path, comments, told):
    (script,) = yaml.safe_load((REPOSITORY / ".gitlab-ci.yml").read_text())["compare"]["after_script"]
    variables = {"CI_API_V4_URL": "api", "CI_MERGE_REQUEST_PROJECT_ID": "1", "CI_MERGE_REQUEST_IID": "7"}
    variables |= {"CI_MERGE_REQUEST_DIFF_BASE_SHA": "b", "CI_COMMIT_SHA": "h", "CI_PROJECT_URL": "https://host/o/r"}
    told_by = run(
        tmp_path, comments, script, "https://host/o/r/-", REPORT_TOKEN="t", CI_JOB_URL="https://job", **variables
    )
    assert told_by == told

"""An edit reruns what it must: `deps` in dvc.yaml name the code that decides a stage's bytes, and no other."""

import shutil
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from itertools import chain
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from imports import OURS, our_imports
from tiny import REPOSITORY

TEXT = (REPOSITORY / "dvc.yaml").read_text()
STAGES = yaml.safe_load(TEXT)["stages"]
# Modules that stages import and that are in no deps, since they decide no byte of an output.
UNTRACKED = {
    "stages/__main__.py": "starts a stage; the parameters and the instruction set that it passes on are tracked",
    "landcover/config.py": "what params.yaml may say; the values are tracked, and defaults are constants of others",
    "landcover/schema.py": "the same",
    "landcover/errors.py": "messages of a stage that fails",
    "landcover/terminal.py": "what a person sees meanwhile",
    "landcover/processes.py": "where work is done, not what it is",
}
REPORT = {"evaluate", "report"}
TABLE = {
    "a page, a picture, a template": (["landcover/report/**/*.*"], REPORT),
    "the downloader": (["landcover/archives/source.py", "stages/download.py"], {"download", "pretrained"}),
    "the reader of archives": (["landcover/archives/archive.py"], {"download", "unpack", "pretrained"}),
    "a layout": (["landcover/data/layouts/*.py", "landcover/data/tables.py"], {"unpack", "preprocess"}),
    "an interval, a comparison": (["landcover/evaluation/*.py"], {"applicability", "baseline"} | REPORT),
    "loop, model, augmentation": (
        ["landcover/training/*.py", "landcover/models/*.py"],
        {"pretrained", "train", "repeat"} | REPORT,
    ),
    "progress bars, messages, entry points, schema, commands": (
        [*UNTRACKED, "landcover/cli.py", "landcover/__main__.py", "landcover/commands/*.py", "landcover/mapping/*.py"],
        set(),
    ),
}


def code(stage: str) -> list[str]:
    """The dependencies of a stage that are code."""
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith(("landcover/", "stages/"))]


def outputs(stage: str, *kinds: str) -> dict[str, dict]:
    """The outputs of a stage, each with its options."""
    listed = chain.from_iterable(STAGES[stage].get(kind, []) for kind in kinds or ("outs", "metrics", "plots"))
    return {path: options for out in listed for path, options in ({out: {}} if isinstance(out, str) else out).items()}


def reached(module: str, seen: set[str]) -> set[str]:
    """The files of the modules that `module` imports, its own among them, but those in UNTRACKED."""
    file = OURS[module].relative_to(REPOSITORY).as_posix()
    if file not in seen | UNTRACKED.keys():
        seen.add(file)
        for imported in our_imports(OURS[module]):
            reached(imported, seen)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_that_a_stage_imports_is_in_its_deps(stage):
    files, deps = reached(f"stages.{stage}", set()), code(stage)
    if "runtime.instruction_set" in STAGES[stage]["params"]:
        files.add("landcover/environment.py")  # pins it, for stages/__main__.py
    missing = {file for file in files if not any(file == dep or file.startswith(f"{dep}/") for dep in deps)}
    idle = {dep for dep in deps if not any(file == dep or file.startswith(f"{dep}/") for file in files)}
    assert not missing, f"dvc.yaml: add to the deps of {stage}: {', '.join(sorted(missing))}"
    assert not idle, (
        f"dvc.yaml: remove from the deps of {stage}, which imports nothing of it: {', '.join(sorted(idle))}"
    )


def test_few_modules_are_in_no_deps():
    assert len(UNTRACKED) <= 6
    assert [file for file in UNTRACKED if not (REPOSITORY / file).is_file()] == []


# -- as DVC sees it


@contextmanager
def repository(folder: Path) -> Iterator[Repo]:
    with chdir(folder), Repo() as repo:
        yield repo


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The code and dvc.yaml, with outputs that stand for those of a run."""
    folder = tmp_path_factory.mktemp("project")
    Repo.init(str(folder), no_scm=True).close()
    shutil.copytree(REPOSITORY / ".dvc" / "plots", folder / ".dvc" / "plots")
    for name in ("landcover", "stages", "data/lists"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(REPOSITORY / name, folder / name)
    for path in ("data/patches/SHA256SUMS", "data/tensors/index.csv", *chain.from_iterable(map(outputs, STAGES))):
        if not (folder / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
    with repository(folder) as repo:
        repo.commit(force=True)
    return folder


def changed(project: Path) -> set[str]:
    with repository(project) as repo:
        return set(repo.status())


@pytest.mark.parametrize("what", TABLE)
def test_an_edit_reruns_no_more_than_it_must(project, what):
    globs, allowed = TABLE[what]
    paths = {path for glob in globs for path in project.glob(glob)}
    before = {path: path.read_bytes() for path in paths if path.is_file()}
    for path in before:
        path.write_bytes(before[path] + b"\n")
    try:
        assert before
        assert changed(project) - allowed == set()
    finally:
        for path, content in before.items():
            path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        # Of the split: nothing is fetched again. Evaluate reads the colours of the entry.
        (("train: 500", "train: 499"), {"unpack", "preprocess", "folds", "evaluate"}),
        (("source: sample\n", "source: other\n"), {"download", "unpack", "preprocess", "evaluate"}),
        (("epochs: 30", "epochs: 31"), {"train", "repeat", "report"}),
        (("workers: 2 ", "workers: 3 "), set()),
    ],
    ids=["split", "source", "train", "workers"],
)
def test_a_parameter_reruns_what_it_decides(project, change, rerun):
    params = project / "params.yaml"
    text = params.read_text()
    assert change[0] in text
    params.write_text(text.replace(*change, 1))
    try:
        assert changed(project) == rerun
    finally:
        params.write_text(text)


def test_freeze_and_unfreeze_leave_dvc_yaml_as_it_is(project):
    with repository(project) as repo:
        repo.freeze("report")
        repo.unfreeze("report")
    assert (project / "dvc.yaml").read_text() == TEXT


def test_no_stage_depends_on_a_file_within_a_cached_folder():
    """From the run cache, DVC would look for it in the folder of the last commit, which a fresh clone lacks."""
    listed = chain.from_iterable(outputs(stage, "outs").items() for stage in STAGES)
    folders = {path for path, options in listed if options.get("cache", True)}
    deps = {Path(dep) for stage in STAGES.values() for dep in stage["deps"]}
    assert not {dep for dep in deps if folders & set(map(str, dep.parents))}


def test_dvc_yaml_can_be_read():
    assert len(TEXT.splitlines()) < 200


def test_stages_that_take_long_are_taken_from_the_run_cache():
    """Which plain outputs with `cache: false` switch off."""
    off = {stage for stage in STAGES if {"cache": False} in outputs(stage, "outs").values()}
    assert off == {"unpack", "evaluate", "report"}

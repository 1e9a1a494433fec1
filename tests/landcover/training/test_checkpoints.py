from pathlib import Path

import pytest

from landcover.training import checkpoints


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A repository whose train stage is made of a file and a folder, and tensors."""
    monkeypatch.setattr(checkpoints, "ROOT", tmp_path)
    deps = "[tensors, train.py, training]"
    (tmp_path / "dvc.yaml").write_text(f"stages: {{train: {{deps: {deps}}}, repeat: {{deps: {deps}}}}}")
    for name in ("train.py", "training/deep/loop.py", "report/page.py", "tensors/train.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "resumes"),
    [
        ("train.py", False),
        ("training/deep/loop.py", False),
        ("training/new.py", False),
        ("tensors/train.safetensors", False),
        ("report/page.py", True),
        ("training/deep/__pycache__/loop.pyc", True),
    ],
)
def test_a_training_resumes_unless_its_code_or_its_tensors_change(project, name, resumes):
    before = checkpoints.checkpoint_path("train", project / "tensors", 1)
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("b")  # of the same size
    assert (checkpoints.checkpoint_path("train", project / "tensors", 1) == before) == resumes


def test_each_stage_and_each_parameter_has_a_checkpoint_of_its_own(project):
    paths = [
        checkpoints.checkpoint_path(stage, project / "tensors", {"learning_rate": rate})
        for stage in ("train", "repeat")
        for rate in (0.1, 0.2)
    ]
    assert len(set(paths)) == 4


def test_a_variable_says_where_checkpoints_lie(project, monkeypatch):
    monkeypatch.delenv("LANDCOVER_CHECKPOINTS", raising=False)
    path = checkpoints.checkpoint_path("train", project / "tensors")
    assert path.parent == Path(".partial")
    monkeypatch.setenv("LANDCOVER_CHECKPOINTS", "/elsewhere")
    assert checkpoints.checkpoint_path("train", project / "tensors") == Path("/elsewhere", path.name)

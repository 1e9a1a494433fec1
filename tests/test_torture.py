"""A small part of `python -m torture`, which does the rest."""

import random
import signal

import pytest

from torture import faults
from torture.__main__ import page
from torture.arena import SMALL, Arena, differences

QUICK = SMALL | {"train.epochs": 20}


@pytest.fixture(scope="module")
def arena(tmp_path_factory) -> Arena:
    return Arena(tmp_path_factory.mktemp("arena"), QUICK, "train")  # and what it needs


@pytest.fixture
def rng() -> random.Random:
    return random.Random(0)


@pytest.mark.parametrize(
    ("stage", "sign", "target"),
    [
        ("download", signal.SIGKILL, "all"),
        ("preprocess", signal.SIGKILL, "stage"),
        ("train", signal.SIGINT, "all"),
    ],
)
def test_a_killed_run_goes_on_and_ends_as_if_undisturbed(arena, rng, monkeypatch, stage, sign, target):
    monkeypatch.setattr(faults, "MOST_KILLS", 1)
    assert faults.killed(arena, rng, stage=stage, sign=sign, target=target).bad == []


@pytest.mark.parametrize(
    ("stage", "how", "where"),
    [("preprocess", "full", ".partial"), ("train", "mode", "models")],
)
def test_a_stage_that_cannot_write_says_so_and_harms_nothing(arena, rng, stage, how, where):
    try:
        outcome = faults.unwritable(arena, rng, stage=stage, how=how, where=where)
    except faults.SkipError as reason:
        pytest.skip(str(reason))
    assert outcome.bad == []
    assert outcome.injected > 0


def test_what_is_lost_is_seen(arena):
    victim = arena.victim("train")
    assert differences(victim.made(), arena.expected) == [
        "differs: dvc.lock: train, models/log_probabilities.safetensors, models/model.safetensors, reports/history.csv"
    ]
    (victim.folder / "reports" / ".history.csv.part").touch()
    assert victim.leftovers() == ["reports/.history.csv.part"]
    entry = {"cmd": "python -m stages train", "deps": [{"path": "a", "size": 123}], "outs": [{"path": "b"}]}
    for cut in (
        {"cmd": "python -m"},
        entry | {"outs": None},
        {"cmd": entry["cmd"], "deps": [{"path": "a", "size": 12}]},
    ):
        assert faults.cut_off(str(cut), str(entry))
    assert not faults.cut_off(str(entry | {"deps": [{"path": "a", "size": 124}]}), str(entry))
    cached = next((victim.folder / ".dvc" / "cache").rglob("??/*[0-9a-f]"))
    cached.chmod(0o644)
    cached.write_bytes(b"")
    assert len(faults.damaged_objects(victim.folder / ".dvc" / "cache")) == 1
    outcome = faults.Outcome(2, ["report is gone"])
    row = page({"killed": [outcome]}, {}).splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")] == ["", "killed", "2", "1", "1", ""]

import json
import math
import os
import subprocess

import pandas as pd
import pytest

from landcover import files


def test_a_table_is_written_for_people_and_for_diffs(tmp_path):
    table = pd.DataFrame({"class": ["tree_cover", "moss, lichen"], "support": [3, 0], "f1": [0.25, math.nan]})
    files.write_csv(tmp_path / "table.csv", table.assign(p=[2 / 3, 1.23456789e-12]))
    text = 'class,support,f1,p\ntree_cover,3,0.25,0.666667\n"moss, lichen",0,,1.23457e-12\n'
    assert (tmp_path / "table.csv").read_text() == text


def test_json_has_six_decimals_and_no_nan(tmp_path):
    files.write_json(tmp_path / "a.json", {"a": [1 / 3, 2], "b": {"c": 1e-9}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [0.333333, 2], "b": {"c": 0.0}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"a": math.nan})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]  # as it was, and nothing beside it


def test_what_fails_leaves_what_was_there(tmp_path):
    def fail() -> None:
        with files.replacing(tmp_path / "folder") as part:
            part.mkdir()
            raise ZeroDivisionError

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "old"]


def test_two_writers_never_share_a_file(tmp_path):
    with files.replacing(tmp_path / "a.csv") as part:
        part.touch()
        other = tmp_path / f".a.csv.{os.getppid()}.part"  # of a process that runs
        other.touch()
        assert part.name == f".a.csv.{os.getpid()}.part"
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "a.csv"]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f".tensors.{gone.pid}.part").mkdir()
    (tmp_path / f".tensors.{gone.pid}.part" / "half").touch()
    (tmp_path / ".tensors.mine.part").touch()  # not one of ours
    with files.replacing(tmp_path / "tensors") as part:
        part.mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tensors.mine.part", "tensors"]

import json
from pathlib import Path

import pytest

from landcover import config
from stages.choose import choose

SPLIT = {"method": "place", "val": 0.2, "test": 0.123456789, "seed": 1}


def chosen(folder: Path, raw: dict, name: str, **entries: dict) -> str:
    """What the stage writes for the dataset of this name."""
    sections = config.check(raw | {"dataset": name, "datasets": entries})
    choose(folder / "dataset.json", dataset=sections["dataset"], datasets=sections["datasets"])
    return (folder / "dataset.json").read_text()


def test_the_chosen_entry_is_written_to_its_last_digit(tmp_path, default_params):
    entries = {"mine-v2.0": {"source": "a.tar.gz", "split": SPLIT}, "other": {"source": "sample", "split": SPLIT}}
    found = json.loads(chosen(tmp_path, default_params, "mine-v2.0", **entries))
    assert found == {"dataset": "mine-v2.0", "source": "a.tar.gz", "split": SPLIT}


@pytest.mark.parametrize(
    ("change", "same"), [({"exclude": []}, True), ({"patch_size": 120}, True), ({"md5": "0" * 32}, False)]
)
def test_only_what_a_run_depends_on_changes_the_file(tmp_path, default_params, change, same):
    entry = {"source": "a.tar.gz", "split": SPLIT}
    before = chosen(tmp_path, default_params, "mine", mine=entry)
    after = chosen(tmp_path, default_params, "mine", mine=entry | change, other={"source": "b", "split": SPLIT})
    assert (before == after) == same

import pandas as pd
import pytest

from landcover.data import problems
from landcover.errors import InputError

TABLE = pd.DataFrame({"patch_id": [f"p{i}" for i in range(800)], "split": ["train"] * 500 + ["val", "test"] * 150})
SMALL = "B02 is 64 x 64 pixels, not 120 x 120"


def message_about(bad: dict[str, str], most: int = 0) -> str:
    with pytest.raises(InputError) as error:
        problems.check_bad_patches(TABLE, bad, most, "mine")
    return str(error.value)


def test_a_reason_is_listed_once_with_its_first_patches():
    assert message_about({f"p{i}": "B02 is missing" for i in range(9)} | {"p600": "B08 is all nodata"}) == (
        "10 of 800 patches are bad: p0, p1, p2 and 6 more: B02 is missing; p600: B08 is all nodata: "
        "correct them, or leave them out with preprocess.max_bad_patches: 10"
    )


def test_of_many_reasons_the_first_are_listed():
    message = message_about({f"p{i}": f"B02 lies {i} m from B03" for i in range(100)})
    assert "; p9: B02 lies 9 m from B03; and 90 more reasons: correct them" in message


def test_patches_that_are_all_of_another_size_have_a_way_out():
    assert message_about(dict.fromkeys(TABLE["patch_id"], SMALL), most=800) == (
        "all 800 patches are bad: p0, p1, p2 and 797 more: "
        f"{SMALL}: correct them, or what datasets.mine says of them, such as its patch_size"
    )


def test_leaving_patches_out_is_no_remedy_where_it_empties_a_split():
    bad = dict.fromkeys(TABLE.loc[TABLE["split"] == "val", "patch_id"], "B02 is missing")
    assert message_about(bad, most=0).endswith("B02 is missing: correct them")
    assert message_about(bad, most=150).startswith("150 of 800 patches are bad, and none is left for val: p500, p502")


def test_bad_patches_within_the_limit_pass():
    problems.check_bad_patches(TABLE, {"p0": "B02 is missing"}, 1, "mine")


def test_a_split_that_never_had_a_patch_is_message_about():
    with pytest.raises(InputError, match=r"the val split is empty; change datasets\.mine\.split"):
        problems.check_bad_patches(TABLE[TABLE["split"] != "val"], {}, 0, "mine")

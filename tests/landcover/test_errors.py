import pytest

from landcover.errors import few


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a", "b", "c"], "a, b, c"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
        (["x" * 1000], "x" * 100 + "..."),
        ([], ""),
    ],
)
def test_a_message_stays_short_however_many_names_there_are(names, told):
    assert few(names) == told

from typing import get_args

from landcover import config
from landcover.data.layout import LAYOUTS, find_layout


def test_layouts_of_the_schema_have_their_functions():
    (names, _) = get_args(config.Dataset.model_fields["layout"].annotation)
    assert {*get_args(names)} == {*LAYOUTS}
    for name in LAYOUTS:
        layout = find_layout(name)
        assert all(callable(part) for part in (layout.needed, layout.matches, layout.read_patches))

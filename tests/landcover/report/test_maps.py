import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from landcover.report import maps


def test_the_map_of_changes_hides_neither_what_was_fixed_nor_what_was_broken():
    """Two places: in the first, three patches were fixed and one was broken on the same spot; nothing in the second."""
    patches = pd.DataFrame({"place": [0, 0, 0, 0, 1], "lon": [9.0] * 4 + [10.0], "lat": [48.0] * 4 + [49.0]})
    figure = maps.changes(patches.assign(fixed=[True] * 3 + [False] * 2, broken=[False] * 3 + [True, False]))
    (axes,) = figure.axes
    assert axes.get_title("left") == "Patches by place: 3 fixed (left halves), 1 broken (right halves)"
    drawn = [one for one in axes.collections if len(one.get_offsets())]
    halves = {to_hex(one.get_facecolor()[0]): (one.get_paths()[0], one.get_sizes()[0]) for one in drawn[:2]}
    fixed, broken = halves[maps.FIXED[0]], halves[maps.BROKEN[0]]
    assert fixed[0].vertices[:, 0].max() < 1e-9
    assert broken[0].vertices[:, 0].min() > -1e-9
    assert fixed[1] == 3 * broken[1]  # an area is proportional to the number of patches
    assert np.array_equal(drawn[2].get_offsets(), [[10, 49]])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["1 fixed, 1 broken", "2 fixed, 2 broken", "3 fixed, 3 broken", "none"]

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex, to_rgba

from landcover.report import maps


def test_on_the_map_of_splits_no_patch_hides_another_of_the_same_place():
    patches = pd.DataFrame({"split": ["train", "val", "test"], "lon": 9.0, "lat": 48.0})
    europe, close = maps.places(patches, 1200).axes
    dots = [one for one in europe.collections if len(one.get_offsets())]
    legend = [text.get_text() for text in europe.get_legend().get_texts()]
    assert legend == ["train (1)", "val (1)", "test (1)"]
    colours = [to_rgba(maps.COLOURS[name]) for name in ("train", "val", "test")]  # opaque: none blend
    assert [tuple(one.get_facecolor()[0]) for one in dots] == colours
    squares = [one for one in close.patches if one.get_fill()]
    assert [one.get_facecolor() for one in squares] == colours
    # The last is on top, and smaller.
    for sizes in ([one.get_sizes()[0] for one in dots], [one.get_width() for one in squares]):
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == 3


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

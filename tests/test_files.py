import math

from stages import files


def test_a_table_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "table.csv"
    files.write_csv(path, ("class", "support", "f1"), [("tree_cover", 3, 0.25), ("moss, lichen", 0, math.nan)])
    assert path.read_text() == 'class,support,f1\ntree_cover,3,0.250000\n"moss, lichen",0,\n'
    first, second = files.read_csv(path)
    assert first == {"class": "tree_cover", "support": 3, "f1": 0.25}
    assert (second["class"], second["support"], math.isnan(second["f1"])) == ("moss, lichen", 0, True)

from landcover.report import markdown, verdicts


def test_a_table_aligns_numbers_and_dashes_what_is_missing():
    text = markdown.table([{"class": "a", "n": 3, "f1": 0.5}, {"class": "b|c", "n": 0, "f1": float("nan")}])
    assert text.splitlines() == [
        "| class   |   n |    f1 |",
        "|:--------|----:|------:|",
        "| a       |   3 | 0.500 |",
        "| b\\|c    |   0 |     - |",
    ]


def test_points_have_their_sign_and_interval():
    assert verdicts.points(0.05, -0.012, 0.112) == "+5.0 points (-1.2 to +11.2)"

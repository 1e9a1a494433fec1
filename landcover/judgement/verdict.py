"""What a difference is called."""

from landcover.judgement.confusion import CONFIDENCE


def judge(difference: dict[str, float]) -> str:
    """Whether a difference is 'better', 'worse' or 'within noise'.

    It must be told from chance by its interval and, where there is one, by McNemar's exact test.
    """
    told = difference.get("p", 0) < 1 - CONFIDENCE
    if told and difference["low"] > 0:
        return "better"
    if told and difference["high"] < 0:
        return "worse"
    return "within noise"

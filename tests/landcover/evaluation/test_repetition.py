import numpy as np
import pytest

from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.evaluation import repetition


def test_what_an_ensemble_brings_by_hand():
    """Two seeds, two patches, two classes: together they are right about the first, of which one of them was wrong."""
    probabilities = np.array([[[0.9, 0.1], [0.7, 0.3]], [[0.4, 0.6], [0.7, 0.3]]])
    repeated = dict.fromkeys(repetition.JUDGED, np.log(probabilities))
    splits = dict.fromkeys(repetition.JUDGED, Split(np.empty((2, 0)), np.array([0, 1]), [], ["a", "b"], {}))
    unknown = np.full(2, np.nan)
    indices = dict.fromkeys(repetition.JUDGED, Index(np.array(["p0", "p1"]), np.ones(2), unknown, unknown))
    tables = repetition.tables([1, 2], repeated, splits, indices)
    found = repetition.ensemble(repeated, splits, indices, tables)
    val = found.pop("val")
    assert found == val
    # Patch by patch, accuracy is better by 0.5 and by 0: the mean is 0.25, its error too, and t of one degree 12.706.
    accuracy, nll = found["accuracy"], found["nll"]
    reach = 0.25 * 12.7062
    assert accuracy == pytest.approx({"value": 0.5, "difference": 0.25, "low": 0.25 - reach, "high": 0.25 + reach})
    members = -(np.log(0.9) / 2 + np.log(0.4) / 2 + np.log(0.3)) / 2
    assert nll["value"] == pytest.approx(-(np.log(0.65) + np.log(0.3)) / 2)
    assert nll["difference"] == pytest.approx(nll["value"] - members)

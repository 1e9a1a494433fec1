import re

import numpy as np
import pytest

from landcover import constants
from landcover.data import tensors
from landcover.errors import InputError
from landcover.evaluation.probabilities import load_log_probabilities, load_seeds

FACTS = {"bands": ["B04"], "classes": list(constants.CLASSES), "scale": {"divisor": 10_000}}
NETWORK = FACTS | {"temperature": 1.5, "parameters": 99, "epochs": 2, "device": "cpu"}
SPLITS = dict.fromkeys(constants.SPLITS, tensors.Split(np.empty((10, 0)), np.zeros(10, int), *FACTS.values()))
TEN = np.zeros((10, 11))
REFUSED = {
    "fewer patches": ({"test": np.zeros((9, 11))}, {}, "does not cover the 10 test patches"),
    "not finite": ({"test": np.full((10, 11), np.nan)}, {}, "is not finite"),
    "no val split": ({"val": None}, {}, "does not cover the 10 val patches"),
    "bands": ({}, {"bands": ["B08"]}, "trained with bands ['B08'], but the tensors have ['B04']"),
    "scale": ({}, {"scale": {}}, "trained with scale {}, but the tensors have {'divisor': 10000}"),
}
OF_RUN = {
    "no train split": ({"train": None}, {}, "does not cover the 10 train patches"),
    "exchanged, too few": ({"without/season": np.zeros((9, 10, 11))}, {}, "without/season is not finite, or does not"),
    "no temperature": ({}, {"temperature": None}, "has no temperature; run dvc repro train"),
}
OF_SEEDS = {
    "no seeds": ({}, {"seeds": None}, "has no seeds; run dvc repro repeat"),
    "another number of seeds": ({}, {"seeds": [1, 2, 3]}, "does not cover the 10 train patches"),
}


def refused(read, path, arrays: dict, facts: dict, expected: str) -> None:
    """Whether a file of what is not None among these ends in one line."""
    content = ({name: value for name, value in one.items() if value is not None} for one in (arrays, facts))
    tensors.save(path, *content)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: .*{re.escape(expected)}.*$"):
        read(path, SPLITS)


@pytest.mark.parametrize(("arrays", "facts", "expected"), (REFUSED | OF_RUN).values(), ids=REFUSED | OF_RUN)
def test_predictions_of_other_tensors_are_refused(tmp_path, arrays, facts, expected):
    path = tmp_path / "log.safetensors"
    whole = dict.fromkeys(constants.SPLITS, TEN)
    tensors.save(path, whole, NETWORK)
    assert load_log_probabilities(path, SPLITS)[0].keys() == whole.keys()
    refused(load_log_probabilities, path, whole | arrays, NETWORK | facts, expected)


@pytest.mark.parametrize(("arrays", "facts", "expected"), (REFUSED | OF_SEEDS).values(), ids=REFUSED | OF_SEEDS)
def test_seeds_of_other_tensors_are_refused(tmp_path, arrays, facts, expected):
    path = tmp_path / "seeds.safetensors"
    whole, about = dict.fromkeys(constants.SPLITS, np.stack([TEN, TEN])), {"seeds": [1, 2]} | FACTS
    tensors.save(path, whole, about)
    assert load_seeds(path, SPLITS)[0] == [1, 2]
    changed = {name: None if one is None else np.stack([one, one]) for name, one in arrays.items()}
    refused(load_seeds, path, whole | changed, about | facts, expected)

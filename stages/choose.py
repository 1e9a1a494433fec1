"""Choose the dataset.  params.yaml -> data/dataset.json

The other stages depend on this file, not on the entry of `datasets` itself: to DVC, a dot in the path of a parameter is
a new level, so it cannot find the entry of a dataset that has a dot in its name.
"""

import json
from pathlib import Path

from landcover import files
from landcover.config import Dataset


def choose(dataset_json: Path, *, dataset: str, datasets: dict[str, Dataset]) -> None:
    """Write the name of the chosen dataset and what its entry says, without defaults."""
    entry = datasets[dataset].model_dump(exclude_defaults=True)
    with files.replacing(dataset_json) as part:
        part.write_text(json.dumps({"dataset": dataset} | entry, indent=2) + "\n")

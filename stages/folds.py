"""Divide the patches into folds, if any are asked for.  data/tensors -> data/folds.csv"""

from pathlib import Path

from landcover import files
from landcover.config import Dataset, Repetition
from landcover.constants import BUFFER_KM

COLUMNS = ("patch_id", "split", "row", "place", "fold")


def folds(
    tensors_dir: Path, folds_csv: Path, *, dataset: str, datasets: dict[str, Dataset], repeat: Repetition
) -> None:
    """Write the place of each patch, the fold that tests it, and its role in each fold; without folds, only a header.

    With `test: locked`, the test split stays outside.
    """
    if not repeat.folds:
        with files.replacing(folds_csv) as part:
            part.write_text(",".join(COLUMNS) + "\n")
        return
    # Imported here, since the stage does not need them without folds, as by default.
    import pandas as pd

    from landcover.data.folds import assign, roles
    from landcover.data.index import INDEX

    patches = pd.read_csv(tensors_dir / INDEX)
    if repeat.test == "locked":
        patches = patches[patches["split"] != "test"]
    split = datasets[dataset].split
    buffer_km = getattr(split, "buffer_km", BUFFER_KM)
    drawn = split.train if split.method in ("random", "place") and isinstance(split.train, int) else None
    patches = patches.join(assign(patches, repeat.folds))
    in_folds = roles(patches, patches["fold"].to_numpy(), buffer_km, drawn)
    files.write_csv(folds_csv, patches[[*COLUMNS]].join(in_folds))

from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pandas as pd
from tiny import write_tile

from landcover import config
from landcover.data import conversion, tensors
from landcover.data.conversion import Reading
from landcover.data.layout import LAYOUTS, Patches, find_layout
from landcover.data.raster import Channel


def test_layouts_of_the_schema_have_their_two_functions():
    names = get_args(config.Dataset.model_fields["layout"].annotation)
    assert set(names) == set(LAYOUTS)
    for name in names:
        assert callable(find_layout(name).needed)
        assert callable(find_layout(name).read_patches)


def test_patches_of_several_bands_a_file_and_any_id_become_tensors(tmp_path):
    """As a layout of folders of classes would describe them."""
    for i in range(2):
        write_tile(tmp_path / f"forest/Highway_{i}.tif", np.full((3, 64, 64), [[[100]], [[200]], [[300]]], np.uint16))
    files = ["forest/Highway_0.tif", "forest/Highway_1.tif"]
    table = pd.DataFrame({"patch_id": ["Highway_0", "Highway_1"], "label": 1, "offset": -1, "split": "train"})
    table = table.assign(B08=files, B02=files)
    channels = [Channel("B08", "uint16", band=3, file_bands=3), Channel("B02", "uint16", band=1, file_bands=3)]
    reading = Reading.of(Patches("mine", tmp_path, channels, [], table), size=64)
    with ThreadPoolExecutor(1) as pool:
        summaries = conversion.convert(table, tmp_path, pool, reading, ["lake", "forest"])
    assert summaries["train"].problems == {}
    train = tensors.load_split(tmp_path, "train")
    assert (train.bands, train.labels.tolist()) == (["B08", "B02"], [1, 1])
    assert (train.images == np.float32([0.03, 0.01])[:, None, None]).all()

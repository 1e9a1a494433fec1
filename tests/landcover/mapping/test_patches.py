import numpy as np
import pytest
from tiny import LOCAL, Dataset, brighter_band, write_table, write_tile

from landcover.mapping.predictor import Predictor
from landcover.mapping.patches import predict_patches

SIZE = 20


@pytest.fixture
def data(tmp_path) -> Dataset:
    """Three patches: of the first, B08 is brighter by a reflectance of 0.1; the third has no B08."""
    data = Dataset(tmp_path / "tiny", [0, 0, 0], patch_size=SIZE)
    write_tile(data.tile(data.ids[0], "B08"), np.full((SIZE, SIZE), 1100, np.uint16))
    write_tile(data.tile(data.ids[1], "B02"), np.full((SIZE, SIZE), 2200, np.uint16))
    data.tile(data.ids[2], "B08").unlink()
    (data.root / "tiny_esaworldcover.csv").unlink()  # what is to be predicted need not be known
    return data


@pytest.fixture
def model() -> Predictor:
    network, metadata = brighter_band(SIZE)
    return Predictor([network], metadata)


def test_patches_are_predicted_by_their_ids_and_bad_ones_are_told(data, model):
    table, suspicion = predict_patches(data.root, model, "auto", LOCAL)
    assert table["patch_id"].tolist() == data.ids
    assert table["predicted"].tolist() == ["cropland", "tree_cover", ""]
    # The differences of the logits are 10 x 0.1 and 10 x 0.2.
    expected = 1 / (1 + np.exp([-1, -2]))
    np.testing.assert_allclose(table["confidence"][:2], expected, atol=1e-5)
    np.testing.assert_allclose(table["p_tree_cover"], [1 - expected[0], expected[1], np.nan], atol=1e-5)
    assert table["problem"].tolist() == ["", "", "B08 is missing"]
    assert suspicion is None


def test_an_offset_is_subtracted_if_it_is_told(data, model):
    data.meta = [row | {"processing_baseline": "05.09"} for row in data.meta]
    write_table(data.root / "tiny_meta.csv", data.meta)
    by_product, _ = predict_patches(data.root, model, "auto", LOCAL)
    by_hand, _ = predict_patches(data.root, model, 1000, LOCAL)
    # 100 and 1100 become 0.0001 and 0.01, and so do 2200 and 200 become 0.12 and 0.0001.
    np.testing.assert_allclose(by_hand["confidence"][:2], 1 / (1 + np.exp([-0.099, -1.199])), atol=1e-5)
    assert by_product.equals(by_hand)

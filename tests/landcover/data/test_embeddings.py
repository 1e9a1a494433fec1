import numpy as np
import pandas as pd
import pytest

from landcover.data.embeddings import load_embeddings, save_embeddings
from landcover.errors import InputError

IDS = np.array(["a", "b", "c"])
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize("kind", [".parquet", ".npz"])
def test_vectors_are_found_by_patch_id_whatever_their_order(tmp_path, kind):
    path = tmp_path / f"e{kind}"
    save_embeddings(path, IDS, VECTORS, kind)
    assert load_embeddings(path, np.array(["c", "a"])).tolist() == [[4, 5], [0, 1]]


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (["a", "b"], VECTORS[:2], "has no vector for c; embed all patches of the dataset"),
        (["a", "b", "b", "c"], VECTORS[[0, 1, 1, 2]], "has several vectors for b; keep one"),
        (["a", "b", "c"], [[0, 1], [np.inf, 1], [0, 1]], "has values that are not finite for b"),
        (["a", "b", "c"], [[0, 1], [1], [0, 1]], "is no table of embeddings"),
        (["a", "b", "c"], None, "is no table of embeddings"),
    ],
)
def test_what_is_no_table_of_all_patches_is_refused_in_one_line(tmp_path, ids, vectors, message):
    path = tmp_path / "e.parquet"
    table = pd.DataFrame({"patch_id": ids})
    (table if vectors is None else table.assign(vector=list(vectors))).to_parquet(path)
    with pytest.raises(InputError, match=f"e.parquet: {message}") as error:
        load_embeddings(path, IDS)
    assert "\n" not in str(error.value)


def test_a_file_that_is_damaged_holds_objects_or_does_not_exist_is_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", patch_id=IDS, vector=np.array([{}, 1, 2]))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    for name, message in (("objects.npz", "is no table"), ("cut.parquet", "is no table"), ("x.npz", "no such file")):
        with pytest.raises(InputError, match=message):
            load_embeddings(tmp_path / name, IDS)

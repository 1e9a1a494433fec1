import json

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from tiny import Dataset, write_tile

from landcover.data import tensors
from landcover.data.index import load_index
from landcover.models.weights import load as load_network

SPLIT = {"method": "order", "train": 4, "val": 2, "test": 2}
PATHS = ("data/patches", "data/tensors", "reports/data.json")


def params(**changes) -> dict:
    return {
        "dataset": "tiny",
        "datasets": {"tiny": {"source": "x", "split": SPLIT}},
        "bands": ["B02", "B08"],
        "runtime": {"workers": 1},
    } | changes


def test_tensors_index_and_data_contract(dataset, run_stage, tmp_path):
    done = run_stage("preprocess", *PATHS, params=params())
    assert (done.returncode, done.stderr) == (0, "")

    train = tensors.load_split(tmp_path / "data/tensors", "train")
    assert train.images.shape == (4, 2, 120, 120)
    assert train.images.dtype == np.float32
    assert train.images[:, 0, 0, 0].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert train.labels.tolist() == [0, 3, 0, 3]
    assert train.labels.dtype == np.int64
    assert train.bands == ["B02", "B08"]
    assert train.classes[3] == "cropland"
    assert train.scale == {"divisor": 10_000, "offset": 0, "minimum": 0, "maximum": 1}

    index = pd.read_csv(tmp_path / "data/tensors/index.csv")
    assert index.columns.tolist() == ["split", "row", "patch_id", "label", "majority_fraction", "lon", "lat"]
    assert index["patch_id"].tolist() == dataset.ids
    assert index["split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert index["row"].tolist() == [0, 1, 2, 3, 0, 1, 0, 1]
    assert index["label"].tolist() == dataset.labels

    data = json.loads((tmp_path / "reports/data.json").read_text())
    assert data["patches"] == {"train": 4, "val": 2, "test": 2}
    assert data["classes"][3] == {"class": "cropland", "train": 2, "val": 1, "test": 1}
    assert data["bands"]["train"]["B08"]["mean"] == pytest.approx(0.025)
    assert data["bands"]["test"]["B02"]["p50"] == pytest.approx(0.07)
    # Test patches 6 and 7 lie beside train patches 2 and 3, and val patches 4 and 5 beside 0 and 1.
    for split in ("test", "val"):
        assert data["leakage"][split]["same_ground"] == {"patches": 0, "share": 0.0}
        assert data["leakage"][split]["touching"] == {"patches": 2, "share": 1.0}
    assert (data["split"], data["excluded"]) == ({}, 0)
    assert data["dropped"] == {}


def test_hashes_tell_membership_and_labels_apart_from_order(dataset, run_stage, tmp_path):
    def hashes():
        assert run_stage("preprocess", *PATHS, params=params()).returncode == 0
        data = json.loads((tmp_path / "reports/data.json").read_text())
        return data["membership_sha256"], data["labels_sha256"]

    membership, labels = hashes()
    dataset.meta[6:8] = dataset.meta[7:5:-1]  # another order within the test split
    dataset.write_tables()
    assert hashes() == (membership, labels)

    dataset.cover[7] = dataset.cover[7] | {"cropland": 0.0, "grassland": 0.75}
    dataset.write_tables()
    relabelled = hashes()
    assert relabelled[0] == membership
    assert relabelled[1]["test"] != labels["test"]
    assert relabelled[1]["train"] == labels["train"]


def test_all_bad_patches_are_named_at_once_and_nothing_is_written(dataset, run_stage, tmp_path):
    dataset.tile(dataset.ids[0], "B02").unlink()
    write_tile(dataset.tile(dataset.ids[5], "B08"), np.ones((60, 60), np.uint16))
    dataset.cover[7]["cropland"] = 0.0
    dataset.write_tables()
    done = run_stage("preprocess", *PATHS, params=params())
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "error: 3 bad patches:" in done.stderr
    assert f"{dataset.ids[0]}: B02 is missing" in done.stderr
    assert f"{dataset.ids[5]}: B08 is 60 x 60 pixels, not 120 x 120" in done.stderr
    assert f"{dataset.ids[7]}: all WorldCover fractions are zero" in done.stderr
    assert "preprocess.max_bad_patches: 3" in done.stderr
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["patches"]
    assert not (tmp_path / "reports").exists()


def test_bad_patches_within_the_limit_are_left_out_and_counted(dataset, run_stage, tmp_path, default_params):
    dataset.tile(dataset.ids[1], "B02").unlink()
    allow = default_params["preprocess"] | {"max_bad_patches": 1}
    done = run_stage("preprocess", *PATHS, params=params(preprocess=allow))
    assert done.returncode == 0
    train = tensors.load_split(tmp_path / "data/tensors", "train")
    assert train.images[:, 0, 0, 0].tolist() == pytest.approx([0.01, 0.03, 0.04])
    assert train.labels.tolist() == [0, 0, 3]
    assert load_index(tmp_path / "data/tensors", "train").patch_ids.tolist() == [dataset.ids[i] for i in (0, 2, 3)]
    data = json.loads((tmp_path / "reports/data.json").read_text())
    assert data["dropped"] == {dataset.ids[1]: "B02 is missing"}


def test_patches_outside_the_splits_need_not_be_good(dataset, run_stage):
    dataset.tile(dataset.ids[7], "B02").unlink()
    smaller = {"tiny": {"source": "x", "split": SPLIT | {"test": 1}}}
    assert run_stage("preprocess", *PATHS, params=params(datasets=smaller)).returncode == 0


def test_a_split_left_empty_is_refused(dataset, run_stage, default_params):
    for i in (6, 7):
        dataset.tile(dataset.ids[i], "B02").unlink()
    allow = default_params["preprocess"] | {"max_bad_patches": 2}
    done = run_stage("preprocess", *PATHS, params=params(preprocess=allow))
    assert "error: the test split is empty" in done.stderr


def test_shards_and_workers_do_not_change_what_is_read(dataset, tmp_path, run_stage):
    digests = set()
    for workers in (1, 3):
        assert run_stage("preprocess", *PATHS, params=params(runtime={"workers": workers})).returncode == 0
        digests.add(tuple(p.read_bytes() for p in sorted((tmp_path / "data/tensors").iterdir())))
    assert len(digests) == 1


def test_patches_on_a_list_are_left_out_and_counted(dataset, run_stage, tmp_path):
    (tmp_path / "data" / "lists").mkdir()
    (tmp_path / "data" / "lists" / "clouds.csv").write_text(f"{dataset.ids[1]}\n{dataset.ids[7]}\nelsewhere\n")
    datasets = {"tiny": {"source": "x", "split": SPLIT, "exclude": ["clouds.csv"]}}
    done = run_stage("preprocess", *PATHS, params=params(datasets=datasets))
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads((tmp_path / "reports/data.json").read_text())
    assert (data["patches"], data["excluded"]) == ({"train": 3, "val": 2, "test": 1}, 2)


def test_a_table_that_tells_no_places_is_used_and_leakage_is_not_known(dataset, run_stage, tmp_path):
    dataset.meta = [{"patch_id": row["patch_id"]} for row in dataset.meta]
    dataset.write_tables()
    done = run_stage("preprocess", *PATHS, params=params())
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "reports/data.json").read_text())["leakage"] is None
    assert pd.read_csv(tmp_path / "data/tensors/index.csv")["lon"].isna().all()


# -- nodata, and the offset


def data_of(tmp_path) -> dict:
    return json.loads((tmp_path / "reports/data.json").read_text())


@pytest.mark.parametrize(("number", "profile"), [(0, {}), (65_535, {"nodata": 65_535})], ids=["zero", "tag"])
def test_nodata_is_in_no_band_statistic(dataset, run_stage, tmp_path, number, profile):
    pixels = np.full((120, 120), 200, np.uint16)
    pixels[:10] = number
    write_tile(dataset.tile(dataset.ids[1], "B02"), pixels, **profile)
    assert run_stage("preprocess", *PATHS, params=params()).returncode == 0
    numbers, counts = np.array([100, 200, 300, 400]), [14_400, 13_200, 14_400, 14_400]
    mean = np.average(numbers, weights=counts)
    found = data_of(tmp_path)
    assert found["patches_with_nodata"] == 1
    assert found["bands"]["train"]["B02"]["mean"] == pytest.approx(mean / 1e4, abs=1e-6)
    assert found["bands"]["train"]["B02"]["std"] == pytest.approx(
        np.sqrt(np.average((numbers - mean) ** 2, weights=counts)) / 1e4, abs=1e-6
    )
    assert found["bands"]["train"]["B02"]["p1"] == pytest.approx(0.01)


def test_offsets_are_told_apart_patch_by_patch(dataset, run_stage, tmp_path):
    """Of one patch its tags tell the offset, of another its product's baseline, and of the others nothing does."""
    for i in (1, 2):
        for band in dataset.bands:
            write_tile(dataset.tile(dataset.ids[i], band), np.full((120, 120), 1000 + 100 * (i + 1), np.uint16))
    for band in dataset.bands:
        with rasterio.open(dataset.tile(dataset.ids[1], band), "r+") as tile:
            tile.scales, tile.offsets = (0.0001,), (-0.1,)
    dataset.meta = [row | {"processing_baseline": "05.09" if i == 2 else ""} for i, row in enumerate(dataset.meta)]
    dataset.write_tables()
    done = run_stage("preprocess", *PATHS, params=params())
    assert (done.returncode, done.stderr) == (0, "")
    train = tensors.load_split(tmp_path / "data/tensors", "train")
    assert train.images[:, 0, 0, 0].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert data_of(tmp_path)["offsets"] == {"0": 6, "1000": 2}
    assert data_of(tmp_path)["bands"]["train"]["B02"]["mean"] == pytest.approx(0.025)


def test_the_offset_of_a_dataset_goes_before_that_of_preprocess(dataset, run_stage, tmp_path, default_params):
    datasets = {"tiny": {"source": "x", "split": SPLIT, "offset": 50}}
    changed = params(datasets=datasets, preprocess=default_params["preprocess"] | {"offset": 10})
    assert run_stage("preprocess", *PATHS, params=changed).returncode == 0
    train = tensors.load_split(tmp_path / "data/tensors", "train")
    assert train.images[:, 0, 0, 0].tolist() == pytest.approx([0.005, 0.015, 0.025, 0.035])
    assert train.scale["offset"] == 50


def bright(tmp_path, count: int) -> dict:
    """A dataset of patches that are nowhere darker than 1300, of which nothing tells an offset."""
    data = Dataset(tmp_path / "data" / "patches" / "tiny", [0, 3] * (count // 2), ("B02",))
    for patch_id in data.ids:
        write_tile(data.tile(patch_id, "B02"), np.full((120, 120), 1300, np.uint16))
    return {"source": "x", "split": SPLIT | {"train": count - 4}}


def test_an_offset_that_nobody_told_is_seen_in_the_pixels(run_stage, tmp_path):
    entry = bright(tmp_path, 20)
    done = run_stage("preprocess", *PATHS, params=params(datasets={"tiny": entry}, bands=["B02"]))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "error: tiny: 99% of the blue pixels are above 1299" in done.stderr
    assert "set datasets.tiny.offset to the number that was added (1000 by baseline 04.00), or to 0" in done.stderr
    assert not (tmp_path / "reports").exists()
    for offset, warned in ((0, True), (1000, False)):
        entry["offset"] = offset
        done = run_stage("preprocess", *PATHS, params=params(datasets={"tiny": entry}, bands=["B02"]))
        assert (done.returncode, done.stderr.startswith("warning: tiny: 99%")) == (0, warned)
        assert ("warnings" in data_of(tmp_path)) is warned


def test_few_bright_patches_are_suspicious_only(run_stage, tmp_path):
    done = run_stage("preprocess", *PATHS, params=params(datasets={"tiny": bright(tmp_path, 8)}, bands=["B02"]))
    assert done.returncode == 0
    assert data_of(tmp_path)["warnings"][0].startswith("99% of the blue pixels are above 1299, which suggests")


# -- own data


def test_own_classes_and_patches_of_another_size_go_from_tiles_to_the_report(tmp_path, in_turn):
    """As docs/stages.md tells of own data: the entry in params.yaml, tables and tiles, and no line of code."""
    classes = ["Annual Crop", "Forest", "Sea_Lake"]
    data = Dataset(tmp_path / "data" / "patches" / "mine", [i % 3 for i in range(24)], ("B02",), classes, 64)
    rng = np.random.default_rng(0)
    for patch_id, label in zip(data.ids, data.labels, strict=True):
        pixels = rng.normal(400 + 400 * label, 50, (64, 64)).clip(1).astype(np.uint16)
        write_tile(data.tile(patch_id, "B02"), pixels)
    entry = {"source": "data/patches/mine", "patch_size": 64, "classes": classes}
    entry["split"] = {"method": "order", "train": 12, "val": 6, "test": 6}
    changed = {"dataset": "mine", "datasets": {"mine": entry}, "bands": ["B02"]}
    changed |= {"train": {"epochs": 2}, "evaluate": {"resamples": 100}, "runtime": {"workers": 1}}
    done = in_turn(
        "stages preprocess data/patches t data.json",
        "stages baseline t b.json b.csv",
        "stages train t m l h.csv",
        "stages repeat t s e",
        "stages evaluate t l s h.csv b.csv r",
        "stages report m data.json b.json h.csv r/metrics.json r/seeds.json r/predictions.csv r/per_class.csv "
        "r/report.md card.md",
        params=changed,
    )
    assert (done.returncode, done.stderr) == (0, "")

    train = tensors.load_split(tmp_path / "t", "train")
    assert (train.images.shape, train.classes) == ((12, 1, 64, 64), classes)
    assert json.loads((tmp_path / "data.json").read_text())["classes"][2] == {
        "class": "Sea_Lake", "train": 4, "val": 2, "test": 2
    }  # fmt: skip
    network, metadata = load_network(tmp_path / "m")
    assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 3)
    assert (metadata.inputs.patch_size, metadata.inputs.classes) == (64, tuple(classes))
    assert pd.read_csv(tmp_path / "r/per_class.csv")["class"].tolist() == classes
    page = (tmp_path / "r/report.md").read_text()
    assert "Bands: B02. A patch has 64 x 64 pixels at 10 m, and its label is the class that\ncovers" in page
    assert "Sea Lake" in page
    card = (tmp_path / "card.md").read_text()
    assert "patch of 64 x 64 pixels of 10 m, 0.64 km a side" in card
    assert "**Classes**: Annual Crop, Forest, Sea Lake.\n" in card
    assert (
        "A label is the class that covers the largest share of the patch.\nThe data has the licence of its source."
        in card
    )
    # What leaks is told by the size of a patch: neighbours are 1.2 km apart, too far for patches of 0.64 km to touch.
    assert json.loads((tmp_path / "data.json").read_text())["leakage"]["test"]["touching"]["patches"] == 0


def test_patches_of_a_size_that_nobody_told_are_an_error_with_a_way_out(tmp_path, run_stage):
    data = Dataset(tmp_path / "data" / "patches" / "tiny", [0, 3] * 4, patch_size=64)
    done = run_stage("preprocess", *PATHS, params=params())
    assert done.returncode == 1
    assert done.stderr == (
        "error: the train, val and test splits are empty without 8 bad patches: "
        f"{', '.join(data.ids[:3])} and 5 more: B02 is 64 x 64 pixels, not 120 x 120: "
        "fix them, or set datasets.tiny.patch_size: 64\n"
    )


EVERYTHING = ["weather", "season", "climate_zone", "elevation", "sentinel-1", "sentinel-2"]


def test_all_modalities_come_in_a_fixed_order_with_their_names_and_statistics(dataset, run_stage, tmp_path):
    dataset.add_modalities()
    done = run_stage("preprocess", *PATHS, params=params(inputs=EVERYTHING))
    assert (done.returncode, done.stderr) == (0, "")
    test = tensors.load_split(tmp_path / "data/tensors", "test")  # the patches 6 and 7
    assert test.bands == ["B02", "B08", "VV", "VH", "elevation"]
    assert test.images[1, :, 5, 5] == pytest.approx([0.08, 0.08, (60 - 17) / 80, 0.5, 1200 / 9500])
    assert test.context.shape == (2, 36)
    assert test.context_names[29:32] == ["climate_zone_30", "season", "temperature"]
    assert test.context[1].nonzero()[0].tolist() == [6, 30, 31, 32, 33, 34, 35]  # zone 7
    assert test.scale["ranges"]["VV"] == [-60, 20]
    data = json.loads((tmp_path / "reports/data.json").read_text())
    assert data["bands"]["test"]["VV"]["mean"] == pytest.approx(-16.5, abs=0.001)
    assert data["bands"]["test"]["elevation"]["p99"] == pytest.approx(700, abs=0.1)
    assert data["context"]["test"]["temperature"] == {"mean": 260, "std": 0, "min": 260, "max": 260}
    assert data["context"]["test"]["climate_zone_7"]["mean"] == 0.5
    assert "climate_zone_9" not in data["context"]["test"]
    assert data["radar"]["days_apart"] == {"median": 2, "largest": 2}


@pytest.mark.parametrize("inputs", [["sentinel-1"], ["elevation", "season"]])
def test_light_may_be_left_out(dataset, run_stage, tmp_path, inputs):
    dataset.add_modalities()
    for patch_id in dataset.ids:
        for band in dataset.bands:
            dataset.tile(patch_id, band).unlink()
    done = run_stage("preprocess", *PATHS, params=params(inputs=inputs))
    assert (done.returncode, done.stderr) == (0, "")
    test = tensors.load_split(tmp_path / "data/tensors", "test")
    assert test.bands == (["VV", "VH"] if "sentinel-1" in inputs else ["elevation"])


def test_radar_of_other_patches_is_told(dataset, run_stage, tmp_path):
    dataset.add_modalities()
    ids = [row["patch_id_s1"] for row in dataset.meta]
    for row, patch_id in zip(dataset.meta, ids[4:] + ids[:4], strict=True):
        row["patch_id_s1"] = patch_id
    dataset.write_tables()
    write_tile(
        dataset.elevation_tile(0), np.zeros((120, 120), np.int16), transform=rasterio.Affine(10, 0, 0, 0, -10, 0)
    )
    done = run_stage("preprocess", *PATHS, params=params(inputs=["sentinel-1", "sentinel-2", "elevation"]))
    assert done.returncode == 0
    told = done.stderr.splitlines()
    assert told[0].startswith(f"warning: tiny: in 1 of 8 patches, for example {dataset.ids[0]}, the radar or elevation")
    assert told[1].startswith("warning: tiny: in 8 of 8 patches, patch_id_s1 ends with another column or row")
    # VV falls from patch to patch as the near infrared rises, and VH is the same everywhere.
    assert len(json.loads((tmp_path / "reports/data.json").read_text())["warnings"]) == len(told) == 2


def test_bad_tiles_and_cells_of_all_modalities_are_listed_together(dataset, run_stage):
    dataset.add_modalities()
    dataset.tile(dataset.ids[0], "B02").unlink()
    dataset.radar_tile(1, "VH").unlink()
    write_tile(dataset.elevation_tile(4), np.full((120, 120), -9999, np.int16))
    dataset.meta[6]["climatezone"] = "none"
    dataset.write_tables()
    done = run_stage("preprocess", *PATHS, params=params(inputs=EVERYTHING))
    assert done.returncode == 1
    told = ["B02 is missing", "VH is missing", "-9999 m, outside -500 to 9000", "climatezone in the meta table is not"]
    assert done.stderr.startswith("error: 4 bad patches: ")
    assert all(reason in done.stderr for reason in told)
    enough = params(inputs=EVERYTHING, preprocess={"max_bad_patches": 4, "offset": "auto", "resampling": "bilinear"})
    assert run_stage("preprocess", *PATHS, params=enough).returncode == 0


@pytest.mark.parametrize("paired", [True, False])
def test_the_correlation_of_vh_and_near_infrared_is_that_of_the_patches(run_stage, tmp_path, paired):
    count = 30
    data = Dataset(tmp_path / "data/patches/tiny", [0, 3] * (count // 2))
    data.add_modalities()
    order = np.arange(count) if paired else np.random.default_rng(0).permutation(count)
    for i in range(count):  # the near infrared rises from patch to patch
        write_tile(data.radar_tile(i, "VH"), np.full((120, 120), -30 + order[i] / 2, np.float32))
    write_tile(data.tile(data.ids[0], "B08"), np.where(np.arange(14400) < 14000, 0, 100).reshape(120, 120).astype("u2"))
    split = {"method": "order", "train": 20, "val": 5, "test": 5}
    given = params(datasets={"tiny": {"source": "x", "split": split}}, inputs=["sentinel-2", "sentinel-1"])
    done = run_stage("preprocess", *PATHS, params=given)
    assert done.returncode == 0, done.stderr
    expected = np.corrcoef(np.arange(count), order)[0, 1]
    found = json.loads((tmp_path / "reports/data.json").read_text())["radar"]
    assert found["vh_nir_correlation"] == pytest.approx(expected, abs=1e-6)
    assert ("VH does not rise with the near infrared" in done.stderr) is not paired

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from tiny import LOCAL, Dataset, write_picture, write_tile

from landcover import config, constants
from landcover.data import tensors
from landcover.data.index import load_index
from landcover.errors import InputError
from landcover.models.weights import load as load_network
from stages.preprocess import preprocess

SPLIT = {"method": "order", "train": 4, "val": 2, "test": 2}
EVERYTHING = ["weather", "season", "climate_zone", "elevation", "sentinel-1", "sentinel-2"]


class Written(NamedTuple):
    """What the stage wrote."""

    folder: Path
    contract: dict[str, Any]  # data.json
    stderr: str

    def split(self, name: str) -> tensors.Split:
        return tensors.load_split(self.folder, name, shares=self.folder.parent / "shares.safetensors")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys) -> Callable[..., Written]:
    """Run the stage on the dataset tiny, with parameters changed as a test says."""
    monkeypatch.chdir(tmp_path)

    def run(
        inputs=("sentinel-2",), bands=("B02", "B08"), max_bad_patches=0, general_offset="auto", workers=1,
        own_bands=None, **facts,
    ):  # fmt: skip
        entry = config.Dataset.model_validate({"source": "x", "split": SPLIT, "bands": own_bands} | facts)
        options = {"offset": general_offset, "resampling": "bilinear", "max_bad_patches": max_bad_patches}
        preprocess(
            Path("data/patches"),
            Path("data/tensors"),
            Path("data/shares.safetensors"),
            Path("reports/data.json"),
            dataset="tiny",
            datasets={"tiny": entry},
            inputs=list(inputs),
            bands=list(bands),
            preprocess=config.Preprocessing.model_validate(options),
            runtime=LOCAL.model_copy(update={"workers": workers}),
        )
        contract = json.loads(Path("reports/data.json").read_text())
        return Written(tmp_path / "data/tensors", contract, capsys.readouterr().err)

    return run


def test_tensors_index_and_data_contract(dataset, run):
    written = run()
    assert written.stderr == ""
    train = written.split("train")
    assert (train.images.shape, train.images.dtype) == ((4, 2, 120, 120), np.float32)
    assert train.images[:, 0, 0, 0].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert (train.labels.tolist(), train.labels.dtype) == ([0, 3, 0, 3], np.int64)
    assert (train.bands, train.classes[3]) == (["B02", "B08"], "cropland")
    assert train.scale == {"divisor": 10_000, "offset": 0, "minimum": 0, "maximum": 1}
    assert np.array_equal(train.shares, np.eye(11)[train.labels])  # of 75 %, the rest is of no class

    index = pd.read_csv(written.folder / "index.csv")
    assert index.columns.tolist() == ["split", "row", "patch_id", "label", "majority_fraction", "lon", "lat"]
    assert index["patch_id"].tolist() == dataset.ids
    assert index["split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert index["row"].tolist() == [0, 1, 2, 3, 0, 1, 0, 1]
    assert index["label"].tolist() == dataset.labels

    contract = written.contract
    assert contract["patches"] == {"train": 4, "val": 2, "test": 2}
    assert contract["classes"][3] == {"class": "cropland", "train": 2, "val": 1, "test": 1}
    assert contract["bands"]["train"]["B08"]["mean"] == pytest.approx(0.025)
    assert contract["bands"]["test"]["B02"]["p50"] == pytest.approx(0.07)
    # Test patches 6 and 7 lie beside train patches 2 and 3, and val patches 4 and 5 beside 0 and 1.
    for split in ("test", "val"):
        assert contract["leakage"][split]["same_ground"] == {"patches": 0, "share": 0.0}
        assert contract["leakage"][split]["touching"] == {"patches": 2, "share": 1.0}
    assert (contract["split"]["unused"], contract["excluded"]) == (0, 0)
    assert (contract["dataset"], contract["synthetic"], contract["patch_size"], contract["split_by"]) == (
        "tiny",
        False,
        120,
        SPLIT,
    )
    assert tensors.load_origin(written.folder) == ("tiny", False, "2A")
    assert contract["dropped"] == {}


def test_rows_sorted_by_class_are_told_first_and_a_random_split_takes_them(run, tmp_path):
    """By order, trees train, cropland is val, and water is tested."""
    data = Dataset(tmp_path / "data/patches/tiny", [0] * 6 + [3] * 6 + [7] * 6)
    for row, label in zip(data.cover[:12], data.labels, strict=False):  # as much is moss
        row |= {constants.CLASSES[label]: 0.5, "moss_and_lichen": 0.5}
    data.write_tables()
    written = run(split={"method": "order", "train": 0.4, "val": 0.2, "test": 0.4})
    untrained, ties = written.contract["warnings"]
    assert untrained.startswith("6 of 7 test patches have classes without a train patch, so no network can get them")
    assert ties.startswith("12 of 18 labels are ties: ")
    assert written.stderr == f"warning: tiny: {untrained}\nwarning: tiny: {ties}\n"

    drawn = run(split={"method": "random", "val": 0.2, "test": 0.2, "seed": 0}).contract
    assert [row["train"] for row in drawn["classes"] if row["class"] in ("tree_cover", "cropland")] == [4, 4]
    assert drawn["patches"] == {"train": 12, "val": 3, "test": 3}
    assert drawn["warnings"] == [ties]
    assert drawn["leakage"]["test"].keys() >= {"same_ground", "touching"}


def test_an_archive_in_place_with_another_md5_than_its_entry_is_refused(dataset, run, tmp_path):
    download = {"params": {"params.yaml": {"datasets.tiny.source": "x"}}, "outs": [{"md5": "1" * 32}]}
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": {"download": download}}))
    with pytest.raises(InputError) as refused:
        run(md5="2" * 32)
    assert str(refused.value) == (
        f"datasets.tiny.md5 = {'2' * 32}: the archive in place has {'1' * 32}; correct it, or fetch the archive "
        "again with dvc repro --force --single-item download"
    )


def test_hashes_depend_on_membership_and_labels_and_not_on_order(dataset, run):
    def hashes():
        contract = run().contract
        return contract["membership_sha256"], contract["labels_sha256"]

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


def test_workers_do_not_change_the_bytes(dataset, run):
    dataset.add_modalities()
    contents = [
        [path.read_bytes() for path in sorted(run(EVERYTHING, workers=workers).folder.iterdir())] for workers in (1, 3)
    ]
    assert contents[0] == contents[1]


def test_patches_on_a_list_are_left_out_and_counted(dataset, run):
    lists = Path("data/lists")
    lists.mkdir()
    (lists / "clouds.csv").write_text(f"{dataset.ids[1]}\n{dataset.ids[7]}\nelsewhere\n")
    contract = run(exclude=["clouds.csv"]).contract
    assert (contract["patches"], contract["excluded"]) == ({"train": 3, "val": 2, "test": 1}, 2)


def test_without_positions_leakage_is_unknown(dataset, run):
    dataset.meta = [{"patch_id": row["patch_id"]} for row in dataset.meta]
    dataset.write_tables()
    written = run()
    assert written.contract["leakage"] is None
    # All tiles of this dataset lie at one place, as where a program wrote them with a placeholder.
    assert written.stderr == (
        "warning: tiny: all 8 files have the same georeference, so it is unknown where the patches lie\n"
    )
    assert pd.read_csv(written.folder / "index.csv")["lon"].isna().all()


# -- bad patches


def test_all_bad_patches_are_named_in_one_line_and_nothing_is_written(dataset, run_stage, tmp_path):
    dataset.add_modalities()
    dataset.tile(dataset.ids[0], "B02").unlink()
    dataset.radar_tile(1, "VH").unlink()
    write_tile(dataset.elevation_tile(4), np.full((120, 120), -9999, np.int16))
    write_tile(dataset.tile(dataset.ids[5], "B08"), np.ones((60, 60), np.uint16))
    dataset.meta[6]["climatezone"] = "none"
    dataset.cover[7]["cropland"] = 0.0
    dataset.write_tables()
    entry = {"source": "x", "split": SPLIT}
    params = {"dataset": "tiny", "datasets": {"tiny": entry}, "bands": ["B02", "B08"], "inputs": EVERYTHING}
    done = run_stage(
        "preprocess", "data/patches", "data/tensors", "data/shares.safetensors", "reports/data.json", params=params
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: 6 of 8 patches are bad, and none is left for val, test: ")
    reasons = {
        0: "B02 is missing", 1: "VH is missing", 4: "elevation has values of -9999 m, outside -500 to 9000",
        5: "B08 is 60 x 60 pixels, not 120 x 120", 6: "its climatezone in the meta table is not one of 0 to 30",
        7: "all WorldCover fractions are zero",
    }  # fmt: skip
    assert all(f"{dataset.ids[i]}: {reason}" in done.stderr for i, reason in reasons.items())
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["patches"]
    assert not (tmp_path / "reports").exists()


def test_bad_patches_within_the_limit_are_left_out_and_counted(dataset, run):
    dataset.tile(dataset.ids[1], "B02").unlink()
    with pytest.raises(InputError, match=r"1 of 8 patches are bad: .*, or .* with preprocess.max_bad_patches: 1"):
        run()
    written = run(max_bad_patches=1)
    assert written.stderr == "left out 1 bad patches; see reports/data.json\n"
    train = written.split("train")
    assert train.images[:, 0, 0, 0].tolist() == pytest.approx([0.01, 0.03, 0.04])
    assert train.labels.tolist() == [0, 0, 3]
    assert load_index(written.folder, "train").patch_ids.tolist() == [dataset.ids[i] for i in (0, 2, 3)]
    assert written.contract["dropped"] == {dataset.ids[1]: "B02 is missing"}


def test_patches_outside_the_splits_need_not_be_good(dataset, run):
    dataset.tile(dataset.ids[7], "B02").unlink()
    assert run(split=SPLIT | {"test": 1}).contract["patches"]["test"] == 1


# -- nodata and the offset


@pytest.mark.parametrize(("number", "profile"), [(0, {}), (65_535, {"nodata": 65_535})], ids=["zero", "tag"])
def test_nodata_is_in_no_band_statistic(dataset, run, number, profile):
    pixels = np.full((120, 120), 200, np.uint16)
    pixels[:10] = number
    write_tile(dataset.tile(dataset.ids[1], "B02"), pixels, **profile)
    contract = run().contract
    numbers, counts = np.array([100, 200, 300, 400]), [14_400, 13_200, 14_400, 14_400]
    mean = np.average(numbers, weights=counts)
    std = np.sqrt(np.average((numbers - mean) ** 2, weights=counts))
    assert contract["patches_with_nodata"] == 1
    expected = {"mean": mean / 1e4, "std": std / 1e4, "p1": 0.01, "p50": 0.03, "p99": 0.04}
    assert contract["bands"]["train"]["B02"] == pytest.approx(expected, abs=1e-6)


def test_each_patch_has_its_own_offset_from_tags_or_baseline(dataset, run):
    for i in (1, 2):
        for band in dataset.bands:
            write_tile(dataset.tile(dataset.ids[i], band), np.full((120, 120), 1000 + 100 * (i + 1), np.uint16))
    for band in dataset.bands:
        with rasterio.open(dataset.tile(dataset.ids[1], band), "r+") as tile:
            tile.scales, tile.offsets = (0.0001,), (-0.1,)
    dataset.meta = [row | {"processing_baseline": "05.09" if i == 2 else ""} for i, row in enumerate(dataset.meta)]
    dataset.write_tables()
    written = run()
    assert written.split("train").images[:, 0, 0, 0].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert written.contract["offsets"] == {"0": 6, "1000": 2}
    assert (written.contract["bands"]["train"]["B02"]["mean"], written.stderr) == (pytest.approx(0.025), "")


def test_the_offset_of_a_dataset_goes_before_that_of_preprocess(dataset, run):
    train = run(general_offset=10, offset=50).split("train")
    assert train.images[:, 0, 0, 0].tolist() == pytest.approx([0.005, 0.015, 0.025, 0.035])
    assert train.scale["offset"] == 50


def bright(tmp_path, count: int) -> dict:
    """A dataset of patches that are nowhere darker than 1300 and whose offset is unknown; its entry's split."""
    data = Dataset(tmp_path / "data" / "patches" / "tiny", [0, 3] * (count // 2), ("B02",))
    for patch_id in data.ids:
        write_tile(data.tile(patch_id, "B02"), np.full((120, 120), 1300, np.uint16))
    return SPLIT | {"train": count - 4}


def test_an_unknown_offset_is_seen_in_the_pixels(run, tmp_path):
    split = bright(tmp_path, 20)
    remedy = r"set datasets.tiny.offset to the number that was added \(1000 by baseline 04.00\), or to 0"
    with pytest.raises(InputError, match=f"tiny: 99% of the blue pixels are above 1299, .*{remedy}"):
        run(bands=["B02"], split=split)
    assert not (tmp_path / "reports").exists()
    for offset, warned in ((0, True), (1000, False)):
        written = run(bands=["B02"], split=split, offset=offset)
        assert written.stderr.startswith("warning: tiny: 99%") is warned
        assert ("warnings" in written.contract) is warned
    few = run(bands=["B02"], split=SPLIT).contract  # of which all may be snow
    assert few["warnings"][0].startswith("99% of the blue pixels are above 1299, which suggests")


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
    changed |= {
        "train": {"epochs": 2},
        "repeat": {"seeds": [1]},
        "evaluate": {"resamples": 100},
        "runtime": {"workers": 1},
    }
    done = in_turn(
        "stages preprocess data/patches t sh data.json",
        "stages folds t f.csv",
        "stages baseline t sh f.csv b.json b.csv fb.csv",
        "stages pretrained w",
        "stages train t sh w m l h.csv",
        "stages repeat t sh w f.csv s e",
        "stages evaluate t sh f.csv l s h.csv b.csv fb.csv r",
        "stages report t m data.json b.json h.csv r/metrics.json r/seeds.json r/predictions.csv r/per_class.csv "
        "r/report.md card.md m.stac.json",
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
    # Leakage depends on the size of a patch: neighbours are 1.2 km apart, too far for patches of 0.64 km to touch.
    assert json.loads((tmp_path / "data.json").read_text())["leakage"]["test"]["touching"]["patches"] == 0


def test_patches_that_are_all_of_another_size_are_an_error_with_the_remedy(tmp_path, run):
    data = Dataset(tmp_path / "data" / "patches" / "tiny", [0, 3] * 4, patch_size=64)
    with pytest.raises(InputError) as error:
        run()
    assert str(error.value) == (
        "all 8 patches are bad: "
        f"{', '.join(data.ids[:3])} and 5 more: B02 is 64 x 64 pixels, not 120 x 120: "
        "correct them, or what datasets.tiny says of them, such as its patch_size"
    )


# -- images in folders


@pytest.fixture
def pictures(tmp_path) -> Path:
    """JPEGs of two classes, from dark to bright; blue is 0."""
    root = tmp_path / "data" / "patches" / "set"
    for i in range(8):
        write_picture(root / ("crop", "lake")[i % 2] / f"{i}.jpg", (20 * i, 100, 0))
    return root


RGB = {"own_bands": ["B04", "B03", "B02"], "split": {"method": "order", "train": 4, "val": 2, "test": 2}}


def test_a_folder_of_pictures_becomes_tensors(pictures, run):
    written = run(**RGB)
    train = written.split("train")
    assert (train.bands, train.classes, train.images.shape) == (RGB["own_bands"], ["crop", "lake"], (4, 3, 32, 32))
    row = load_index(written.folder, "train").patch_ids.tolist().index("crop/4")
    assert train.images[row, :, 5, 5] == pytest.approx([80 / 255, 100 / 255, 0.0001], abs=0.005)
    assert train.images.min() == np.float32(0.0001)  # a value, not nodata
    assert train.scale == {"divisor": 255, "offset": 0, "minimum": 0, "maximum": 1}
    contract = written.contract
    assert contract["numbers"] == {"type": "uint8", "scale": 0.003922, "offset": "auto", "reflectance": False}
    assert (contract["patch_size"], contract["single_class"], contract["leakage"]) == (32, True, None)
    assert sorted(load_index(written.folder, "val").patch_ids) == ["lake/1", "lake/3"]


def test_a_stated_scale_makes_reflectances(pictures, run):
    written = run(**RGB, scale=0.275 / 255, level="1C")
    assert written.split("train").images[0, 1, 0, 0] == pytest.approx(100 * 0.275 / 255, abs=0.002)
    assert written.contract["numbers"]["reflectance"] is True
    assert written.contract["level"] == "1C"


def test_bad_pictures_are_told_once_each_with_their_number_and_an_example(pictures, run):
    for name, options in {"crop/0": {"side": 40}, "crop/2": {"side": 40}, "lake/1": {"mode": "L"}}.items():
        write_picture(pictures / f"{name}.jpg", 7 if "mode" in options else (7, 7, 7), **options)
    (pictures / "lake/3.jpg").write_bytes(b"")
    with pytest.raises(InputError) as error:
        run(**RGB)
    told = str(error.value)
    assert "4 of 8 patches are bad" in told
    assert "crop/0, crop/2: its image is 40 x 40 pixels, not 32 x 32" in told
    assert "lake/1: its image is grey with 1 band, not 3; write" in told
    assert "lake/3: its image is not a readable JPEG or PNG" in told


def test_numbers_of_another_scale_than_their_type_suggests_are_refused(run, tmp_path):
    for i in range(8):
        path = tmp_path / "data" / "patches" / "ab"[i % 2] / f"{i}.tif"
        write_tile(path, np.full((1, 32, 32), 300.0 + i, np.float32))
    one = {"bands": ["B04"], "split": RGB["split"]}
    with pytest.raises(InputError, match="100% of the pixels exceed a reflectance of 1, which suggests another"):
        run(**one)
    assert run(**one, scale=0.0001).split("train").images[0, 0, 0, 0] == pytest.approx(0.03)


def test_positions_come_from_a_table_in_the_lists(pictures, run):
    Path("data/lists").mkdir(parents=True)
    rows = [f"{i},{10 + i},50" for i in range(8)]
    Path("data/lists/where.csv").write_text("\n".join(["tile,lon,lat", *rows]))
    contract = run(**RGB, positions="where.csv").contract
    assert contract["leakage"]["test"]["within_6_km"]["patches"] == 0


# -- other inputs


def test_all_modalities_come_in_a_fixed_order_with_their_names_and_statistics(dataset, run):
    dataset.add_modalities()
    written = run(EVERYTHING)
    assert written.stderr == ""
    test = written.split("test")  # the patches 6 and 7
    assert test.bands == ["B02", "B08", "VV", "VH", "elevation"]
    assert test.images[1, :, 5, 5] == pytest.approx([0.08, 0.08, (60 - 17) / 80, 0.5, 1200 / 9500])
    assert test.context.shape == (2, 36)
    assert test.context_names[29:32] == ["climate_zone_30", "season", "temperature"]
    assert test.context[1].nonzero()[0].tolist() == [6, 30, 31, 32, 33, 34, 35]  # zone 7
    assert test.scale["ranges"]["VV"] == [-60, 20]
    contract = written.contract
    assert contract["bands"]["test"]["VV"]["mean"] == pytest.approx(-16.5, abs=0.001)
    assert contract["bands"]["test"]["elevation"]["p99"] == pytest.approx(700, abs=0.1)
    assert contract["context"]["test"]["temperature"] == {"mean": 260, "std": 0, "min": 260, "max": 260}
    assert contract["context"]["test"]["climate_zone_7"]["mean"] == 0.5
    assert "climate_zone_9" not in contract["context"]["test"]
    assert contract["radar"]["days_apart"] == {"median": 2, "largest": 2}


@pytest.mark.parametrize("inputs", [["sentinel-1"], ["elevation", "season"]])
def test_optical_bands_may_be_left_out(dataset, run, inputs):
    dataset.add_modalities()
    for patch_id in dataset.ids:
        for band in dataset.bands:
            dataset.tile(patch_id, band).unlink()
    assert run(inputs).split("test").bands == (["VV", "VH"] if "sentinel-1" in inputs else ["elevation"])


def test_radar_of_other_patches_is_a_warning(dataset, run):
    dataset.add_modalities()
    ids = [row["patch_id_s1"] for row in dataset.meta]
    for row, patch_id in zip(dataset.meta, ids[4:] + ids[:4], strict=True):
        row["patch_id_s1"] = patch_id
    dataset.write_tables()
    elsewhere = rasterio.Affine(10, 0, 0, 0, -10, 0)
    write_tile(dataset.elevation_tile(0), np.zeros((120, 120), np.int16), transform=elsewhere)
    written = run(["sentinel-1", "sentinel-2", "elevation"])
    first, second = written.stderr.splitlines()
    assert first.startswith(f"warning: tiny: in 1 of 8 patches, for example {dataset.ids[0]}, the radar or elevation")
    assert second.startswith("warning: tiny: in 8 of 8 patches, patch_id_s1 ends with another column or row")
    assert len(written.contract["warnings"]) == 2


def test_vh_that_does_not_rise_with_the_near_infrared_is_a_warning(run, tmp_path):
    count = 30
    data = Dataset(tmp_path / "data/patches/tiny", [0, 3] * (count // 2))
    data.add_modalities()
    order = np.random.default_rng(0).permutation(count)
    for i in range(count):  # the near infrared rises from patch to patch
        write_tile(data.radar_tile(i, "VH"), np.full((120, 120), -30 + order[i] / 2, np.float32))
    write_tile(data.tile(data.ids[0], "B08"), np.where(np.arange(14400) < 14000, 0, 100).reshape(120, 120).astype("u2"))
    written = run(["sentinel-2", "sentinel-1"], split={"method": "order", "train": 20, "val": 5, "test": 5})
    expected = np.corrcoef(np.arange(count), order)[0, 1]
    assert written.contract["radar"]["vh_nir_correlation"] == pytest.approx(expected, abs=1e-6)
    assert "VH does not rise with the near infrared" in written.stderr

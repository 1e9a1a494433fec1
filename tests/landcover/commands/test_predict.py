import argparse
import hashlib
import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import torch
import yaml
from tiny import Dataset, brighter_band, merged, write_tile

from landcover.cli import guard
from landcover.commands import predict
from landcover.data.tensors import Split
from landcover.errors import InputError
from landcover.evaluation import applicability
from landcover.evaluation.applicability import Applicability
from landcover.models.weights import save, save_ensemble
from landcover.synthetic.scene import write_scene as write_sample

SIZE = 20
FACTS = {"synthetic": True, "dataset": "tiny"}
PATCHES = np.broadcast_to(np.array([[0.04, 0.14], [0.19, 0.14]], np.float32)[..., None, None], (2, 2, SIZE, SIZE))
TRAIN = Split(PATCHES, np.zeros(2, np.int64), ["B02", "B08"], [], {})
KNOWN = Applicability.of(TRAIN, TRAIN, "tiny")._replace(threshold=1, share_of_val=0.0067)


@pytest.fixture
def workspace(tmp_path, default_params, monkeypatch):
    """A folder with a model, and scene.tif: 40 x 60 pixels, a third brighter in B02 by 0.05, the rest in B08 by 0.1."""
    monkeypatch.chdir(tmp_path)
    runtime = {"device": "cpu", "workers": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(merged(default_params, {"runtime": runtime})))
    (tmp_path / "models").mkdir()
    network, metadata = brighter_band(SIZE)
    save(tmp_path / "models" / "model.safetensors", network, replace(metadata, **FACTS))
    applicability.save(tmp_path / "models" / "applicability.safetensors", KNOWN)
    pixels = np.empty((2, 40, 60), np.uint16)
    pixels[0], pixels[1] = 400, 1400
    pixels[0, :, :20] = 1900
    write_scene(tmp_path / "scene.tif", pixels)
    yield tmp_path
    torch.use_deterministic_algorithms(False)


def write_scene(path, pixels: np.ndarray) -> None:
    write_tile(path, pixels)
    with rasterio.open(path, "r+") as scene:
        scene.descriptions = ("B02", "B08")


def run(capsys, *arguments: str) -> tuple[list[str], str]:
    predict.main(list(arguments))
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err


def test_a_scene_becomes_a_folder_of_a_map(workspace, capsys):
    lines, errors = run(capsys, "scene.tif")
    assert lines == [
        "maps/scene: 67% cropland, 33% tree cover",
        "0% of the cells are below 50% confidence, 0% have no data",
    ]
    assert "warning" not in errors
    folder = workspace / "maps" / "scene"
    names = {"classes.tif", "classes.tif.aux.xml", "classes.qml", "confidence.tif", "confidence.qml", "map.png"}
    names |= {"map.html", "summary.json", "unlike.tif"}
    assert {path.name for path in folder.iterdir()} == names
    with rasterio.open(folder / "classes.tif") as raster:
        assert raster.read(1).tolist() == [[10, 40, 40], [10, 40, 40]]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["model"]["dataset"] == "tiny"
    assert summary["scene"]["offset"] == 0
    assert sorted(path.name for path in (workspace / "maps").iterdir()) == ["scene"]


def test_a_class_has_the_colour_that_the_entry_gives_it(workspace, default_params, capsys):
    entry = default_params["datasets"]["ben-ge-sample"] | {"colours": {"cropland": "#123456"}}
    changed = merged(yaml.safe_load((workspace / "params.yaml").read_text()), {"datasets": {"tiny": entry}})
    (workspace / "params.yaml").write_text(yaml.safe_dump(changed))
    run(capsys, "scene.tif")
    with rasterio.open(workspace / "maps" / "scene" / "classes.tif") as raster:
        colours = raster.colormap(1)
    assert colours[40][:3] == (0x12, 0x34, 0x56)
    assert colours[10][:3] == (0, 0x64, 0)  # WorldCover's


def test_options_apply_to_the_synthetic_scene_too(workspace, capsys, monkeypatch):
    monkeypatch.setattr(predict, "write_scene", partial(write_sample, patches=2))
    lines, _ = run(capsys, "sample", "--out", "a")
    assert re.fullmatch(r"accuracy 0\.\d{3} over \d+ cells", lines[2])
    assert json.loads((workspace / "a" / "summary.json").read_text())["scene"]["offset"] == 0
    write_sample(workspace, patches=2)
    with rasterio.open("truth.tif", "r+") as truth:
        truth.write(np.full_like(truth.read(), 40))  # cropland
    run(capsys, "sample", "--out", "b", "--truth", "truth.tif", "--offset", "100")
    summary = json.loads((workspace / "b" / "summary.json").read_text())
    assert summary["scene"]["offset"] == 100
    with rasterio.open("b/classes.tif") as raster:
        assert summary["truth"]["accuracy"] == pytest.approx((raster.read(1) == 40).mean(), abs=1e-4)


def test_predict_works_outside_the_repository(workspace, capsys):
    (workspace / "params.yaml").unlink()
    (workspace / "models" / "model.safetensors").rename("mine.safetensors")
    lines, _ = run(capsys, "scene.tif", "--model", "mine.safetensors")
    assert lines[0] == "maps/scene: 67% cropland, 33% tree cover"
    with pytest.raises(InputError, match=r"models/model.safetensors: not found; .*by --model"):
        predict.main(["scene.tif"])


def test_uncertain_cells_can_be_left_out(workspace, capsys):
    # Confidence is 1 / (1 + exp(-0.5)) = 0.62 on the left, and 1 / (1 + exp(-1)) = 0.73 on the right.
    options = ("--threshold", "0.7", "--mask", "--probabilities", "--out", "m")
    lines, _ = run(capsys, "scene.tif", *options)
    assert lines[1] == "33% of the cells are below 70% confidence, 0% have no data"
    with rasterio.open("m/classes.tif") as raster:
        assert raster.read(1).tolist() == [[0, 40, 40], [0, 40, 40]]
    with rasterio.open("m/probabilities.tif") as raster:
        assert raster.descriptions == ("tree_cover", "cropland")


def test_windows_unlike_those_of_training_are_told_hatched_and_masked(workspace, capsys):
    pixels = np.empty((2, 40, 60), np.uint16)
    pixels[0], pixels[1] = 400, 1400
    pixels[:, :, 40:] = 10_000  # a cloud
    write_scene(workspace / "bright.tif", pixels)
    _, errors = run(capsys, "bright.tif", "--mask", "unlike")
    assert (
        "warning: bright.tif: 33% of the cells are unlike the train patches, < 1% of the val patches are; do not trust "
        "the map there: they are hatched crosswise in map.png\n"
    ) in errors
    folder = workspace / "maps" / "bright"
    with rasterio.open(folder / "unlike.tif") as raster:
        assert (raster.read(1) > float(raster.tags()["UNLIKE_THRESHOLD"])).tolist() == [[False, False, True]] * 2
    with rasterio.open(folder / "classes.tif") as raster:
        assert raster.read(1).tolist() == [[40, 40, 0]] * 2
    unlike = json.loads((folder / "summary.json").read_text())["unlike_train"]
    assert unlike == {"share": pytest.approx(1 / 3, abs=1e-6), "threshold": 1, "share_of_val": 0.0067}


def test_each_run_says_what_the_model_cannot_know(workspace, capsys):
    told = "models/model.safetensors: trained on synthetic data, tiny; what it says of real scenes means nothing\n"
    _, errors = run(capsys, "scene.tif")
    assert errors.count(told) == 1
    known = workspace / "models" / "applicability.safetensors"
    missing = "models/applicability.safetensors: not there, or of another dataset than models/model.safetensors; "
    assert missing not in errors
    for change in (lambda: applicability.save(known, KNOWN._replace(dataset="other")), known.unlink):
        change()
        _, errors = run(capsys, "scene.tif")
        assert f"{missing}so cells unlike its train patches are not marked\n" in errors
        assert not (workspace / "maps" / "scene" / "unlike.tif").exists()
    network, metadata = brighter_band(SIZE)
    save(workspace / "models" / "model.safetensors", network, replace(metadata, dataset="real"))
    assert "synthetic" not in run(capsys, "scene.tif")[1]


def test_rasters_say_where_they_come_from(workspace, capsys):
    name = "S2B_MSIL2A_20230613T101031_N0509.tif"
    (workspace / "scene.tif").rename(name)
    run(capsys, name, "--out", "m", "--offset", "100")
    for raster_name in ("classes", "confidence", "unlike"):
        with rasterio.open(f"m/{raster_name}.tif") as raster:
            tags = raster.tags()
        del tags["AREA_OR_POINT"]
        assert tags == {
            "TIFFTAG_IMAGEDESCRIPTION": f"Land cover of {name}, by a model of the synthetic data tiny",
            "TIFFTAG_SOFTWARE": "landcover predict",
            "TIFFTAG_DATETIME": "2023:06:13 00:00:00",
            "MODEL_SHA256": hashlib.sha256((workspace / "models" / "model.safetensors").read_bytes()).hexdigest(),
            "MODEL_DATASET": "tiny",
            "SCENE": name,
            "SCENE_OFFSET": "100",
            "SCENE_QUANTIFICATION": "10000",
            "UNLIKE_THRESHOLD": "1",
        }


def test_an_ensemble_can_be_asked_for(workspace, capsys):
    networks = {seed: brighter_band(SIZE, contrast)[0] for seed, contrast in ((1, 10), (2, 20))}
    metadata = replace(brighter_band(SIZE)[1], **FACTS, seeds=[1, 2])
    save_ensemble(workspace / "models" / "ensemble.safetensors", networks, metadata)
    run(capsys, "scene.tif", "--ensemble")
    with rasterio.open("maps/scene/confidence.tif") as raster:
        expected = (1 / (1 + np.exp(-0.5)) + 1 / (1 + np.exp(-1))) / 2
        np.testing.assert_allclose(raster.read(1)[:, 0], expected, atol=1e-5)
    assert json.loads((workspace / "maps" / "scene" / "summary.json").read_text())["model"]["networks"] == 2


def test_several_scenes_and_a_folder_of_patches_each_get_a_folder(workspace, capsys):
    data = Dataset(workspace / "patches" / "tiny", [0, 3], patch_size=SIZE)
    write_tile(data.tile(data.ids[0], "B08"), np.full((SIZE, SIZE), 1100, np.uint16))
    data.tile(data.ids[1], "B02").unlink()
    lines, errors = run(capsys, "scene.tif", str(data.root), "--out", "out")
    assert lines[2:] == ["out/tiny/predictions.csv: 100% cropland", "0% of 1 patches are below 50% confidence"]
    assert f"warning: 1 bad patch: {data.ids[1]}: B02 is missing" in errors
    table = pd.read_csv("out/tiny/predictions.csv", keep_default_na=False)
    assert table.columns.tolist() == ["patch_id", "predicted", "confidence", "problem"]
    assert table["predicted"].tolist() == ["cropland", ""]
    assert (workspace / "out" / "scene" / "map.png").exists()


def test_patches_that_are_all_bad_give_no_table(workspace):
    root = Dataset(workspace / "patches" / "tiny", [0, 3], patch_size=2 * SIZE).root
    with pytest.raises(InputError, match=r"all 2 patches are bad: .*: B02 is .*; correct them, or use a model of such"):
        predict.main([str(root)])
    assert not (workspace / "maps").exists()


def test_options_of_scenes_are_refused_for_a_folder_of_patches(workspace):
    root = str(Dataset(workspace / "patches" / "tiny", [0], patch_size=SIZE).root)
    with pytest.raises(InputError, match=r"^--step, --mask: for scenes, not for the patches in .*tiny; leave it out"):
        predict.main([root, "--mask", "--step", "5"])
    with pytest.raises(InputError, match=r"^--truth: for scenes"):
        predict.main([root, "--truth", "truth.tif"])
    with pytest.raises(InputError, match=r"^--offset 0.1: the numbers of patches are whole; give one such as 1000"):
        predict.main([root, "--offset", "0.1"])
    with pytest.raises(InputError, match=r"^--offset -1000: give what was added to the numbers, 1000, without the"):
        predict.main([root, "--offset", "-1000"])


def test_a_map_replaces_a_map_but_nothing_else(workspace, capsys):
    for _ in range(2):
        run(capsys, "scene.tif")
        for name in ("confidence.tif.aux.xml", "map.png.aux.xml", "confidence.qml", ".DS_Store"):  # by QGIS, by macOS
            (workspace / "maps" / "scene" / name).write_text("")
    (workspace / "maps" / "scene" / "notes.txt").write_text("mine")
    with pytest.raises(
        InputError, match=r"--out maps/scene: holds notes.txt, which is not part of a map; name another"
    ):
        predict.main(["scene.tif"])
    with pytest.raises(InputError, match=r"--out params.yaml: holds params.yaml, which is not part of a map"):
        predict.main(["scene.tif", "--out", "params.yaml"])
    assert (workspace / "maps" / "scene" / "notes.txt").read_text() == "mine"


def test_one_bad_scene_does_not_stop_the_others(workspace, capsys):
    write_scene(workspace / "small.tif", np.full((2, 8, 8), 400, np.uint16))
    (workspace / "maps" / "other").mkdir(parents=True)
    (workspace / "maps" / "other" / "notes.txt").touch()
    (workspace / "other.tif").write_bytes((workspace / "scene.tif").read_bytes())
    with pytest.raises(InputError, match=r"^3 of 4 scenes have no map; the lines above say why"):
        predict.main(["nowhere.tif", "small.tif", "other.tif", "scene.tif"])
    captured = capsys.readouterr()
    assert captured.out.startswith("maps/scene: 67% cropland")
    assert captured.err.startswith("error: nowhere.tif: not found; give a GeoTIFF")
    assert (
        "error: small.tif: 8 x 8 pixels of 10 m are too few for a window of 20 x 20; give a larger scene\n"
        in captured.err
    )
    assert "error: --out maps/other: holds notes.txt, which is not part of a map; name another" in captured.err
    assert sorted(path.name for path in (workspace / "maps").iterdir()) == ["other", "scene"]


def test_an_interrupted_map_says_what_is_kept(workspace, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "map_scene", interrupt)
    with pytest.raises(SystemExit) as end:
        guard(partial(predict.main, ["scene.tif"]))
    assert end.value.code == 130
    expected = "interrupted: run the same command again; finished maps are kept, the one that was begun is not\n"
    assert capsys.readouterr().err.endswith(f"means nothing\n{expected}")


def test_two_scenes_of_one_name_are_refused(workspace):
    (workspace / "other").mkdir()
    (workspace / "other" / "scene.tif").write_bytes((workspace / "scene.tif").read_bytes())
    with pytest.raises(InputError, match="several scenes would be written to maps/scene; map them one by one"):
        predict.main(["scene.tif", "other/scene.tif"])


@pytest.mark.parametrize("text", ["", "b0", "B02", "1 2", "1,,2"])
def test_bands_are_named_by_their_positions(text):
    assert predict.positions("b1,b2,b3,b7") == predict.positions("1,2,3,7") == [1, 2, 3, 7]
    with pytest.raises(argparse.ArgumentTypeError, match="as b1,b2,b3,b7"):
        predict.positions(text)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("a.tif", "a"), ("S2A_T33.SAFE", "S2A_T33"), ("../x y", "x-y"), ("..", "scene"), ("v1.2", "v1.2")],
)
def test_a_folder_is_named_after_the_scene(name, folder):
    assert predict.folder_name(name) == folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step", "0"], "^--step 0: choose from 1 to 20 pixels"),
        (["--step", "0", "--mosaic", "mean"], "^--step 0: choose from 1 to 20 pixels"),
        (["--threshold", "50"], "^--threshold 50: give a share from 0 to 1"),
        (["--truth", "params.yaml"], "^params.yaml cannot be read"),
        (["scene.tif", "--truth", "scene.tif"], "^--truth: applies to a single scene"),
    ],
)
def test_what_asks_for_no_map_is_refused(workspace, options, message):
    with pytest.raises(InputError, match=message):
        predict.main(["scene.tif", *options])
    assert not (workspace / "maps").exists()


def test_a_map_is_held_against_the_truth(workspace, capsys):
    truth = np.full((1, 40, 60), 40, np.uint8)
    truth[:, :, :10] = 10  # half of the first column's windows, of equal shares the first class
    write_tile(workspace / "truth.tif", truth)
    truth[:, :20] = 10
    write_tile(workspace / "other.tif", truth)
    lines, _ = run(capsys, "scene.tif", "--truth", "truth.tif")
    assert lines[2] == "accuracy 1.000 over 6 cells"
    lines, _ = run(capsys, "scene.tif", "--truth", "other.tif")
    assert lines[2] == "accuracy 0.667 over 6 cells"
    truth[:, :, :10] = 7
    write_tile(workspace / "other.tif", truth)
    lines, errors = run(capsys, "scene.tif", "--truth", "other.tif")
    assert (
        "warning: other.tif: 17% of its numbers are of no class (7); windows where these cover most do not count\n"
        in errors
    )


def test_clouds_are_masked_and_counted(workspace, capsys):
    classes = np.full((1, 20, 30), 4, np.uint8)
    classes[0, 0, 0] = 9
    write_tile(workspace / "scene_SCL.tif", classes)
    with rasterio.open(workspace / "scene_SCL.tif", "r+") as raster:
        raster.transform = raster.transform @ rasterio.Affine.scale(2)  # pixels of 20 m
    lines, _ = run(capsys, "scene.tif", "--mask", "clouds,snow")
    assert lines[1:] == [
        "0% of the cells are below 50% confidence, 17% have no data",
        "masked in the scene: < 1% clouds, 0% snow",
    ]
    with rasterio.open(workspace / "maps" / "scene" / "classes.tif") as raster:
        assert raster.read(1).tolist() == [[0, 40, 40], [10, 40, 40]]
    summary = json.loads((workspace / "maps" / "scene" / "summary.json").read_text())
    assert summary["masked_pixels"] == {"clouds": pytest.approx(1 / 600, abs=1e-6), "snow": 0}
    assert not summary["masked"]
    with pytest.raises(SystemExit):
        predict.main(["--mask", "scene.tif"])
    assert (
        "'scene.tif': choose from uncertain, unlike, clouds, shadows, snow; scenes come before"
        in capsys.readouterr().err
    )


def test_a_map_of_a_known_date_is_a_stac_item_and_polygons_are_asked_for(workspace, capsys):
    (workspace / "scene.tif").rename("S2B_MSIL2A_20230613T101031_N0509.tif")
    run(capsys, "S2B_MSIL2A_20230613T101031_N0509.tif", "--polygons", "--out", "map")
    item = json.loads((workspace / "map" / "item.json").read_text())
    assert item["properties"]["datetime"] == "2023-06-13T00:00:00Z"
    polygons = pyogrio.read_dataframe("map/polygons.gpkg")
    assert sorted(zip(polygons["class"], polygons["hectares"], strict=True)) == [("cropland", 16), ("tree_cover", 8)]
    run(capsys, "S2B_MSIL2A_20230613T101031_N0509.tif", "--polygons", "10", "--out", "map")
    assert pyogrio.read_dataframe("map/polygons.gpkg")["hectares"].tolist() == [24]


def test_a_model_of_shares_maps_shares_and_sums_areas(workspace, capsys):
    """Also where windows overlap: a share is of the window, and the truth of the cell."""
    network, metadata = brighter_band(SIZE)
    bias = {"tree_cover": 0.02, "cropland": -0.02}
    facts = FACTS | {"target": "shares", "share_bias": bias}
    save(workspace / "models" / "model.safetensors", network, replace(metadata, **facts))
    truth = np.full((40, 60), 10, np.uint8)
    truth[:, 30:] = 40
    write_tile(workspace / "truth.tif", truth)
    lines, errors = run(capsys, "scene.tif", "--truth", "truth.tif", "--threshold", "0.9")
    summary = json.loads((workspace / "maps" / "scene" / "summary.json").read_text())
    with rasterio.open(workspace / "maps" / "scene" / "shares.tif") as raster:
        assert raster.descriptions == ("tree_cover", "cropland")
        shares = raster.read()
    assert not (workspace / "maps" / "scene" / "probabilities.tif").exists()
    assert shares.sum(0) == pytest.approx(np.ones((2, 3)))
    tree, crop = summary["classes"]
    assert tree["share"] == pytest.approx(shares[0].mean(), abs=1e-6)
    assert tree["km2"] == pytest.approx(shares[0].sum() * 0.04, abs=1e-6)  # cells of 200 m
    assert (tree["counted_share"], tree["bias_on_test"], crop["bias_on_test"]) == (
        pytest.approx(1 / 3, abs=1e-6),
        *bias.values(),
    )
    areas = summary["truth"]["areas"]
    assert [row["true_km2"] for row in areas["classes"]] == [0.12, 0.12]
    assert [row["counted_km2"] for row in areas["classes"]] == [0.08, 0.16]
    assert areas["classes"][0]["summed_km2"] == tree["km2"]
    assert areas["put_wrong"]["counted"] == pytest.approx(0.04 / 0.24, abs=1e-6)
    assert "on the test split, mean shares were most wrong for tree cover +2.0 points, cropland -2.0 points;" in errors
    assert lines[1] == "100% of the cells have no class above 90%, 0% have no data"
    assert lines[3].startswith("area in a wrong class: 16.7% by counting cells, ")


def test_several_scenes_become_one_map(workspace, capsys):
    first, second = (f"S2B_MSIL2A_2023{day}T101031_N0509.tif" for day in ("0802", "0613"))
    (workspace / "scene.tif").rename(first)
    write_scene(workspace / second, np.full((2, 40, 60), 400, np.uint16) + np.uint16([[[0]], [[100]]]))
    classes = np.full((1, 40, 60), 4, np.uint8)
    classes[0, :20, 20:40] = 9  # clouds, in one of the six windows
    write_tile(workspace / first.replace(".tif", "_SCL.tif"), classes)
    write_tile(workspace / second.replace(".tif", "_SCL.tif"), np.full((1, 40, 60), 4, np.uint8))
    truth = np.full((1, 40, 60), 40, np.uint8)
    write_tile(workspace / "truth.tif", truth)
    options = ("--mosaic", "confidence", "--mask", "clouds", "--truth", "truth.tif")
    lines, _ = run(capsys, first, second, *options)
    assert lines == [
        "maps/mosaic: 67% cropland, 33% tree cover",
        "0% of the cells are below 50% confidence, 0% have no data",
        "accuracy 0.667 over 6 cells",
        f"{first}: used for 83% of the cells; masked in it: 17% clouds",
        f"{second}: used for 17% of the cells; masked in it: 0% clouds",
    ]
    folder = workspace / "maps" / "mosaic"
    with rasterio.open(folder / "confidence.tif") as raster:
        tree, crop, cloud = (1 / (1 + np.exp(-each)) for each in (0.5, 1, 0.1))
        np.testing.assert_allclose(raster.read(1), [[tree, cloud, crop], [tree, crop, crop]], rtol=1e-4)
    summary = json.loads((folder / "summary.json").read_text())["scene"]
    assert (summary["name"], summary["mosaic"], summary["width"]) == ("mosaic", "confidence", 60)
    assert summary["dates"] == ["2023-06-13", "2023-08-02"]
    assert [(one["name"], one["date"], one["cells"]) for one in summary["scenes"]] == [
        (first, "2023-08-02", 5), (second, "2023-06-13", 1),
    ]  # fmt: skip
    assert summary["scenes"][0]["masked_pixels"] == {"clouds": pytest.approx(1 / 6, abs=1e-6)}
    properties = json.loads((folder / "item.json").read_text())["properties"]
    assert properties["start_datetime"] == "2023-06-13T00:00:00Z"
    assert {path.name for path in folder.iterdir()} >= {"classes.qml", "map.png"}


def test_a_mosaic_is_of_the_good_scenes(workspace, capsys):
    with pytest.raises(InputError, match=r"^1 of 2 scenes are not in the mosaic; the lines above say why"):
        predict.main(["nowhere.tif", "scene.tif", "--mosaic", "mean", "--out", "area"])
    captured = capsys.readouterr()
    assert captured.err.startswith("error: nowhere.tif: not found")
    assert captured.out.endswith("scene.tif: used for 100% of the cells\n")
    predict.main(["scene.tif", "--out", "alone"])
    for name in ("classes.tif", "confidence.tif", "unlike.tif"):
        with rasterio.open(workspace / "area" / name) as area, rasterio.open(workspace / "alone" / name) as alone:
            assert area.transform == alone.transform
            assert (area.read() == alone.read()).all()
    root = str(Dataset(workspace / "patches" / "tiny", [0], patch_size=SIZE).root)
    with pytest.raises(InputError, match=r"^--mosaic: for scenes, not for the patches in .*tiny; leave it out"):
        predict.main([root, "--mosaic", "mean"])

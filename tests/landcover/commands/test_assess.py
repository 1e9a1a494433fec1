"""From a map to points, and from labelled points to accuracy and areas."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import torch
import yaml
from tiny import brighter_band, merged, write_tile

from landcover.commands import assess, predict
from landcover.errors import InputError
from landcover.models.weights import save

CLASSES = ["tree_cover", "cropland"]


@pytest.fixture
def workspace(tmp_path, default_params, monkeypatch, capsys):
    """A folder with scene.tif, 40 x 60 pixels, and its map: the left half tree cover, the right half cropland."""
    monkeypatch.chdir(tmp_path)
    runtime = {"device": "cpu", "workers": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(merged(default_params, {"runtime": runtime})))
    network, metadata = brighter_band(20)
    (tmp_path / "models").mkdir()
    save(tmp_path / "models" / "model.safetensors", network, metadata)
    map_of(tmp_path, "scene", 2400)
    capsys.readouterr()
    yield tmp_path
    torch.use_deterministic_algorithms(False)


def map_of(workspace: Path, name: str, left: int, nodata: int = 0) -> None:
    """Map a scene with B02 of `left` in its left half, 400 in its right half, and so many rows of nodata."""
    pixels = np.full((2, 40, 60), 400, np.uint16)
    pixels[0, :, :30], pixels[1] = left, 1400
    pixels[:, :nodata] = 0
    write_tile(workspace / f"{name}.tif", pixels)
    with rasterio.open(workspace / f"{name}.tif", "r+") as scene:
        scene.descriptions = ("B02", "B08")
    predict.main([f"{name}.tif", "--step", "4"])


def run(capsys, *arguments: str) -> tuple[list[str], list[str]]:
    assess.main(list(arguments))
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def sample(capsys, *options: str) -> pd.DataFrame:
    """Draw points from the map, and give them by id, with the stratum of each."""
    run(capsys, "sample", "maps/scene", "--out", "points", *options)
    design = json.loads(Path("points/design.json").read_text())
    names = [stratum["class"] for stratum in design["strata"]]
    points = pd.DataFrame(design["points"]).set_index("id")
    return points.assign(stratum=[names[k] for k in points["stratum"]])


def label(classes: pd.Series, name: str = "labels.csv", **columns) -> str:
    pd.DataFrame({"id": classes.index, "class": classes.to_numpy()} | columns).to_csv(f"points/{name}", index=False)
    return f"points/{name}"


def test_points_show_nothing_of_the_map(workspace, capsys):
    lines, _ = run(capsys, "sample", "maps/scene", "--scene", "scene.tif", "--points", "44", "--seed", "7")
    assert lines[0] == (
        "Unit: a pixel of 10 m, which the map gives the class of its cell. Population: the mapped cells of scene, "
        "0.1056 km², 44% of the scene."
    )
    assert lines[1] == "assessments/scene: 44 points: tree cover 24, cropland 20"
    folder = workspace / "assessments" / "scene"
    assert {path.name for path in folder.iterdir()} == {"design.json", "points.gpkg", "points.qml", "sheet.html"}
    layer = pyogrio.read_dataframe(folder / "points.gpkg")
    assert list(layer.columns) == ["id", *["class", "second_class", "confidence", "date", "interpreter"], "geometry"]
    assert layer["id"].tolist() == [*range(1, 45)]
    assert layer[["class", "interpreter"]].isna().all(axis=None)
    left = layer.geometry.x.to_numpy() < layer.total_bounds[[0, 2]].mean()
    assert (np.diff(left.astype(int)) != 0).sum() > 5  # the strata are mixed
    style, sheet = (folder / "points.qml").read_text(), (folder / "sheet.html").read_text()
    assert all(name in style and name in sheet for name in CLASSES)
    assert sheet.count("<article") == 44
    # Each unit is a whole pixel of the scene.
    with rasterio.open("scene.tif") as scene:
        rows, columns = rasterio.transform.rowcol(scene.transform, layer.geometry.x, layer.geometry.y, op=lambda x: x)
    assert np.allclose(np.mod([rows, columns], 1), 0.5)


def test_a_sample_is_drawn_once(workspace, capsys):
    first = sample(capsys, "--points", "30")
    with pytest.raises(InputError, match="--out points: exists, and may hold labels; name another folder"):
        sample(capsys)
    (workspace / "points").rename("old")
    assert first.equals(sample(capsys, "--points", "30"))


def test_a_mosaic_is_assessed_without_a_sheet(workspace, capsys):
    predict.main(["scene.tif", "--step", "4", "--mosaic", "mean", "--out", "maps/area"])
    with pytest.raises(InputError, match=r"^--scene: maps/area is a mosaic of several scenes; omit it, and label in"):
        run(capsys, "sample", "maps/area", "--points", "44", "--scene", "scene.tif")
    capsys.readouterr()
    lines, _ = run(capsys, "sample", "maps/area", "--points", "44")
    assert lines[1] == "assessments/area: 44 points: tree cover 24, cropland 20"


def test_windows_are_fewer_and_larger(workspace, capsys):
    lines, _ = run(capsys, "sample", "maps/scene", "--support", "window", "--points", "20", "--scene", "scene.tif")
    assert lines[0].startswith("Unit: a window of 0.2 km, which has its most prevalent class.")
    with pytest.raises(InputError, match="scene: has only 66 windows; choose fewer --points"):
        run(capsys, "sample", "maps/scene", "--support", "window", "--out", "more")


def test_the_number_of_points_is_planned(workspace, capsys):
    # Half of each class, .8 and .9 right: (.5 x .4 + .5 x .3)^2 / (.05 / 1.96)^2.
    lines, _ = run(
        capsys, "sample", "maps/scene", "--expected-accuracy", "0.8,cropland=0.9", "--margin", "0.05", "--out", "points"
    )
    assert re.match(r"points: 1\d\d points", lines[1])
    with pytest.raises(InputError, match="give a share, and those of classes as <class>=<share>, among tree_cover"):
        run(capsys, "sample", "maps/scene", "--expected-accuracy", "water=1", "--out", "none")


def test_every_class_has_its_least_number(workspace, capsys):
    with pytest.raises(InputError, match="--points 20: 2 mapped classes need at least 30"):
        sample(capsys, "--points", "20", "--least", "15")
    assert (sample(capsys, "--points", "40", "--least", "20")["stratum"].value_counts() == 20).all()


def test_labels_become_accuracy_and_areas(workspace, capsys):
    points = sample(capsys, "--points", "44")
    truth = points["stratum"].copy()
    truth[truth[truth == "cropland"].index[:5]] = "tree_cover"  # 5 of 20 points of cropland are wrong
    lines, warnings = run(capsys, "report", "maps/scene", label(truth))
    content = json.loads((workspace / "points" / "report" / "report.json").read_text())
    share = content["strata"][1]["share"]
    assert content["overall"]["estimate"] == pytest.approx(1 - share / 4, abs=1e-6)
    tree, cropland = content["classes"]
    assert cropland["users_accuracy"]["estimate"] == 0.75
    assert cropland["producers_accuracy"]["estimate"] == 1
    assert tree["share"]["estimate"] == pytest.approx(1 - 0.75 * share, abs=1e-6)
    assert tree["square_km"]["estimate"] == pytest.approx(0.1056 * (1 - 0.75 * share), abs=1e-6)
    assert content["overall"]["least"] == content["overall"]["most"] == content["overall"]["estimate"]
    assert warnings == []
    page = (workspace / "points" / "report" / "report.md").read_text()
    assert page.splitlines()[0] == lines[0]
    assert "| cropland" in page
    assert "75.0 (" in page
    assert "Points without a class" not in page
    assert (workspace / "points" / "report" / "report.png").is_file()


def test_labels_may_be_written_in_qgis(workspace, capsys):
    points = sample(capsys, "--points", "20")
    layer = pyogrio.read_dataframe("points/points.gpkg")
    layer["class"] = points["stratum"].to_numpy()
    pyogrio.write_dataframe(layer, "points/first.gpkg", layer="points")
    lines, _ = run(capsys, "report", "maps/scene", "points/first.gpkg")
    assert re.fullmatch(r"overall accuracy 100\.0 \(\d\d\.\d to 100\.0\) % from 20 points", lines[1])


def test_what_is_not_labelled_is_told_with_its_bounds(workspace, capsys):
    points = sample(capsys, "--points", "44")
    truth = points["stratum"].copy()
    missing = truth[truth == "cropland"].index[:5]
    truth[missing] = ["", "", "", "lava", "lava"]
    path = label(truth)
    with open(path, "a") as file:
        file.write("1,tree_cover\n99,cropland\n")
    _, warnings = run(capsys, "report", "maps/scene", path)
    assert warnings == [
        "warning: 1 point is not drawn by this design (id 99)",
        "warning: 1 point is there more than once, of which the first counts (id 1)",
        f"warning: 2 points are of the unknown class 'lava', as if without one (id {missing[3]}, {missing[4]})",
    ]
    content = json.loads((workspace / "points" / "report" / "report.json").read_text())
    cropland = content["strata"][1]
    assert (cropland["points"], cropland["unlabelled"]) == (20, 5)
    assert content["overall"]["estimate"] == content["overall"]["most"] == 1
    assert content["overall"]["least"] == pytest.approx(1 - cropland["share"] / 4, abs=1e-6)
    page = (workspace / "points" / "report" / "report.md").read_text()
    assert "| cropland  " in page.partition("## Points without a class")[2]


def test_a_stratum_without_a_label_is_left_out(workspace, capsys):
    points = sample(capsys, "--points", "20")
    truth = points["stratum"].where(points["stratum"] == "tree_cover", "")
    _, warnings = run(capsys, "report", "maps/scene", label(truth))
    assert re.match(r"warning: no point of the stratum cropland has a label, so its 45\.5% of the area", warnings[0])
    with pytest.raises(InputError, match="no point on the map has a class; label some"):
        run(capsys, "report", "maps/scene", label(truth.where(truth == "", "")))


def test_two_interpreters_are_compared(workspace, capsys):
    points = sample(capsys, "--points", "20")
    one, two = points["stratum"], points["stratum"].copy()
    two[two[two == "cropland"].index[0]] = "tree_cover"
    run(capsys, "report", "maps/scene", label(one, "first.csv"), label(two, "second.csv"))
    agreement = json.loads((workspace / "points" / "report" / "report.json").read_text())["agreement"]
    assert (agreement["share"], agreement["points"]) == (0.95, 20)
    assert agreement["differ"] == [{"classes": CLASSES, "points": 1}]


def test_the_second_class_may_be_the_map(workspace, capsys):
    points = sample(capsys, "--points", "20")
    other = points["stratum"].map(dict(zip(CLASSES, CLASSES[::-1], strict=True)))
    path = label(other, second_class=points["stratum"].to_numpy(), confidence="low")
    run(capsys, "report", "maps/scene", path)
    page = (workspace / "points" / "report" / "report.md").read_text()
    assert "**Overall accuracy 0.0 (0.0 to" in page
    assert "It is 100.0 (" in page
    assert "Confidence of the interpreter: low 20 points." in page


def test_another_map_has_strata_that_are_not_its_classes(workspace, capsys):
    points = sample(capsys, "--points", "44")
    map_of(workspace, "other", 400)
    run(capsys, "report", "maps/other", label(points["stratum"]))
    content = json.loads((workspace / "points" / "report" / "report.json").read_text())
    cropland = content["strata"][1]["share"]  # all of the other map is cropland
    assert content["overall"]["estimate"] == pytest.approx(cropland, abs=1e-6)
    assert not content["own_strata"]
    assert "another map, scene (Stehman 2014)" in (workspace / "points" / "report" / "report.md").read_text()

    map_of(workspace, "gaps", 400, nodata=12)  # so that only the lower windows have a class
    _, warnings = run(capsys, "compare", "maps/scene", "maps/gaps", "points/labels.csv", "--out", "gaps")
    assert re.fullmatch(r"warning: gaps: \d\d of 44 points are on its nodata, and left out", warnings[-1])

    lines, _ = run(capsys, "compare", "maps/scene", "maps/other", "points/labels.csv")
    verdict = json.loads((workspace / "points" / "comparison" / "comparison.json").read_text())["verdict"]
    assert (verdict["verdict"], verdict["before"]) == ("worse", 1)
    assert verdict["difference"] == pytest.approx(cropland - 1, abs=1e-6)
    assert lines[0].startswith("**Worse**: accuracy -")
    page = (workspace / "points" / "comparison" / "comparison.md").read_text()
    assert page.startswith("Unit: a pixel of 10 m")


def test_labels_need_their_design(workspace, capsys):
    points = sample(capsys, "--points", "20")
    label(points["stratum"])
    (workspace / "points" / "design.json").unlink()
    with pytest.raises(InputError, match=r"points/design\.json: not found; points must lie beside the design\.json"):
        run(capsys, "report", "maps/scene", "points/labels.csv")
    with pytest.raises(InputError, match=r"models: has no classes\.tif and summary\.json; give a folder that"):
        run(capsys, "report", "models", "points/labels.csv")


def test_only_an_earlier_report_is_replaced(workspace, capsys):
    points = sample(capsys, "--points", "20")
    path = label(points["stratum"])
    run(capsys, "report", "maps/scene", path)
    run(capsys, "report", "maps/scene", path)
    with pytest.raises(InputError, match=r"--out points: holds .*, which is no such result; name another folder"):
        run(capsys, "report", "maps/scene", path, "--out", "points")

import hashlib
import os
import pickle
import re
import signal
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.enums import ColorInterp
from scene_files import BANDS, LEFT, PRODUCT, TOP, land, metadata, write, write_item, write_safe, zipped
from server import File, Reply, Server, certificate, encrypted
from tiny import REAL_ARCHIVE, write_tile

from landcover.data import offsets
from landcover.errors import InputError
from landcover.mapping import pixels, products
from landcover.mapping.scenes import Provenance, Scene, open_scene

NUMBERS = land()
WITH_OFFSET = NUMBERS + 1000


def interrupt_once(condition: Callable[[], bool]) -> None:
    """Interrupt this process as Ctrl-C does, as soon as the condition is met."""
    while not condition():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def elsewhere(scene: Scene, url: str) -> Scene:
    """The scene at another address, of which GDAL has nothing yet."""
    files = [band._replace(layer=replace(band.layer, path=f"/vsicurl/{url}")) for band in scene.files]
    return replace(scene, files=files)


def whole(scene: Scene) -> np.ndarray:
    return scene.read(0, scene.height)


@pytest.fixture(scope="module")
def geotiff(tmp_path_factory):
    return write(tmp_path_factory.mktemp("geotiff") / "scene.tif", NUMBERS, tiled=True, blockxsize=64, blockysize=64)


# -- what a scene may be


def test_a_geotiff_is_read_byte_for_byte_in_any_strips(geotiff):
    scene = open_scene(str(geotiff), ["B08", "B02"])
    assert (scene.name, scene.bands) == ("scene.tif", ["B08", "B02"])
    assert (scene.crs, scene.transform) == ("EPSG:32633", (10, 0, LEFT, 0, -10, TOP))
    assert (scene.width, scene.height, scene.block_rows) == (240, 240, 64)
    assert scene.provenance == Provenance(
        "raster", None, None, None, offset=0, offset_by="nothing", quantification=10_000, quantification_by="nothing",
        resampled_from=None, warnings=[],
    )  # fmt: skip
    pixels = whole(pickle.loads(pickle.dumps(scene)))
    assert (pixels.dtype, pixels.shape) == (np.uint16, (2, 240, 240))
    assert (pixels == NUMBERS[[3, 0]]).all()
    for rows in (7, 97):
        strips = [scene.read(row, min(rows, 240 - row)) for row in range(0, 240, rows)]
        assert (np.concatenate(strips, axis=1) == pixels).all()


def test_bands_go_by_their_descriptions_wherever_they_stand(tmp_path):
    order, names = [2, 0, 3, 1], ("b2", "B3", "Red", "nir")
    path = write(tmp_path / "scene.tif", NUMBERS[order], tuple(names[i] for i in order))
    assert (whole(open_scene(str(path), [*BANDS])) == NUMBERS).all()


def test_bands_go_by_positions_where_they_have_no_names(tmp_path):
    path = str(write(tmp_path / "scene.tif", NUMBERS, ()))
    assert (whole(open_scene(path, ["B04", "B02"], positions=[3, 1])) == NUMBERS[[2, 0]]).all()
    with pytest.raises(InputError, match=r"has no B02, B08, only 4 bands without names; .* of B02, B08 by --bands"):
        open_scene(path, ["B02", "B08"])
    for positions in ([1], [0, 1], [1, 5]):
        with pytest.raises(InputError, match="--bands takes 2 positions from 1 to 4, those of B02, B08"):
            open_scene(path, ["B02", "B08"], positions=positions)


def test_a_product_its_zip_and_a_folder_of_its_bands_are_one_scene(tmp_path):
    safe = write_safe(tmp_path, WITH_OFFSET)
    folder = next(safe.glob("GRANULE/*/IMG_DATA/R10m"))
    for path, offset in ((safe, None), (zipped(safe), None), (folder, 1000)):
        scene = open_scene(str(path), [*BANDS], offset=offset)
        assert (whole(scene) == NUMBERS).all()
        assert scene.transform == (10, 0, LEFT, 0, -10, TOP)
    scene = open_scene(str(safe), [*BANDS])
    assert scene.name == f"{PRODUCT}.SAFE"
    assert scene.provenance.kind == "Level-2A product"
    provenance = scene.provenance
    assert (provenance.offset, provenance.offset_by, provenance.date) == (1000, "metadata", "2023-06-13")
    with pytest.raises(InputError, match="its bands are found by name, not by position; omit --bands"):
        open_scene(str(safe), [*BANDS], positions=[1, 2, 3, 4])


def test_a_scene_is_found_under_the_names_that_gdal_has_for_it(tmp_path):
    small = NUMBERS[:, :60, :60]
    geotiff, safe = write(tmp_path / "scene.tif", small), write_safe(tmp_path, small + 1000)
    folder = next(safe.glob("GRANULE/*/IMG_DATA/R10m"))
    packed, product = f"/vsizip/{zipped(safe)}/{safe.name}", "SENTINEL2_L2A:{}/MTD_MSIL2A.xml:10m:EPSG_32633"
    for path in (folder, folder.parents[1], product.format(safe), packed, product.format(packed)):
        scene = open_scene(str(path), [*BANDS])
        assert scene.name.removesuffix(".SAFE").removesuffix(".zip") == PRODUCT
        assert scene.provenance.offset == 1000
        assert (whole(scene) == small).all()
    archive = tmp_path / "one.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(geotiff, "scene.tif")
    inside = (f"/vsizip/{archive}/scene.tif", f"/vsizip/{{{archive}}}/scene.tif")
    for path in (str(archive), *inside):
        scene = open_scene(path, [*BANDS])
        assert (scene.name, scene.provenance.kind) == ("scene.tif", "raster")
        assert (whole(scene) == small).all()
    with zipfile.ZipFile(archive, "a") as file:
        file.write(geotiff, "other.tif")
    for path in inside:
        assert open_scene(path, [*BANDS]).name == "scene.tif"
    (tmp_path / "scene.vrt").write_text("<VRTDataset/>")
    with pytest.raises(
        InputError, match=r"scene.vrt: only refers to other files; write .* `rio convert scene.vrt scene.tif`"
    ):
        open_scene(str(tmp_path / "scene.vrt"), [*BANDS])


def test_a_stac_item_is_read_from_files_and_from_a_host(tmp_path):
    asset = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
    path = write_item(tmp_path, WITH_OFFSET, asset)
    scene = open_scene(str(path), [*BANDS])
    assert (whole(scene) == NUMBERS).all()
    assert scene.provenance.offset_by == scene.provenance.quantification_by == "STAC item"
    with Server() as server:
        for file in tmp_path.glob("*.*"):
            url = server.on(f"/{file.name}", File(file.read_bytes()))
        url = f"{server.origin}/item.json?token=secret"
        remote = open_scene(url, [*BANDS])
        assert (whole(remote) == NUMBERS).all()
        assert remote.provenance == scene.provenance


def test_a_cog_is_read_from_a_host_until_that_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "PAUSES", (0,))
    body = write(tmp_path / "scene.tif", NUMBERS, driver="COG").read_bytes()
    with Server() as server:
        url = server.on("/scene.tif", File(body))
        scene = open_scene(f"{url}?token=secret", [*BANDS])
        assert (scene.name, scene.provenance.kind) == ("scene.tif", "raster")
        assert (whole(scene) == NUMBERS).all()
        for answer, remedy in ((File(body, cut=1000), "check the network"), (Reply(403), "its host wants a login")):
            server.on("/scene.tif", answer)
            with pytest.raises(InputError, match=rf"^scene.tif cannot be read .*{remedy}") as error:
                whole(elsewhere(scene, f"{url}?{len(remedy)}=secret"))
            assert "secret" not in str(error.value)


def test_a_host_that_fails_once_or_stalls_is_asked_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pixels, "PAUSES", (0, 0))
    monkeypatch.setattr(pixels, "PATIENCE", 0.2)
    for name, value in (("LOW_SPEED_TIME", 1), ("LOW_SPEED_LIMIT", 10**9), ("MAX_RETRY", 0)):
        monkeypatch.setitem(pixels.OPTIONS, f"GDAL_HTTP_{name}", value)
    numbers = land(720)
    # Not compressed, so that what is missing could pass for zeros.
    body = write(tmp_path / "scene.tif", numbers, driver="COG", blocksize=256, compress="NONE").read_bytes()
    torn = File(body, cut=100_000)
    with Server() as server:
        url = server.on("/scene.tif", File(body, cut=0), File(body, cut=0), File(body))  # fails when it is opened
        scene = open_scene(url, [*BANDS])
        for number, answer in enumerate((Reply(503), torn, replace(torn, stall=True))):  # and when it is read
            server.on("/scene.tif", File(body), File(body), answer, File(body))
            assert (whole(elsewhere(scene, f"{url}?{number}")) == numbers).all()
        server.on("/scene.tif", File(body), File(body), torn)
        with pytest.raises(InputError, match=r"scene.tif cannot be read \(.*\); check the network and the URL"):
            whole(elsewhere(scene, f"{url}?torn"))
    told = capsys.readouterr().err
    assert re.search("^(127.0.0.1 failed; trying again in 0 s\n|waiting for 127.0.0.1\n)+$", told)
    assert "waiting" in told


def test_an_interrupt_does_not_wait_for_a_host_that_stalls(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "PAUSES", ())  # what is left behind ends with the server
    body = write(tmp_path / "scene.tif", land(720), driver="COG", blocksize=256).read_bytes()
    stalling = File(body, cut=0, stall=True)
    with Server() as server:
        url = server.on("/scene.tif", File(body))
        scene = open_scene(url, [*BANDS])
        server.on("/scene.tif", stalling)
        server.on("/other.tif", stalling)
        for work in (partial(whole, scene), partial(open_scene, url.replace("scene", "other"), [*BANDS])):
            asked = len(server.seen)
            watch = threading.Thread(target=interrupt_once, args=(lambda asked=asked: len(server.seen) > asked,))
            watch.start()
            with pytest.raises(KeyboardInterrupt):
                work()
            watch.join()
            assert not server.released.is_set()  # it stalls still


def test_a_host_with_a_certificate_that_nobody_knows_is_told(tmp_path, monkeypatch):
    remedy = "; check the clock, or name the certificate of your proxy or of the host in REQUESTS_CA_BUNDLE"
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with encrypted(certificate(tmp_path)) as server:
        why = "^scene.tif cannot be read \\(CURL error: SSL certificate problem: self.signed certificate\\)"
        with pytest.raises(InputError, match=f"{why}{remedy}$"):
            open_scene(server.on("/scene.tif", Reply(200)), [*BANDS])
        url = server.on("/item.json", Reply(200))
        with pytest.raises(InputError, match=rf"cannot be fetched \(\[SSL: CERTIFICATE_VERIFY_FAILED\] .*\){remedy}$"):
            open_scene(url, [*BANDS])
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "nowhere.pem")
        with pytest.raises(InputError, match=rf"cannot be fetched \(.*invalid path: nowhere.pem\){remedy}$"):
            open_scene(url, [*BANDS])
        assert server.seen == []


# -- what its numbers mean


@pytest.mark.parametrize(
    ("name", "profile", "by"),
    [("scene.tif", {"scales": 0.0001, "offsets": -0.1}, "tags"), (f"{PRODUCT}.tif", {}, "processing baseline")],
)
def test_tags_and_names_tell_the_offset(tmp_path, name, profile, by):
    path = str(write(tmp_path / name, WITH_OFFSET, **profile))
    scene = open_scene(path, [*BANDS])
    assert (whole(scene) == NUMBERS).all()
    assert (scene.provenance.offset, scene.provenance.offset_by) == (1000, by)
    assert (whole(open_scene(path, [*BANDS], offset=0)) == WITH_OFFSET).all()


def test_each_band_may_have_an_offset_of_its_own(tmp_path):
    about = metadata().replace('band_id="7">-1000', 'band_id="7">-900')
    scene = open_scene(str(write_safe(tmp_path, WITH_OFFSET, about)), [*BANDS])
    assert scene.provenance.offset == {"B02": 1000, "B03": 1000, "B04": 1000, "B08": 900}
    assert (whole(scene)[3] == offsets.subtract(WITH_OFFSET[3], 900)).all()


def test_pixels_that_contradict_stop_unless_the_offset_is_given(tmp_path):
    unknown = str(write(tmp_path / "scene.tif", WITH_OFFSET))
    with pytest.raises(InputError, match=r"^scene.tif: 99% of the blue .*: give --offset 1000, or --offset 0 if"):
        open_scene(unknown, ["B04"])
    assert (whole(open_scene(unknown, [*BANDS], offset=1000)) == NUMBERS).all()
    (warning,) = open_scene(unknown, [*BANDS], offset=0).provenance.warnings
    assert warning.endswith(": give --offset 1000")  # and not what was given

    removed = str(write_safe(tmp_path, NUMBERS // 5))
    with pytest.raises(InputError, match="which suggests numbers without one: give --offset 0, or --offset 1000 if"):
        open_scene(removed, [*BANDS])
    assert (whole(open_scene(removed, [*BANDS], offset=0)) == NUMBERS // 5).all()


def test_numbers_of_another_quantification_stop_unless_it_is_given(tmp_path):
    path = str(write(tmp_path / "scene.tif", np.stack([*NUMBERS[:3] // 100, 200 + NUMBERS[3] // 10])))
    with pytest.raises(InputError, match="give --quantification 1000, or --quantification 10000 if"):
        open_scene(path, [*BANDS])
    (warning,) = open_scene(path, [*BANDS], quantification=10_000).provenance.warnings
    assert warning.endswith("; do not trust the map")
    pixels = whole(open_scene(path, [*BANDS], quantification=1000))
    assert (pixels[3] == (200 + NUMBERS[3] // 10) * 10).all()


def test_reflectances_as_they_are_are_told_by_the_pixels(tmp_path):
    numbers = (NUMBERS / 10_000).astype(np.float32)
    numbers[:, 0, 0], numbers[:, 0, 1] = np.nan, -0.01
    scene = open_scene(str(write(tmp_path / "scene.tif", numbers)), [*BANDS])
    pixels = whole(scene)
    assert (scene.provenance.quantification, scene.provenance.quantification_by) == (1, "pixels")
    assert pixels[0, 0, :2].tolist() == [0, 1]
    assert (pixels[:, 1:] == NUMBERS[:, 1:]).all()


# -- nodata


@pytest.mark.parametrize("tag", [None, 3, 65_535])
def test_zero_and_the_nodata_tag_are_nodata(tmp_path, tag):
    numbers = NUMBERS.copy()
    numbers[:, :5], numbers[0, 5:10] = tag or 0, 0
    empty = (numbers == 0) | (numbers == tag)
    scene = open_scene(str(write(tmp_path / "scene.tif", numbers, nodata=tag)), [*BANDS])
    assert ((whole(scene) == 0) == empty).all()
    sideways = {"transform": Affine(0, 10, LEFT, -10, 0, TOP), "nodata": tag}
    scene = open_scene(str(write(tmp_path / "scene.tif", numbers.transpose(0, 2, 1), **sideways)), [*BANDS])
    assert ((whole(scene) == 0) == empty).all()


@pytest.mark.parametrize(
    ("dtype", "scale", "fill"),
    [("int16", 1, -10_000), ("int16", 1, -9999), ("int16", 1, -32_768), ("float32", 1, -9999), ("float32", 1, -1),
     ("float32", 1e-4, -9999), ("float64", 1e-4, -3.4e38), ("float32", 1e-4, -1), ("int16", 1, -1000),
     ("float32", 1e-4, -0.1), ("uint16", 1, 65_535), ("uint16", 1, 55_537), ("float32", 1e-4, 1e20)],
)  # fmt: skip
def test_a_number_that_recurs_and_lies_apart_is_nodata_without_a_tag(tmp_path, dtype, scale, fill):
    numbers = (NUMBERS * scale).astype(dtype)
    numbers[:, :, :60] = fill
    numbers[3, 100:150] = fill  # nodata in one band only
    path = str(write(tmp_path / "scene.tif", numbers))
    scene = open_scene(path, [*BANDS])
    assert ((whole(scene) == 0) == (numbers == np.array(fill, dtype))).all()
    assert (whole(scene)[:3, :, 60:] == NUMBERS[:3, :, 60:]).all()
    (warning,) = scene.provenance.warnings
    assert warning == f"41% of the pixels of B08 are {np.array(fill, dtype).item():g}, which is taken as nodata"
    warped = whole(open_scene(path, ["B02"], crs="EPSG:32632"))
    assert warped[warped > 0].min() < 100
    assert (warped > 0).sum() == pytest.approx(240 * 180, rel=0.02)


def test_negative_numbers_of_water_are_the_darkest_and_are_counted(tmp_path):
    numbers = NUMBERS.astype(np.int16)
    numbers[3, :60] = np.random.default_rng(0).normal(0, 30, (60, 240)).clip(-200).round()
    numbers[3, numbers[3] == 0] = 1
    numbers[:, 0, :10] = [[-1500 + column for column in range(10)]] * 4
    scene = open_scene(str(write(tmp_path / "scene.tif", numbers)), [*BANDS])
    pixels = whole(scene)
    assert (pixels[:, 0, :10] == 0).all()
    assert ((pixels == 0) == (numbers <= -1000)).all()
    assert (pixels[3][(numbers[3] < 0) & (numbers[3] > -1000)] == 1).all()
    assert scene.provenance.warnings == [
        "0.017% of the pixels of B02 are below a reflectance of -0.1, which is taken as nodata",
        "12% of the pixels of B08 are below 0, and become the darkest value",
    ]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"offset": -1000}, "^--offset -1000: give what was added to the numbers, 1000, without the sign"),
        ({"offset": 70_000}, "^--offset 70000: give what was added to the numbers, from 0 to 10000"),
        ({"offset": np.nan}, "^--offset nan: give what was added"),
        ({"offset": 0.1}, "scene.tif: --offset 0.1 cannot have been added to numbers of which 10000 is a refl.* 1000$"),
        ({"quantification": 0}, "^--quantification 0: give the number for a reflectance of 1, such as 10000"),
        ({"quantification": -1}, "^--quantification -1: give"),
        ({"quantification": np.inf}, "^--quantification inf: give"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(geotiff, options, why):
    with pytest.raises(InputError, match=why):
        open_scene(str(geotiff), [*BANDS], **options)


def test_reflectances_with_an_offset_are_told_and_read_with_it(tmp_path):
    path = str(write(tmp_path / "scene.tif", (NUMBERS / 10_000 + 0.1).astype(np.float32)))
    with pytest.raises(
        InputError, match=r"an offset of 0\.1: give --offset 0\.1, or --offset 0 if the numbers are right"
    ):
        open_scene(path, [*BANDS])
    scene = open_scene(path, [*BANDS], offset=0.1)
    assert scene.provenance.warnings == []
    assert np.abs(whole(scene).astype(int) - NUMBERS).max() <= 1


@pytest.mark.parametrize("kind", ["mask", "alpha"])
def test_what_is_masked_is_nodata(tmp_path, kind):
    seen = np.tri(240, dtype=bool)
    numbers = NUMBERS if kind == "mask" else np.stack([*NUMBERS[:3], seen.astype(np.uint16) * 65_535])
    path = write(tmp_path / "scene.tif", numbers, ("B02", "B03", "B04", ""))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as raster:
        if kind == "mask":
            raster.write_mask(seen)
        else:
            raster.colorinterp = [ColorInterp[name] for name in ("blue", "green", "red", "alpha")]
    assert ((whole(open_scene(str(path), ["B02"])) > 0) == seen).all()
    warped = whole(open_scene(str(path), ["B02"], crs="EPSG:32632"))
    assert (warped > 0).sum() == pytest.approx(seen.sum(), rel=0.02)


# -- where it lies


def test_coarser_bands_are_resampled_as_preprocess_does(tmp_path, dataset):
    numbers = {"B02": NUMBERS[0, :120, :120], "B11": land(60, 1, 1)[0], "B01": land(20, 1, 2)[0]}
    numbers["B11"][20, 20], numbers["B01"][19, 0] = 0, 0
    for band, own in numbers.items():
        write(tmp_path / "scene" / f"x_{band}.tif", own, (), metres=1200 // len(own))
        write_tile(dataset.tile(dataset.ids[0], band), own)
    bands = [*numbers]
    scene = open_scene(str(tmp_path / "scene"), bands)
    assert scene.provenance.resampled_from == {"B11": "EPSG:32633, 20 m", "B01": "EPSG:32633, 60 m"}
    pixels = whole(scene)
    assert (pixels == dataset.read(*bands).numbers).all()
    assert (np.concatenate([scene.read(row, 17) for row in range(0, 119, 17)], axis=1) == pixels[:, :119]).all()


@pytest.mark.parametrize(
    ("numbers", "transform"),
    [
        (NUMBERS[:, ::-1], Affine(10, 0, LEFT, 0, 10, TOP - 2400)),
        (NUMBERS.transpose(0, 2, 1), Affine(0, 10, LEFT, -10, 0, TOP)),
    ],
    ids=["south up", "on its side"],
)
def test_a_scene_is_turned_north_up(tmp_path, numbers, transform):
    scene = open_scene(str(write(tmp_path / "scene.tif", numbers, transform=transform)), [*BANDS])
    assert (scene.transform, scene.provenance.resampled_from) == ((10, 0, LEFT, 0, -10, TOP), "EPSG:32633, 10 m")
    assert (whole(scene) == NUMBERS).all()
    assert (scene.read(30, 50) == NUMBERS[:, 30:80]).all()


@pytest.mark.parametrize("metres", [5, 20, 30])
def test_other_pixels_are_brought_to_ten_metres(tmp_path, metres):
    # From west to east 10 more a pixel of 10 m, from north to south 1.
    rows, columns = (np.mgrid[:60, :60] + 0.5) * metres / 10
    ramp = (100 + 10 * columns + rows).astype(np.float32)
    path = write(tmp_path / "scene.tif", np.stack([ramp] * 4), metres=metres)
    scene = open_scene(str(path), ["B02"])
    assert (scene.width, scene.height) == (6 * metres, 6 * metres)
    rows, columns = np.mgrid[: scene.height, : scene.width] + 0.5
    error = whole(scene)[0] - (100 + 10 * columns + rows)
    assert np.abs(error[metres:-metres, metres:-metres]).max() <= 0.51


def test_a_scene_is_brought_to_another_zone_alike_in_any_strips(tmp_path):
    # The easting tells the number.
    columns = np.mgrid[:300, :300][1] + 0.5
    path = write(tmp_path / "scene.tif", np.stack([100 + columns * 10] * 4).astype(np.float32), nodata=-1)
    scene = open_scene(str(path), ["B02"], crs="EPSG:32632")
    assert scene.crs == "EPSG:32632"
    assert scene.transform[0:6:4] == (10, -10)
    pixels = whole(scene)
    for row, column in ((80, 100), (150, 150), (220, 300)):
        x, y = Affine(*scene.transform) @ (column + 0.5, row + 0.5)
        ((there,), _) = rasterio.warp.transform("EPSG:32632", "EPSG:32633", [x], [y])
        assert pixels[0, row, column] == pytest.approx(100 + there - LEFT, abs=1)
    assert pixels[0, 0, 0] == 0
    for rows in (50, 129):
        strips = [scene.read(row, min(rows, scene.height - row)) for row in range(0, scene.height, rows)]
        assert (np.concatenate(strips, axis=1) == pixels).all()


def test_bands_of_other_grids_are_refused(tmp_path):
    write(tmp_path / "x_B02.tif", NUMBERS[0], ())
    write(tmp_path / "x_B08.tif", NUMBERS[3], (), transform=Affine(10, 0, LEFT + 10, 0, -10, TOP))
    with pytest.raises(InputError, match=r"B08 is not on the same grid as B02; warp it with `rio"):
        open_scene(str(tmp_path), ["B02", "B08"])


# -- what is refused


def test_a_scene_of_level_1c_is_refused_unless_it_is_insisted_upon(tmp_path):
    path = str(write(tmp_path / "x_l1c.tif", WITH_OFFSET))
    with pytest.raises(
        InputError, match=r"^x_l1c.tif: is Level 1C, top .* Level 2A is needed; .* force it by --level any"
    ):
        open_scene(path, [*BANDS])
    assert open_scene(path, [*BANDS], level=None).provenance.level == "1C"
    assert open_scene(path, [*BANDS], level="1C").provenance.warnings == []
    path = str(write(tmp_path / "x_l2a.tif", WITH_OFFSET))
    with pytest.raises(InputError, match=r"^x_l2a.tif: is Level 2A, surface, but Level 1C is needed"):
        open_scene(path, [*BANDS], level="1C")


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        ({"crs": None}, r"^scene.tif has no georeference; add one with `rio edit-info --crs"),
        ({"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 15, 0, -1e-4, 45)}, "in metres; give --crs EPSG:32633"),
        ({"dtype": "uint8"}, "it is uint8, like a picture"),
        ({"dtype": "complex64"}, "has complex64 numbers, which cannot be reflectances"),
    ],
)
def test_rasters_that_are_no_scenes_are_refused(tmp_path, profile, why):
    path = write(tmp_path / "scene.tif", (NUMBERS % 200 + 1).astype(profile.get("dtype", np.uint16)), **profile)
    with pytest.raises(InputError, match=why):
        open_scene(str(path), [*BANDS])


def test_bands_that_are_only_counted_need_positions(tmp_path):
    numbers = np.concatenate([NUMBERS] * 3)
    path = str(write(tmp_path / "scene.tif", numbers, tuple(f"b{index}" for index in range(12))))
    with pytest.raises(
        InputError, match=r"are only numbered, from b0 to b11; give the positions of B02, .* by --bands"
    ):
        open_scene(path, [*BANDS])
    assert (whole(open_scene(path, [*BANDS], positions=[1, 2, 3, 4])) == NUMBERS).all()


def test_other_satellites_are_named(tmp_path):
    path = write(tmp_path / "scene.tif", NUMBERS, ("SR_B2", "SR_B3", "SR_B4", "SR_B5"))
    with pytest.raises(InputError, match=r"scene.tif: its bands have the names of those of Landsat; the networks"):
        open_scene(str(path), [*BANDS])
    path = write(tmp_path / "20230613_100401_3B_AnalyticMS_SR.tif", NUMBERS, ("blue", "green", "red", "nir"))
    with pytest.raises(
        InputError, match=r"has the name of a product of PlanetScope; give a scene of Sentinel-2, or rename"
    ):
        open_scene(str(path), [*BANDS])
    for number in (2, 3, 4, 5):
        write(tmp_path / "x" / f"LC08_L2SP_190024_20230613_02_T1_SR_B{number}.TIF", NUMBERS[0], (), metres=30)
    with pytest.raises(InputError, match=r"^x: has the name of a product of Landsat; give a scene"):
        open_scene(str(tmp_path / "x"), [*BANDS])
    path = write(tmp_path / "scene.tif", NUMBERS, ("blue", "green", "red", "nir"), metres=3)
    (warning,) = open_scene(str(path), [*BANDS]).provenance.warnings
    assert warning.startswith("its pixels are 3 m, those of Sentinel-2 10 m; the networks have not seen such images")
    path = write(tmp_path / "cirrus.tif", np.concatenate([NUMBERS, NUMBERS[:1]]), (*BANDS, "B10"))
    with pytest.raises(InputError, match="is Level 1C"):
        open_scene(str(path), [*BANDS])


def test_areas_that_are_not_those_of_the_ground_are_refused(tmp_path):
    mercator = {"crs": "EPSG:3857", "transform": Affine(10, 0, 1_600_000, 0, -10, 1_850_000)}  # at 16.4 degrees north
    path = write(tmp_path / "scene.tif", NUMBERS, **mercator)
    with pytest.raises(InputError, match=r"a unit of EPSG:3857 is 0\.9\d m on the ground there; give --crs EPSG:326"):
        open_scene(str(path), [*BANDS])


def test_files_of_bands_may_have_other_blocks_and_pixels_but_no_other_bands(tmp_path):
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    numbers = land(1500) // 10
    for band, own, options in zip(BANDS, numbers, ({}, {}, {}, blocks), strict=True):
        write(tmp_path / f"x_{band}.tif", own, (), **options)
    with pytest.raises(InputError, match="give --quantification 1000"):  # pixels of both are compared
        open_scene(str(tmp_path), [*BANDS])
    write(tmp_path / "x_B08.tif", numbers[3, ::2, ::2], (), metres=20)
    assert open_scene(str(tmp_path), [*BANDS]).provenance.resampled_from == {"B08": "EPSG:32633, 20 m"}
    write(tmp_path / "x_B08.tif", numbers)
    with pytest.raises(
        InputError, match=r"x_B08.tif has 4 bands instead of one; give the files of single bands, or it"
    ):
        open_scene(str(tmp_path), [*BANDS])


def test_files_that_are_no_rasters_are_refused(tmp_path):
    picture = tmp_path / "scene.jpg"
    write(picture, NUMBERS[:3].astype(np.uint8), (), driver="JPEG")
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "text.tif").write_text("<VRTDataset/>")
    (tmp_path / "text.jp2").write_text("no picture")
    for name in ("scene.jpg", "empty.tif", "text.tif", "text.jp2"):
        with pytest.raises(InputError, match=rf"^{name} cannot be read \(.*\); give an intact GeoT") as error:
            open_scene(str(tmp_path / name), [*BANDS])
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"nowhere.tif: not found; give a GeoTIFF, a folder"):
        open_scene(str(tmp_path / "nowhere.tif"), [*BANDS])
    with pytest.raises(InputError, match=r"^s3://bucket/scene.tif: cannot be read; give an http\(s\) URL or a path"):
        open_scene("s3://bucket/scene.tif", [*BANDS])
    with pytest.raises(
        InputError, match=r"^https://host/x.SAFE.zip\?\.\.\.: is a zip on a host; download it, and give"
    ):
        open_scene("https://host/x.SAFE.zip?token=secret", [*BANDS])


def test_a_band_that_is_not_there_is_named(geotiff, tmp_path):
    with pytest.raises(InputError, match=r"has no B11, only 1 B02, 2 B03, 3 B04, 4 B08; if they are among these"):
        open_scene(str(geotiff), ["B02", "B11"])
    write(tmp_path / "x_B02.tif", NUMBERS[0], ())
    with pytest.raises(InputError, match=r"has no B08, only B02; give a scene with all"):
        open_scene(str(tmp_path), ["B02", "B08"])
    with pytest.raises(InputError, match=r"x_B02.tif: has one band of B02, B08; give the folder with a file of each"):
        open_scene(str(tmp_path / "x_B02.tif"), ["B02", "B08"])
    twice = write(tmp_path / "twice.tif", NUMBERS, ("B02", "blue", "B04", "B08"))
    with pytest.raises(InputError, match="B02 occurs more than once; give the positions"):
        open_scene(str(twice), ["B02"])
    assert open_scene(str(twice), ["B04"]).bands == ["B04"]


@pytest.mark.parametrize("suffix", ["tif", "jp2"])
def test_a_torn_file_is_met_while_it_is_read(tmp_path, suffix):
    for position, band in enumerate(BANDS):
        write(tmp_path / f"x_{band}.{suffix}", NUMBERS[position], ())
    scene = open_scene(str(tmp_path), [*BANDS])
    torn = tmp_path / f"x_B04.{suffix}"
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"^{tmp_path.name}: x_B04.{suffix} cannot be read \(.*\); give an intact"):
        whole(scene)


@pytest.mark.parametrize("change", ["cut", "changed"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_damaged_file_of_a_product_is_met_before_it_is_read(tmp_path, kind, change):
    root = write_safe(tmp_path, WITH_OFFSET)
    red = next(root.glob("GRANULE/*/IMG_DATA/R10m/*B04_10m.jp2"))
    content = red.read_bytes()
    stream = f'<byteStream size="{len(content)}"><fileLocation href="./{red.relative_to(root)}"/>'
    checksum = f'<checksum checksumName="MD5">{hashlib.md5(content).hexdigest()}</checksum></byteStream>'
    (root / "manifest.safe").write_text(f"<a>{stream}{checksum}</a>")
    path = root if kind == "folder" else zipped(root)
    assert (whole(open_scene(str(path), [*BANDS])) == NUMBERS).all()
    names = [path]
    if kind == "folder":
        names += [root.parent, root / "MTD_MSIL2A.xml", red.parent]
        red.write_bytes(content[:1000] + bytes(1000) + (content[2000:] if change == "changed" else b""))
        why = "has another checksum than manifest.safe says" if change == "changed" else "has 2000 bytes instead of"
    else:
        place = path.read_bytes().index(content[1000:]) - 1000
        data = bytearray(path.read_bytes())
        data[place + 1000 : place + 2000] = bytes(1000)
        path.write_bytes(data)
        why = "is not a readable zip"
    for name in names:
        with pytest.raises(
            InputError, match=rf"^{path.name}: .*{why}.*B04_10m.jp2|B04_10m.jp2 {why}.*; download it again"
        ):
            open_scene(str(name), [*BANDS])


def test_a_loose_jpeg_2000_with_a_hole_is_met_before_it_is_read(tmp_path):
    for position, band in enumerate(BANDS):
        write(tmp_path / f"x_{band}.jp2", NUMBERS[position], ())
    red = tmp_path / "x_B04.jp2"
    content = red.read_bytes()
    red.write_bytes(content[:40_000] + bytes(2000) + content[42_000:])
    with pytest.raises(
        InputError, match=rf"^{tmp_path.name}: x_B04.jp2 has 1024 zeros or more from byte 40000 on, .*;"
    ):
        open_scene(str(tmp_path), [*BANDS])
    products.check_files([str(write(red, np.zeros((2000, 2000), np.uint16), ()))])  # nodata is no hole


def test_an_error_in_any_tile_of_a_jpeg_2000_is_met(tmp_path):
    for position, band in enumerate(BANDS):
        write(tmp_path / f"x_{band}.jp2", NUMBERS[position], (), BLOCKXSIZE=64, BLOCKYSIZE=64)
    scene = open_scene(str(tmp_path), [*BANDS])
    red = tmp_path / "x_B04.jp2"
    content = red.read_bytes()
    red.write_bytes(content[:40_000] + bytes(20_000) + content[60_000:])
    with pytest.raises(InputError, match=r"x_B04.jp2 cannot be read \(.*\); give an intact GeoTIFF or JPEG 2000"):
        whole(scene)


def test_blocks_that_are_too_large_to_read_in_parts_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("landcover.mapping.scenes.MAX_BLOCK_BYTES", NUMBERS.nbytes - 1)
    path = write(tmp_path / "scene.tif", NUMBERS, blockysize=240, compress="deflate")
    with pytest.raises(InputError, match=r"in blocks of 240 x 240 pixels, too large .* `rio convert --driver COG`"):
        open_scene(str(path), [*BANDS])


# -- real scenes

SCENES = REAL_ARCHIVE.parent / "scenes"


@pytest.mark.skipif(not SCENES.exists(), reason="the real scenes are not part of the repository")
def test_real_scenes_are_read_once_their_traps_are_known():
    def real(name: str, **options) -> Scene:
        return open_scene(str(SCENES / name), [*BANDS], **options)

    with pytest.raises(InputError, match="give --quantification 1000"):
        real("aber_20210527_srefx1000.tif")
    scene = real("aber_20210527_srefx1000.tif", quantification=1000)
    assert (scene.crs, scene.width, scene.height) == ("EPSG:27700", 930, 947)
    assert 4000 < np.median(whole(scene)[3]) < 6000
    with pytest.raises(InputError, match="give --offset 1000"):
        real("majortom_l2a_0U_199R.tif")
    assert whole(real("majortom_l2a_0U_199R.tif", offset=1000)).min() == 582
    with pytest.raises(InputError, match="give --crs EPSG:32643"):
        real("ssl4eo_l2a_20200604.tif")
    scene = real("ssl4eo_l2a_20200604.tif", crs="utm")
    assert (scene.crs, scene.width, scene.height) == ("EPSG:32643", 262, 262)
    with pytest.raises(InputError, match="Level 1C"):
        real("ssl4eo_l1c_20200604.tif", crs="utm")

import hashlib
import io
import json
import re
import tarfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.warp import transform
from scipy.stats import spearmanr
from tiny import PATCH_ID

from landcover.constants import CLASSES, LEVEL_2A_BANDS, NODATA, PATCH_METRES, WORLDCOVER_CODES
from landcover.data.layouts.ben_ge import TILE
from landcover.synthetic.covers import COVERS
from landcover.synthetic.writer import CORINE, LOOKS, SIXTEENTHS, write_sample

PATCHES = 40
SIDES = {10: 120, 20: 60, 60: 20}
# What every tile of the sample is, beside its band's size.
FORMAT = {"driver": "GTiff", "count": 1, "nodata": None, "interleave": "band", "tiled": False}


def written(folder, **arguments) -> bytes:
    write_sample(folder / "archive", **arguments)
    return (folder / "archive").read_bytes()


def test_a_bar_counts_the_patches(tmp_path, terminal):
    written(tmp_path, patches=2)
    assert set(re.findall(r"sample: +(\d+)%", terminal.getvalue())) == {"0", "50", "100"}


def contents(archive: bytes, root: str = "ben-ge-sample") -> dict[str, bytes]:
    """Contents by name below the root folder."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    assert all(name.startswith(f"{root}/") for name, _ in members)
    files = {name.removeprefix(f"{root}/"): content for name, content in members}
    assert len(files) == len(members)
    return files


def table(files: dict[str, bytes], name: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(files[f"ben-ge-sample_{name}.csv"]))


def places_of(files: dict[str, bytes]) -> pd.DataFrame:
    """`patch_id`, `patch_id_s1`, `tile`, `lon` and `lat` by the meta table."""
    meta = table(files, "meta")
    meta["tile"] = meta["patch_id_s1"].str.extract(TILE, expand=False)
    return meta[["patch_id", "patch_id_s1", "tile", "lon", "lat"]]


def split_ids(files: dict[str, bytes], split: str) -> list[str]:
    return files[f"splits/ben-ge-sample_{split}.csv"].decode().splitlines()


def opened(content: bytes) -> tuple[dict, np.ndarray]:
    with rasterio.open(io.BytesIO(content)) as tile:
        return tile.profile, tile.read(1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    return written(tmp_path_factory.mktemp("sample"), patches=PATCHES)


@pytest.fixture(scope="module")
def files(archive) -> dict[str, bytes]:
    return contents(archive)


@pytest.fixture(scope="module")
def tiles(files) -> dict[str, tuple[dict, np.ndarray]]:
    return {name: opened(content) for name, content in files.items() if name.endswith(".tif")}


def test_two_runs_write_the_same_bytes(tmp_path, archive):
    assert hashlib.sha256(written(tmp_path, patches=PATCHES)).digest() == hashlib.sha256(archive).digest()


def test_the_spectral_sample_is_laid_out_alike_under_its_own_name(tmp_path):
    archive = written(tmp_path, source="sample-spectral", patches=3)
    assert written(tmp_path, source="sample-spectral", patches=3) == archive
    spectral = contents(archive, "ben-ge-sample-spectral")
    other = contents(written(tmp_path, patches=3, seed=LOOKS["sample-spectral"][1]))
    assert spectral.keys() == {name.replace("ben-ge-sample_", "ben-ge-sample-spectral_") for name in other}
    # Of the same seed, the ground is the same; only its looks differ.
    alike = {name for name, content in other.items() if content in spectral.values()}
    assert alike == {name for name in other if not re.fullmatch(r"sentinel-2/.*\.tif|README", name)}


def test_a_smaller_sample_is_a_part_of_a_larger_one(tmp_path, files):
    smaller = contents(written(tmp_path, patches=7))
    tiles = {name: content for name, content in smaller.items() if name.endswith(".tif")}
    assert len(tiles) == 7 * 16
    assert tiles.items() <= files.items()


def test_one_patch_is_a_dataset(tmp_path):
    files = contents(written(tmp_path, patches=1))
    assert split_ids(files, "train") == table(files, "meta")["patch_id"].tolist()
    assert [split_ids(files, split) for split in ("val", "test")] == [[], []]


def test_the_layout_is_benges(files):
    ids, ids_s1 = (table(files, "meta")[name] for name in ("patch_id", "patch_id_s1"))
    expected = {"README"} | {f"ben-ge-sample_{name}.csv" for name in ("meta", "esaworldcover", "era-5")}
    expected |= {f"splits/ben-ge-sample_{split}.csv" for split in ("train", "val", "test")}
    expected |= {f"sentinel-2/{i}/{i}_{band}.tif" for i in ids for band in LEVEL_2A_BANDS}
    expected |= {f"sentinel-1/{i}/{i}_{polarization}.tif" for i in ids_s1 for polarization in ("VV", "VH")}
    expected |= {f"sentinel-2/{i}/{i}_labels_metadata.json" for i in ids}
    expected |= {f"sentinel-1/{i}/{i}_labels_metadata.json" for i in ids_s1}
    expected |= {f"esaworldcover/{i}_esaworldcover.tif" for i in ids} | {f"dem/{i}_dem.tif" for i in ids}
    assert files.keys() == expected
    assert table(files, "meta").columns.tolist() == [
        "patch_id", "patch_id_s1", "timestamp_s2", "timestamp_s1", "season_s2", "season_s1",
        "lon", "lat", "climatezone",
    ]  # fmt: skip


def test_rows_have_the_formats_of_the_real_table(archive):
    meta = contents(archive)["ben-ge-sample_meta.csv"].decode().splitlines()[1]
    one = r"S2[AB]_MSIL2A_\d{8}T\d{5,6}_\d+_\d+,S1[AB]_IW_GRDH_1SDV_\d{8}T\d{6}_\d{2}[A-Z]{3}_\d+_\d+"
    when = r"(,\d{4}-\d\d-\d\d \d\d:\d\d:\d\d){2}"
    assert re.fullmatch(one + when + r"(,0\.\d{1,5}){2},-?\d+\.\d{1,5},\d+\.\d{1,5},\d+", meta)


def test_every_tile_is_a_georeferenced_patch(files, tiles):
    for patch_id, id_s1, tile, lon, lat in places_of(files).itertuples(index=False):
        grids = {f"sentinel-2/{patch_id}/{patch_id}_{band}.tif": (m, "uint16") for band, m in LEVEL_2A_BANDS.items()}
        grids[f"esaworldcover/{patch_id}_esaworldcover.tif"] = 10, "uint8"
        grids[f"dem/{patch_id}_dem.tif"] = 10, "int16"
        grids |= {f"sentinel-1/{id_s1}/{id_s1}_{polarization}.tif": (10, "float32") for polarization in ("VV", "VH")}
        corners = set()
        for name, (metres, dtype) in grids.items():
            profile, pixels = tiles[name]
            side = SIDES[metres]
            size = {"width": side, "height": side, "dtype": dtype}
            assert (FORMAT | size).items() <= profile.items()
            assert pixels.shape == (side, side)
            assert profile["crs"].to_epsg() == 32600 + int(tile[:2])
            a, b, x, d, e, y = profile["transform"][:6]
            assert (a, b, d, e) == (metres, 0, 0, -metres)
            corners.add((x, y))
        ((x, y),) = corners
        (centre_lon,), (centre_lat,) = transform(profile["crs"], "EPSG:4326", [x + 600], [y - 600])
        assert (lon, lat) == pytest.approx((centre_lon, centre_lat), abs=1e-5)
        assert -11 < lon < 30
        assert 36 < lat < 70


def test_patches_lie_at_their_column_and_row(files, tiles):
    origins = {}
    for patch_id, _, tile, *_ in places_of(files).itertuples(index=False):
        place = PATCH_ID.fullmatch(patch_id)
        corner = tiles[f"sentinel-2/{patch_id}/{patch_id}_B08.tif"][0]["transform"]
        origin = corner.c - PATCH_METRES * int(place["column"]), corner.f + PATCH_METRES * int(place["row"])
        origins.setdefault(tile, set()).add(origin)
    assert all(len(corners) == 1 for corners in origins.values())


def test_maps_run_on_across_the_border_of_neighbours(files, tiles):
    agreement = []
    for patch_id in table(files, "meta")["patch_id"]:
        place = PATCH_ID.fullmatch(patch_id)
        right = f"{place['acquisition']}_{int(place['column']) + 1}_{place['row']}"
        if f"esaworldcover/{right}_esaworldcover.tif" in tiles:
            west = tiles[f"esaworldcover/{patch_id}_esaworldcover.tif"][1]
            east = tiles[f"esaworldcover/{right}_esaworldcover.tif"][1]
            agreement.append((west[:, -1] == east[:, 0]).mean())
    assert len(agreement) == PATCHES // 2
    assert np.mean(agreement) > 0.6  # about a third between strangers


def test_no_pixel_is_nodata_and_values_are_in_the_range_of_real_ones(tiles):
    bands = [pixels for name, (_, pixels) in tiles.items() if name.startswith("sentinel-2")]
    assert min(pixels.min() for pixels in bands) > NODATA
    assert max(pixels.max() for pixels in bands) <= 20_000
    b08 = np.concatenate([pixels.ravel() for name, (_, pixels) in tiles.items() if "_B08" in name])
    assert 1500 < np.median(b08) < 3500


def test_coarse_bands_see_the_same_scene(files, tiles):
    # B8A lies beside B08, so the area means of one go with the other.
    for patch_id in table(files, "meta")["patch_id"]:
        b08 = tiles[f"sentinel-2/{patch_id}/{patch_id}_B08.tif"][1].reshape(60, 2, 60, 2).mean((1, 3))
        b8a = tiles[f"sentinel-2/{patch_id}/{patch_id}_B8A.tif"][1]
        assert np.corrcoef(b08.ravel(), b8a.ravel())[0, 1] > 0.7


def test_fractions_are_the_maps_counts(files, tiles):
    cover = table(files, "esaworldcover").set_index("patch_id")
    assert cover.index.tolist() == table(files, "meta")["patch_id"].tolist()  # so that a join by row is right too
    assert cover.columns.tolist() == list(CLASSES)
    for patch_id, fractions in cover.iterrows():
        codes = tiles[f"esaworldcover/{patch_id}_esaworldcover.tif"][1]
        assert set(np.unique(codes)) <= set(WORLDCOVER_CODES)
        assert fractions.tolist() == [(codes == code).sum() / 14400 for code in WORLDCOVER_CODES]
        assert fractions.sum() == pytest.approx(1, abs=1e-12)


def test_patches_are_mixed_and_classes_imbalanced(files):
    cover = table(files, "esaworldcover")[list(CLASSES)]
    assert 0.5 < cover.max(axis=1).median() < 0.85
    labels = Counter(cover.idxmax(axis=1))
    assert 0.2 < labels["tree_cover"] / PATCHES < 0.5
    assert len(labels) >= 5
    assert (cover["mangroves"] == 0).all()
    assert set(COVERS) == set(CLASSES) - {"mangroves"}


def test_splits_are_the_rows_in_order(files):
    splits = [split_ids(files, split) for split in SIXTEENTHS]
    assert [len(ids) for ids in splits] == [25, 8, 7]
    assert [i for ids in splits for i in ids] == table(files, "meta")["patch_id"].tolist()


def digest(tiles: dict[str, tuple[dict, np.ndarray]], *folders: str) -> str:
    """Of the pixels in the order of the archive; GDAL's version may change what is around them."""
    pixels = [pixels.tobytes() for name, (_, pixels) in tiles.items() if name.split("/")[0] in folders]
    return hashlib.sha256(b"".join(pixels)).hexdigest()[:16]


def test_pixels_and_weather_are_those_of_other_machines_and_of_earlier_versions(tiles, files):
    assert digest(tiles, "sentinel-2", "esaworldcover") == "e0c5a663c9d686d8"
    assert digest(tiles, "sentinel-1", "dem") == "94463edab064cd22"
    assert hashlib.sha256(files["ben-ge-sample_era-5.csv"]).hexdigest()[:16] == "d45d84540fcc4734"


def test_tiles_are_as_gdal_writes_them(tiles, files):
    for name, (profile, pixels) in list(tiles.items())[:32]:
        with MemoryFile() as file:
            kept = {name: profile[name] for name in ("driver", "width", "height", "count", "dtype", "crs", "transform")}
            packed = {"compress": "lzw", "predictor": 3 if profile["dtype"] == "float32" else 2}
            with file.open(**kept, blockysize=len(pixels), **packed if "compress" in profile else {}) as tile:
                tile.write(pixels, 1)
            assert file.read() == files[name]


def test_radar_is_of_another_day_and_sorts_differently(files):
    meta = table(files, "meta")
    assert meta["patch_id_s1"].is_unique
    days = [pd.to_datetime(meta[f"timestamp_{sensor}"]).dt.normalize() for sensor in ("s1", "s2")]
    assert set((days[0] - days[1]).dt.days) == {-2, -1, 0, 1, 2}
    pairs = zip(sorted(meta["patch_id"]), sorted(meta["patch_id_s1"]), strict=True)
    right = set(meta[["patch_id", "patch_id_s1"]].itertuples(index=False, name=None))
    assert len(right & set(pairs)) < PATCHES / 4


def test_radar_goes_with_the_light_of_its_own_patch(files, tiles):
    meta = table(files, "meta")
    nir = [tiles[f"sentinel-2/{i}/{i}_B08.tif"][1].mean() for i in meta["patch_id"]]
    vh = pd.Series({i: tiles[f"sentinel-1/{i}/{i}_VH.tif"][1].mean() for i in meta["patch_id_s1"]})
    assert spearmanr(vh[meta["patch_id_s1"]], nir).statistic > 0.25
    # As if folders were paired in sorted order.
    order = np.argsort(meta["patch_id"])
    assert abs(spearmanr(vh.sort_index(), np.array(nir)[order]).statistic) < 0.15


def test_weather_is_that_of_each_patchs_elevation(files, tiles):
    weather = table(files, "era-5").set_index("patch_id")
    quantities = ("temperature", "wind-u", "wind-v", "relhumidity")
    names = [f"{name}_{sensor}" for sensor in ("s2", "s1") for name in quantities]
    assert weather.columns.tolist() == ["patch_id_s1", "atmpressure_level", *names]
    meta = table(files, "meta").set_index("patch_id")
    assert weather["patch_id_s1"].equals(meta["patch_id_s1"])
    metres = pd.Series({i: tiles[f"dem/{i}_dem.tif"][1].mean() for i in weather.index})
    assert (weather["atmpressure_level"][metres < 100] == 1000).all()
    assert (weather["atmpressure_level"][metres > 1500] < 850).all()
    # In one tile at one time, it is colder above by 6.5 K a kilometre, and the wind is the same.
    for _, patches in weather.groupby(meta["timestamp_s1"]):
        one, other = patches.iloc[0], patches.iloc[1]
        colder = 0.0065 * (metres[patches.index[1]] - metres[patches.index[0]])
        assert one["temperature_s1"] - other["temperature_s1"] == pytest.approx(colder, abs=2e-3)
        assert patches["wind-u_s1"].nunique() == 1


def test_labels_name_the_classes_that_cover_a_tenth(files):
    meta = table(files, "meta").set_index("patch_id")
    cover = table(files, "esaworldcover").set_index("patch_id")
    for patch_id, row in meta.iterrows():
        id_s1 = row["patch_id_s1"]
        s2 = json.loads(files[f"sentinel-2/{patch_id}/{patch_id}_labels_metadata.json"])
        s1 = json.loads(files[f"sentinel-1/{id_s1}/{id_s1}_labels_metadata.json"])
        assert s2["labels"] == s1["labels"] == [CORINE[name] for name in CLASSES if cover.loc[patch_id, name] >= 0.1]
        assert s1["corresponding_s2_patch"] == patch_id
        assert s2["acquisition_date"] == row["timestamp_s2"]
        assert s1["acquisition_time"] == row["timestamp_s1"].replace(" ", "T")
        with rasterio.open(io.BytesIO(files[f"dem/{patch_id}_dem.tif"])) as tile:
            left, bottom, right, top = tile.bounds
            assert tuple(s2["coordinates"].values()) == (left, top, right, bottom)
            assert CRS.from_wkt(s2["projection"]) == tile.crs


def test_the_readme_says_what_it_is(files):
    assert files["README"].startswith(b"ben-ge-sample: a synthetic dataset")

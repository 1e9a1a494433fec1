"""Points and polygons of known land cover, and the patches of a scene that are cut out around them.

A point becomes the patch that is centred on it, to the nearest pixel. A polygon becomes the patches of a grid over the
scene whose centres lie in it, or else one patch at its representative point. The grid is the same for all polygons, so
their patches do not overlap in part.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import rasterio
import rasterio.warp
import shapely
from pyogrio.errors import DataSourceError
from rasterio import Affine
from scipy.spatial import KDTree
from tqdm import tqdm

from landcover import files
from landcover.config import CLASS_NAME_RULE, is_class_name
from landcover.constants import NODATA
from landcover.data.tables import add_problem, check_columns, read_cells
from landcover.errors import CHOICES, InputError, few
from landcover.mapping.grids import DEGREES
from landcover.mapping.scenes import Scene, strip_rows

LABELS, TILES = "labels.csv", "tiles"  # of the dataset that is written
FORMATS = (".gpkg", ".geojson", ".json", ".shp", ".fgb", ".csv")
POINTS, POLYGONS = ("Point", "MultiPoint"), ("Polygon", "MultiPolygon")


# -- points and polygons


def _read_csv(path: Path) -> gpd.GeoDataFrame:
    table = read_cells(path)
    check_columns(table, ("lon", "lat"), path, "give degrees in such columns, or a GeoPackage")
    lon, lat = (pd.to_numeric(table[name], errors="coerce") for name in ("lon", "lat"))
    on_earth = (lon.abs() <= 180) & (lat.abs() <= 90)
    points = shapely.points(lon.where(on_earth, 0), lat.where(on_earth, 0))
    table["problem"] = np.where(on_earth, "", "its lon and lat are not degrees on Earth")
    table.index += 1
    return gpd.GeoDataFrame(table, geometry=points, crs=DEGREES)


def _read_vector(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    try:
        # A GeoPackage of QGIS also has tables, such as its styles.
        layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
        if layer is None and len(layers) > 1:
            raise InputError(f"{path}: has the layers {few(layers, CHOICES)}; choose one by --layer")
        if layer is not None and layer not in layers:
            raise InputError(f"{path}: has no layer {layer!r}, only {few(layers, CHOICES) or 'none'}; correct --layer")
        features = pyogrio.read_dataframe(path, layer=layer or (layers or [None])[0], fid_as_index=True, force_2d=True)
    except (DataSourceError, shapely.errors.ShapelyError) as error:
        reason = str(error).partition(";")[0].replace(f"'{path}' ", "").removeprefix(f"{path}: ").rstrip(".")
        raise InputError(
            f"{path}: cannot be read ({reason}); give a GeoPackage, a GeoJSON, or a CSV of lon, lat and class"
        ) from None
    if not isinstance(features, gpd.GeoDataFrame):
        raise InputError(f"{path}: has no points or polygons; give a layer that has")
    if features.crs is None:
        raise InputError(f"{path}: has no coordinate system; set it in QGIS by Layer > Layer CRS, and save it again")
    features["problem"] = ""
    return features


def read_features(path: Path, class_column: str, layer: str | None = None) -> gpd.GeoDataFrame:
    """Points and polygons with the class of their land cover.

    Args:
        path: a GeoPackage, a GeoJSON or another vector file, or a CSV with columns `lon` and `lat` in degrees.
        class_column: where the class is.
        layer: of the file, if it has several.

    Returns:
        A row per feature, indexed by its id in the file, or by its number in a CSV, from 1. Columns: `class`: str, of a
        numeric code `class_<code>`;
        `problem`: why it cannot be used, or ''; `geometry`: points and valid polygons, in the file's own coordinates.

    Raises:
        InputError: it is not such a file, or lacks what is needed.
    """
    if not path.is_file() or path.suffix.lower() not in FORMATS:
        problem = f"is not one of {', '.join(FORMATS)}" if path.is_file() else "not found"
        raise InputError(f"{path}: {problem}; give a GeoPackage, a GeoJSON, or a CSV of lon, lat and class")
    features = _read_csv(path) if path.suffix.lower() == ".csv" else _read_vector(path, layer)
    if features.empty:
        raise InputError(f"{path}: has no points or polygons; digitize some, and save the layer")
    geometry = features.active_geometry_name
    if class_column not in features.columns.drop(["problem", geometry]):
        columns = few([repr(name) for name in features.columns.drop(["problem", geometry])], CHOICES) or "none"
        raise InputError(f"{path}: has no column {class_column!r}, only {columns}; name it by --class-column")
    classes = features[class_column].map(_class_name, na_action="ignore").fillna("").astype(object)
    if wrong := sorted({name for name in classes if name and not is_class_name(name)}):
        raise InputError(f"{path}: invalid classes: {few([*map(repr, wrong)])}; {CLASS_NAME_RULE}")
    features = gpd.GeoDataFrame(
        {"class": classes, "problem": features["problem"]}, geometry=features[geometry].make_valid(), crs=features.crs
    )
    add_problem(features, features["class"] != "", f"has no {class_column}")
    kinds = features.geom_type
    empty = features.geometry.isna() | features.geometry.is_empty
    add_problem(features, ~empty, "has no geometry")
    add_problem(features, kinds.isin(POINTS + POLYGONS), "is a line, not a point or a polygon")
    return features


def _class_name(value: object) -> str:
    """A class as text. Codes become names: 3, or 3.0 in a column of whole numbers with gaps, is class_3."""
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    return f"class_{text}" if text.isdecimal() else text


# -- windows


def _corners(shape: shapely.Geometry, size: int, height: int, width: int) -> np.ndarray:
    """The column and row of the upper left pixel of each window of a point or polygon in pixels, int64 (N, 2)."""
    if shape.geom_type in POINTS:
        centres = shapely.get_coordinates(shape)
    else:
        left, top, right, bottom = np.array(shape.bounds) / size
        columns = np.arange(max(0, math.floor(left)), min(width // size, math.ceil(right)))
        rows = np.arange(max(0, math.floor(top)), min(height // size, math.ceil(bottom)))
        centres = size * (np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2) + 0.5)
        centres = centres[shapely.contains_xy(shape, centres)]
        if not len(centres):
            centres = shapely.get_coordinates(shape.representative_point())
    # Rounded first, since a tie, as of a pixel's own centre, must not depend on the last digits.
    return np.floor(np.round(centres - size / 2, 6) + 0.5).astype(np.int64)


def place_windows(features: gpd.GeoDataFrame, scene: Scene, size: int) -> pd.DataFrame:
    """The windows of a scene that features become.

    Args:
        features: as from `read_features`.
        size: of a window, in pixels of 10 m.

    Returns:
        A row per window, and per feature that has none because of a problem. Columns: `patch_id`: `p<feature>`, or
        `p<feature>-<number>` where a feature has several windows; `class`; `problem`: why it cannot be cut, or '';
        `left`, `top`: int64, the pixel of the scene in its upper left corner.
    """
    a, b, c, d, e, f = (~Affine(*scene.transform))[:6]
    shapes = features.geometry.to_crs(scene.crs).affine_transform([a, b, d, e, c, f])
    problems = features["problem"].where(np.isfinite(shapes.bounds).all(axis=1) | (features["problem"] != ""), "far")
    rows = []
    for number, name, problem, shape in zip(features.index, features["class"], problems, shapes, strict=True):
        if problem:
            why = f"lies far outside {scene.name}" if problem == "far" else problem
            rows.append((f"p{number}", name, why, 0, 0))
            continue
        corners = _corners(shape, size, scene.height, scene.width)
        for window, (left, top) in enumerate(corners, 1):
            rows.append((f"p{number}-{window}" if len(corners) > 1 else f"p{number}", name, "", left, top))
    windows = pd.DataFrame(rows, columns=["patch_id", "class", "problem", "left", "top"])
    fits = windows["left"].between(0, scene.width - size) & windows["top"].between(0, scene.height - size)
    add_problem(windows, fits, f"its window of {size} x {size} pixels extends beyond {scene.name}")
    usable = windows[windows["problem"] == ""]
    repeated = usable.index[usable.duplicated(["left", "top", "class"])]
    add_problem(windows, ~windows.index.isin(repeated), "has the same window and class as another")
    return windows


def find_overlaps(windows: pd.DataFrame, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of windows that overlap another one.

    Args:
        windows: columns `left`, `top` and `class`.
        size: of a window, in pixels.

    Returns:
        int64 (N,), and int64 (M, 2): a window, and the nearest one of another class that it overlaps.
    """
    corners, classes = windows[["left", "top"]].to_numpy(), windows["class"].to_numpy()
    nearest = {"p": np.inf, "distance_upper_bound": size - 0.5}  # windows overlap if both coordinates are nearer
    second = KDTree(corners).query(corners, k=2, **nearest)[0][:, 1]  # the first one may be the window itself
    pairs = []
    for name in pd.unique(classes):
        here, others = np.flatnonzero(classes == name), np.flatnonzero(classes != name)
        if len(others):
            distance, position = KDTree(corners[others]).query(corners[here], **nearest)
            near = np.isfinite(distance)
            pairs.append(np.column_stack([here[near], others[position[near]]]))
    of_classes = np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)
    return np.flatnonzero(np.isfinite(second)), of_classes[np.argsort(of_classes[:, 0], kind="stable")]


# -- patches


def rows_of(scene: Scene, tops: Sequence[int], size: int) -> Iterator[np.ndarray]:
    """The rows of windows with these first rows, which must ascend: uint16 (C, size, width) each.

    The scene is read in strips, each once, and those without a window not at all.
    """
    step = strip_rows(scene, size)
    numbers, start = np.empty((len(scene.bands), 0, scene.width), np.uint16), 0
    for top in tops:
        stop = start + numbers.shape[1]
        if top >= stop:
            start = stop = top // step * step
            numbers = numbers[:, :0]
        while stop < top + size:
            done = min(top - start, numbers.shape[1])
            fresh = scene.read(stop, min(step, scene.height - stop))
            numbers = np.concatenate([numbers[:, done:], fresh], axis=1)
            start, stop = start + done, stop + fresh.shape[1]
        yield numbers[:, top - start :][:, :size]


def cut(scene: Scene, windows: pd.DataFrame, size: int, folder: Path) -> pd.DataFrame:
    """Write the patches of windows as a dataset in the layout `table`: labels.csv, and a GeoTIFF for each patch.

    The tiles hold reflectance x 10,000, uint16, without offset, with the names of the bands and a georeference.

    Args:
        windows: as from `place_windows`, at least one of them without a problem.
        size: of a window, in pixels.
        folder: is made.

    Returns:
        The windows, with another problem where a window has nodata.

    Raises:
        InputError: all have a problem, or the scene cannot be read.
    """
    (folder / TILES).mkdir(parents=True)
    windows, empty = windows.copy(), []
    profile = {"driver": "GTiff", "dtype": "uint16", "count": len(scene.bands), "height": size, "width": size}
    profile |= {"crs": scene.crs, "nodata": NODATA}
    to_scene = Affine(*scene.transform)
    order = windows[windows["problem"] == ""].sort_values(["top", "left"])
    tiles = zip(order.itertuples(), rows_of(scene, order["top"].tolist(), size), strict=True)
    for window, rows in tqdm(tiles, total=len(order), desc="cut", unit="patch", disable=None):
        pixels = rows[:, :, window.left : window.left + size]
        if (pixels == NODATA).any():
            empty.append(window.Index)
            continue
        transform = to_scene @ Affine.translation(window.left, window.top)
        with rasterio.open(folder / TILES / f"{window.patch_id}.tif", "w", transform=transform, **profile) as tile:
            tile.write(pixels)
            tile.descriptions = tuple(scene.bands)
    add_problem(windows, ~windows.index.isin(empty), "its window has pixels without data")
    table = windows.loc[windows["problem"] == "", ["patch_id", "class", "left", "top"]]
    table.insert(1, "path", [f"{TILES}/{patch_id}.tif" for patch_id in table["patch_id"]])
    corners = [table.pop(name).to_numpy() for name in ("left", "top")]
    x, y = to_scene @ [corner + size / 2 for corner in corners]
    for name, degrees in zip(("lon", "lat"), rasterio.warp.transform(scene.crs, DEGREES, x, y), strict=False):
        table[name] = [f"{number:.7f}" for number in degrees]  # a centimetre
    if scene.provenance.date:
        table["date"] = scene.provenance.date
    files.write_csv(folder / LABELS, table)
    return windows

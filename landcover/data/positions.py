"""Where patches lie: from a table, from the dataset's own, or from the georeference of their files."""

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import rasterio
from rasterio.io import DatasetReader
from rasterio.warp import transform

from landcover.data import places
from landcover.data.layout import Patches
from landcover.data.raster import DAMAGED, PICTURES, gdal
from landcover.data.tables import add_problem, check_columns, check_positions, read_cells, to_numbers
from landcover.errors import InputError

DEGREES = "EPSG:4326"
FILES_PER_JOB = 500
SAMPLE = 20  # patches whose stated positions are compared with their files
NEAR_KM = 50  # a stated position within it is not taken for another place
COMMAND = "python -m landcover positions"


class Centre(NamedTuple):
    """The centre of an image, in its own coordinate system."""

    crs: str  # as WKT, '' where unknown
    x: float
    y: float


UNKNOWN = Centre("", np.nan, np.nan)
UNREADABLE = Centre("", np.inf, np.inf)


def join(table: pd.DataFrame, path: Path) -> None:
    """Set `lon` and `lat` from a CSV with the columns tile (or patch_id), lon and lat.

    Its rows are found by the patch id, or by what follows its last slash where that is unique. Rows of other tiles are
    ignored; patches without a row get a problem.

    Raises:
        InputError: there is no such table, or it is of other patches.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such table of positions; write one with `{COMMAND} <archive of GeoTIFFs> {path}`")
    cells = read_cells(path)
    key = "patch_id" if "patch_id" in cells else "tile"
    check_columns(cells, [key, "lon", "lat"], path)
    if (twice := cells[key].duplicated()).any():
        raise InputError(f"{path}: {twice.sum()} rows repeat a tile, for example {cells[key][twice].iloc[0]}; keep one")
    positions = to_numbers(cells.set_index(key)[["lon", "lat"]])
    ids = table["patch_id"]
    names = ids.str.rsplit("/", n=1).str[-1]
    names = names.where(~names.duplicated(keep=False), "")
    known = ids.where(ids.isin(positions.index), names)
    listed = known.isin(positions.index)
    if not listed.any():
        raise InputError(
            f"{path}: has positions of none of {len(ids)} patches: it lists {cells[key][0]}, but the patches are like "
            f"{ids[0]}; correct the names"
        )
    table[["lon", "lat"]] = positions.reindex(known).to_numpy()
    add_problem(table, listed, f"has no row in {path}")
    check_positions(table, str(path))


def centre(file: DatasetReader) -> Centre:
    """Where the centre of a GeoTIFF lies."""
    if file.crs is None or file.transform == rasterio.Affine.identity():
        return UNKNOWN
    return Centre(file.crs.to_wkt(), *(file.transform @ (file.width / 2, file.height / 2)))


def _centres(files: Sequence[str], root: Path) -> list[Centre]:
    centres = []
    with gdal():
        for name in files:
            position = UNKNOWN
            try:
                if Path(name).suffix.lower() not in PICTURES:
                    with rasterio.open(root / name, driver="GTiff") as file:
                        position = centre(file)
            except DAMAGED:
                position = UNREADABLE
            centres.append(position)
    return centres


def to_degrees(centres: Sequence[Centre]) -> pd.DataFrame:
    """Columns `lon` and `lat`, NaN where unknown."""
    table = pd.DataFrame(centres).assign(lon=np.nan, lat=np.nan)
    for crs, part in table[table["crs"] != ""].groupby("crs"):
        table.loc[part.index, ["lon", "lat"]] = np.transpose(
            transform(crs, DEGREES, part["x"].tolist(), part["y"].tolist())
        )
    return table[["lon", "lat"]]


def _check_exchanged(table: pd.DataFrame, root: Path, files: pd.Series) -> None:
    """Check for lon and lat in each other's place, which is often a position on Earth, too.

    Raises:
        InputError: so the georeferences of a sample of files say.
    """
    rows = np.unique(np.linspace(0, len(table) - 1, SAMPLE).astype(int))
    stated = table[["lon", "lat"]].iloc[rows].reset_index(drop=True)
    own = to_degrees(_centres(files.iloc[rows].tolist(), root))
    usable = (own.notna() & stated.notna()).all(axis=1) & (stated.abs() <= 90).all(axis=1)
    stated, own = stated[usable], own[usable]

    def far(positions: pd.DataFrame) -> np.ndarray:
        return np.array(
            [np.isinf(places.nearest_km(positions.loc[[row]], own.loc[[row]], NEAR_KM))[0] for row in own.index],
            bool,
        )

    exchanged = far(stated) & ~far(stated.rename(columns={"lon": "lat", "lat": "lon"}))
    if exchanged.sum() > len(own) / 2:
        raise InputError(
            f"lon and lat are exchanged in {exchanged.sum()} of {len(own)} patches, for example "
            f"{table['patch_id'].iloc[rows[0]]}, as the georeference of their files shows; correct the table"
        )


def locate(patches: Patches, path: Path | None, pool: Executor) -> list[str]:
    """Set `lon` and `lat` of all patches: from a table, else from the dataset's tables, else from the files.

    Args:
        path: of the table.
        pool: processes that read georeferences.

    Returns:
        Warnings.

    Raises:
        InputError: the table is invalid, or lon and lat are exchanged.
    """
    table = patches.table
    if path is not None:
        join(table, path)
    else:
        check_positions(table, "the table")
    files = table[patches.channels[0].name]
    if table[["lon", "lat"]].notna().any(axis=None):
        _check_exchanged(table, patches.root, files)
        return []
    jobs = [files.iloc[start : start + FILES_PER_JOB].tolist() for start in range(0, len(files), FILES_PER_JOB)]
    centres = [centre for part in pool.map(partial(_centres, root=patches.root), jobs) for centre in part]
    degrees = to_degrees(centres)
    known = degrees.notna().all(axis=1)
    if not known.any():
        return []
    if len(degrees) > 1 and known.all() and len(degrees.drop_duplicates()) == 1:
        return [f"all {len(degrees)} files have the same georeference, so it is unknown where the patches lie"]
    table[["lon", "lat"]] = degrees.to_numpy()
    readable = np.array([centre != UNREADABLE for centre in centres])
    add_problem(table, readable, "its file is missing, or not a readable GeoTIFF")
    add_problem(table, known, "has no georeference, but others have one; add it, or state positions in the entry")
    return []

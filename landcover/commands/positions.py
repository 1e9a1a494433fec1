"""Write where georeferenced tiles lie, for tiles of the same names that have no georeference.

    python -m landcover positions SOURCE FILE.csv

SOURCE is a .zip, .tar, .tar.gz or folder of GeoTIFFs, for example EuroSAT_MS.zip, whose tiles have the names of those
in EuroSAT_RGB.zip. FILE.csv gets the columns tile, lon and lat: a tile's name without its ending, and its centre in
degrees (WGS 84), sorted by name. The name is preceded by its folder, <folder>/<name>, if two tiles have the same one.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.warp import transform
from tqdm import tqdm

from landcover import files
from landcover.archives import archive
from landcover.errors import InputError

DEGREES = "EPSG:4326"
DIGITS = 7  # of a degree: a centimetre


def is_geotiff(path: PurePosixPath) -> bool:
    return path.suffix.lower() in (".tif", ".tiff") and not path.name.startswith(".")


def _contents(source: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Path and content of each GeoTIFF of an archive or a folder."""
    if not source.is_dir():
        return archive.contents(source, is_geotiff)
    paths = [path for path in sorted(source.rglob("*")) if is_geotiff(path) and path.is_file()]
    return ((path.relative_to(source), path.read_bytes()) for path in tqdm(paths, desc="read", disable=None))


def _centre(content: bytes) -> tuple[str, float, float]:
    """The coordinate system of a GeoTIFF, and its centre in it.

    Raises:
        ValueError: it has no georeference.
        RasterioError: it cannot be read.
    """
    with MemoryFile(content) as memory, memory.open(driver="GTiff") as tile:
        if tile.crs is None or tile.transform.is_identity:
            raise ValueError
        return tile.crs.to_wkt(), *(tile.transform @ (tile.width / 2, tile.height / 2))


def read_positions(source: Path) -> pd.DataFrame:
    """The centre of each GeoTIFF in an archive or a folder, sorted by name: columns `tile`, `lon`, `lat` (degrees).

    Raises:
        InputError: there is no GeoTIFF, or some cannot be read, lack a georeference or share a name; gives their number
            and an example.
    """
    rows, problems = [], {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # it is an error here
        for path, content in _contents(source):
            try:
                rows.append((path.parent.name, path.stem, *_centre(content)))
            except (RasterioError, ValueError) as error:
                what = "have no georeference" if isinstance(error, ValueError) else "cannot be read"
                problems.setdefault(what, []).append(str(path))
    if problems:
        told = "; ".join(f"{len(paths)} GeoTIFFs {what}, such as {paths[0]}" for what, paths in problems.items())
        raise InputError(f"{source}: {told}; get them again, or leave them out")
    if not rows:
        remedy = "the positions of EuroSAT are in EuroSAT_MS.zip"
        raise InputError(f"{source}: contains no GeoTIFF (.tif or .tiff); {remedy}")
    table = pd.DataFrame(rows, columns=["folder", "tile", "crs", "x", "y"])
    if table["tile"].duplicated().any():
        table["tile"] = table["folder"] + "/" + table["tile"]
    if (twice := table["tile"].duplicated()).any():
        example = table["tile"][twice].iloc[0]
        raise InputError(f"{source}: {twice.sum()} GeoTIFFs have another's name, such as {example}; rename them")
    for crs, part in table.groupby("crs"):
        lon_lat = transform(crs, DEGREES, part["x"].tolist(), part["y"].tolist())
        table.loc[part.index, ["lon", "lat"]] = np.transpose(lon_lat)
    return table[["tile", "lon", "lat"]].sort_values("tile", ignore_index=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m landcover positions", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a .zip, .tar, .tar.gz or folder of GeoTIFFs")
    parser.add_argument("out", type=Path, metavar="FILE.csv", help="for example data/lists/eurosat.csv")
    given = parser.parse_args(arguments)
    if not given.source.exists():
        raise InputError(f"{given.source}: no such file or folder; give an archive or a folder of GeoTIFFs")
    table = read_positions(given.source)
    with files.replacing(given.out) as part:
        table.to_csv(part, index=False, lineterminator="\n", float_format=f"%.{DIGITS}f")
    print(f"{given.out}: the positions of {len(table):,} tiles")

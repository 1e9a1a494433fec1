"""Write where georeferenced tiles lie, for tiles of the same names that have no georeference.

    python -m landcover positions SOURCE FILE.csv

SOURCE is a .zip, .tar, .tar.gz or folder of GeoTIFFs, for example EuroSAT_MS.zip, whose tiles have the names of those
in EuroSAT_RGB.zip. FILE.csv gets the columns tile, lon and lat: a tile's name without its ending, and its centre in
degrees (WGS 84), sorted by name. The name is preceded by its folder, <folder>/<name>, if two tiles have the same one.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from tqdm import tqdm

from landcover import files
from landcover.archives import archive
from landcover.data.positions import centre, to_degrees
from landcover.data.raster import gdal
from landcover.errors import InputError

DIGITS = 7  # of a degree: a centimetre


def is_geotiff(path: PurePosixPath) -> bool:
    return path.suffix.lower() in (".tif", ".tiff") and not path.name.startswith(".")


def _contents(source: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Path and content of each GeoTIFF of an archive or a folder."""
    if not source.is_dir():
        return archive.contents(source, is_geotiff)
    paths = [path for path in sorted(source.rglob("*")) if is_geotiff(path) and path.is_file()]
    return ((path.relative_to(source), path.read_bytes()) for path in tqdm(paths, desc="read", disable=None))


def read_positions(source: Path) -> pd.DataFrame:
    """The centre of each GeoTIFF in an archive or a folder, sorted by name: columns `tile`, `lon`, `lat` (degrees).

    Raises:
        InputError: there is no GeoTIFF, or some cannot be read, lack a georeference or share a name; gives their number
            and an example.
    """
    paths, centres, problems = [], [], {}
    with gdal():
        for path, content in _contents(source):
            try:
                with MemoryFile(content) as memory, memory.open(driver="GTiff") as file:
                    position = centre(file)
            except RasterioError:
                problems.setdefault("cannot be read", []).append(path)
                continue
            if not position.crs:
                problems.setdefault("have no georeference", []).append(path)
            paths.append(path)
            centres.append(position)
    if problems:
        faults = "; ".join(f"{len(bad)} GeoTIFFs {what}, such as {bad[0]}" for what, bad in problems.items())
        raise InputError(f"{source}: {faults}; get them again, or leave them out")
    if not paths:
        remedy = "give the archive that has the georeference, for EuroSAT EuroSAT_MS.zip"
        raise InputError(f"{source}: contains no GeoTIFF (.tif or .tiff); {remedy}")
    tiles = pd.Series([path.stem for path in paths])
    if tiles.duplicated().any():
        tiles = pd.Series([f"{path.parent.name}/{path.stem}" for path in paths])
    if (twice := tiles.duplicated()).any():
        example = tiles[twice].iloc[0]
        raise InputError(f"{source}: {twice.sum()} GeoTIFFs have another's name, such as {example}; rename them")
    return to_degrees(centres).assign(tile=tiles)[["tile", "lon", "lat"]].sort_values("tile", ignore_index=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m landcover positions", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a .zip, .tar, .tar.gz or folder of GeoTIFFs")
    parser.add_argument("out", type=Path, metavar="FILE.csv", help="for example data/lists/eurosat.csv")
    given = parser.parse_args(arguments)
    if not given.source.exists():
        raise InputError(f"{given.source}: no such file or folder; give an archive or a folder of GeoTIFFs")
    table = read_positions(given.source)
    with files.replacing(given.out) as part:
        table.to_csv(part, index=False, lineterminator="\n", float_format=f"%.{DIGITS}f")
    print(f"{given.out}: the positions of {len(table):,} tiles")

"""The pixels of a scene's files, read in strips: unchanged, resampled from 20 m and 60 m, or warped."""

import math
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import numpy as np
import rasterio
import rasterio.errors
from rasterio.enums import MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from landcover.constants import NODATA, REFLECTANCE_SCALE
from landcover.data.raster import resampled_nodata
from landcover.errors import CERTIFICATES, UNTRUSTED, InputError, redact
from landcover.mapping.layers import REMOTE

T = TypeVar("T")
RESAMPLING = "bilinear"  # preprocess's default
WARPED_ROWS = 128  # warped at a time, wherever a strip begins, since GDAL's result depends on what is warped together
WARP_TOLERANCE = 0.01  # of a pixel: the error that GDAL may make when it approximates the transformation
SAMPLE = 700  # pixels a side: half a million of them
SAMPLED_STRIPS, SAMPLED_ROWS = 6, 128  # enough to include water or shadows, for a quarter of the time
# Nodata without a tag is the lowest number of a band if it is negative, or the highest if it is far above all others
# and no reflectance. It has at least this share of the pixels and, if negative, is so many times as frequent as any
# other negative number. What is left of water once an offset has been subtracted spreads over many numbers.
FILL_SHARE, FILL_EXCESS = 0.01, 10
CACHE_BYTES = 1 << 28  # holds one row of blocks of all bands
OPTIONS = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    "GDAL_NUM_THREADS": "ALL_CPUS",  # to decode blocks
    "GDAL_HTTP_CONNECTTIMEOUT": 15,
    "GDAL_HTTP_LOW_SPEED_TIME": 15,  # seconds after which a host has stalled that sends less than
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,  # bytes a second
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "CPL_VSIL_CURL_USE_HEAD": "NO",  # some signed URLs are valid for GET only
}
PATIENCE = 10  # seconds after which a line says that a host is slow
PAUSES = (1, 4)  # seconds before a failed read is repeated
REFUSED = re.compile(rf"HTTP response code\D*4\d\d|{CERTIFICATES.pattern}")
JP2 = re.compile(r"\.jp2(?!\w)", re.IGNORECASE)  # in Nodes(<name>.jp2)/$value, too
# Of several threads that decode tiles of a JPEG 2000, or wait for tiles from a host, GDAL does not report the errors.
ONE_THREAD = {"GDAL_NUM_THREADS": 1}
DENIED = re.compile(r"\b(401|403|409)\b")  # the last by Azure, where it serves the Planetary Computer
ANEW = {"CPL_VSIL_CURL_NON_CACHED": REMOTE}  # without what GDAL knows of a host, such as that a file was not there
# Otherwise, GDAL asks the host for a list of files, and for files beside the one that is read.
ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}


def file_name(path: str) -> str:
    """The name of a file, without its folder; of a URL, without its query."""
    return Path(urlsplit(path).path if path.startswith(REMOTE) else path).name


@contextmanager
def open_raster(path: str, anew: bool = False) -> Iterator[DatasetReader]:
    """A raster, opened with a driver that reads no other files or URLs.

    Args:
        anew: a host that failed is asked again.

    Raises:
        InputError: it cannot be opened, or read from while it is open.
    """
    remote = path.startswith(REMOTE)
    driver = "JP2OpenJPEG" if JP2.search(path.partition("?")[0]) else "GTiff"
    options = OPTIONS | (ALONE if remote else {}) | (ANEW if anew else {})
    if remote or driver == "JP2OpenJPEG":
        options |= ONE_THREAD
    try:
        with rasterio.Env(**options), warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path, driver=driver) as raster:
                yield raster
    except rasterio.errors.RasterioError as error:
        why = redact(" ".join(str(error.__cause__ or error).split()))
        if remote and (query := urlsplit(path).query):  # which may be a key, and GDAL reports it without the URL
            why = why.replace(query, "...")
        remedy = "check the network and the URL, and run again" if remote else "give an intact GeoTIFF or JPEG 2000"
        if not path.startswith("/vsi") and not Path(path).exists():
            why, remedy = "there is no such file", f"put it at {path}, or correct the path"
        if remote and DENIED.search(why):
            remedy = (
                "its host wants a login, or links with a signature: do the signing (for the Planetary Computer, by "
                "planetary_computer.sign) and give the signed item, or download the product"
            )
        elif remote and CERTIFICATES.search(why):
            remedy = UNTRUSTED
        raise InputError(f"{file_name(path)} cannot be read ({why}); {remedy}") from None


def reading(path: str, job: Callable[[DatasetReader], T]) -> T:
    """What `job` reads of a raster, in a thread if a host has it: GDAL would keep an interrupt waiting.

    A read that fails is repeated, since GDAL retries single requests only, and not all of them.

    Raises:
        InputError: it cannot be opened or read.
    """
    if not path.startswith(REMOTE):
        with open_raster(path) as raster:
            return job(raster)
    host = urlsplit(path.removeprefix(REMOTE)).hostname

    def read_into(result: Future[T], anew: bool) -> None:
        try:
            with open_raster(path, anew) as raster:
                result.set_result(job(raster))
        except BaseException as error:
            result.set_exception(error)

    for number, pause in enumerate((*PAUSES, None)):
        result: Future[T] = Future()
        # A daemon, which an interrupt leaves behind.
        threading.Thread(target=read_into, args=(result, number > 0), daemon=True).start()
        try:
            if not wait([result], PATIENCE).done:
                print(f"waiting for {host}", file=sys.stderr)
            return result.result()
        except InputError as error:
            if pause is None or REFUSED.search(str(error)):
                raise
            print(f"{host} failed; trying again in {pause} s", file=sys.stderr)
            time.sleep(pause)


class Gaps(NamedTuple):
    """Which numbers of a band are nodata, besides 0 and what the file says."""

    fill: float | None = None  # stands for nodata without a tag
    least: float = -math.inf  # no valid number is at or below it


def fill_of(numbers: np.ndarray) -> float | None:
    """The number that stands for nodata without a tag, if there is one: it recurs, and lies apart from the others.

    Args:
        numbers: those of a band that are not known to be nodata (N,).
    """
    values, counts = np.unique(numbers, return_counts=True)
    often = counts >= max(FILL_SHARE * numbers.size, 2)
    if values.size < 2:
        return None
    if often[0] and values[0] < 0 and counts[0] >= FILL_EXCESS * counts[1:][values[1:] < 0].max(initial=0):
        return values[0].item()
    high = np.percentile(numbers[numbers < values[-1]], 99.9)  # of the others, as reflectances or x 10,000
    if often[-1] and values[-1] > 2 * max(high, 1 if high <= 2 else REFLECTANCE_SCALE):
        return values[-1].item()
    return None


def read(
    raster: DatasetReader, indexes: list[int], gaps: Sequence[Gaps] | None = None, **place: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (C, H, W), and where they are nodata: by value, tag or mask, or because they are not finite.

    Args:
        gaps: of each band.
        place: `window` or `out_shape`, as in rasterio.
    """
    numbers = raster.read(indexes, **place)
    empty = numbers == NODATA
    if numbers.dtype.kind == "f":
        empty |= ~np.isfinite(numbers)
    for own, none, index in zip(numbers, empty, indexes, strict=True):
        tag = raster.nodatavals[index - 1]
        if tag is not None and tag != NODATA:
            none |= own == tag
    for own, none, gap in zip(numbers, empty, gaps or [], strict=False):
        if gap.fill is not None:
            none |= own == gap.fill
        if gap.least > 0 or numbers.dtype.kind != "u":
            none |= own <= gap.least
    if MaskFlags.per_dataset in raster.mask_flag_enums[0]:
        empty |= raster.read_masks(indexes, **place) == 0
    return numbers, empty


def sample(path: str, index: int, block_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (H, W) and nodata of about SAMPLE pixels a side: from an overview, or else from SAMPLED_STRIPS strips.

    Nodata is what the file says, and 0.

    Args:
        block_rows: of the highest blocks among a scene's files, so that the same strips of all of them are read.
    """

    def sampled(raster: DatasetReader) -> list[tuple[np.ndarray, np.ndarray]]:
        parts = []
        step = math.ceil(max(raster.width, raster.height) / SAMPLE)
        thickness = raster.height if raster.overviews(index) else max(block_rows, SAMPLED_ROWS)
        starts = range(0, raster.height, thickness)
        for start in starts[:: math.ceil(len(starts) / SAMPLED_STRIPS)]:
            rows = min(thickness, raster.height - start)
            shape = (1, math.ceil(rows / step), math.ceil(raster.width / step))
            parts.append(read(raster, [index], window=Window(0, start, raster.width, rows), out_shape=shape))
        return parts

    parts = reading(path, sampled)
    ((numbers,), (empty,)) = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    return numbers, empty


def read_resampled(
    raster: DatasetReader, indexes: list[int], gaps: Sequence[Gaps], factor: int, row: int, rows: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Like `read`, for some rows of a grid that is `factor` times as fine, resampled as in `read_patch`.

    Args:
        row, rows, width: on the fine grid.
    """
    start, stop = row // factor, -(-(row + rows) // factor)
    numbers = raster.read(
        indexes,
        window=Window(0, start, raster.width, stop - start),
        out_shape=(len(indexes), (stop - start) * factor, raster.width * factor),
        resampling=Resampling[RESAMPLING],
    )
    # With the rows above and below, whose nodata resampling mixes in.
    above, below = max(0, start - 1), min(raster.height, stop + 1)
    _, empty = read(raster, indexes, gaps, window=Window(0, above, raster.width, below - above))
    empty = np.stack([resampled_nodata(none, factor, RESAMPLING) for none in empty])
    first = row - start * factor
    return (
        numbers[:, first : first + rows, :width],
        empty[:, row - above * factor : row - above * factor + rows, :width],
    )


def read_warped(
    raster: DatasetReader,
    indexes: list[int],
    gaps: Sequence[Gaps],
    grid: dict[str, Any],
    scale: float,
    row: int,
    rows: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Like `read`, for some rows of another grid.

    Args:
        grid: `crs`, `transform`, `width` and `height`.
        scale: the side of the raster's pixels in pixels of the grid, which GDAL would otherwise estimate for each part.
    """
    fills = [gap.fill for gap in gaps if gap.fill is not None]
    tag = fills[0] if fills else raster.nodatavals[indexes[0] - 1]
    match raster.mask_flag_enums[0]:
        case [MaskFlags.per_dataset]:
            nodata = {"add_alpha": True}
        case [MaskFlags.per_dataset, MaskFlags.alpha]:
            nodata = {}  # alpha is warped with the bands
        case _:
            nodata = dict.fromkeys(("src_nodata", "nodata"), tag or NODATA)
    options = {"resampling": Resampling[RESAMPLING], "tolerance": WARP_TOLERANCE, "XSCALE": scale, "YSCALE": scale}
    options["UNIFIED_SRC_NODATA"] = "NO"  # a pixel may be nodata in only one band
    parts = []
    with WarpedVRT(raster, **grid, **nodata, **options) as warped:
        for start in range(row // WARPED_ROWS * WARPED_ROWS, row + rows, WARPED_ROWS):
            window = Window(0, start, warped.width, min(WARPED_ROWS, warped.height - start))
            parts.append(read(warped, indexes, gaps, window=window))
    numbers, empty = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    kept = slice(row % WARPED_ROWS, row % WARPED_ROWS + rows)
    return numbers[:, kept], empty[:, kept]

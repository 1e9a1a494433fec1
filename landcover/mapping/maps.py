"""The map of a scene, with one cell per window, computed strip by strip."""

import copy
import functools
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from rasterio import Affine
from tqdm import tqdm

from landcover.config import Runtime
from landcover.data.conversion import to_reflectance
from landcover.device import choose_device
from landcover.errors import InputError
from landcover.mapping.models import Model
from landcover.mapping.scenes import Scene
from landcover.mapping.thumbnails import Thumbnail
from landcover.mapping.windows import Windows, complete, logits, means, side_by_side
from landcover.processes import executor
from landcover.training.determinism import set_deterministic

NOTHING = -1  # the label of a cell whose window has nodata
# Rows are read in whole blocks of the files, at least READ at a time, so that no block is decoded twice. Blocks of more
# than BLOCK rows are, since they would take too much memory. Sentinel-2 products have blocks of 1,024 to 1,280 rows.
READ, BLOCK = 500, 1280
CACHED = 64  # rows that are converted at a time: few enough that a processor's cache holds them


class Map(NamedTuple):
    """A model's predictions for a scene."""

    windows: Windows
    transform: Affine  # of the cells: each is the square of step x step pixels at the centre of its window
    labels: np.ndarray  # int16 (rows, columns); NOTHING where the window has nodata
    confidence: np.ndarray  # float32 (rows, columns); NaN there
    probabilities: np.ndarray | None  # float32 (K, rows, columns), if they were requested; NaN there
    # By band, int8 (rows, columns): -1 where the window is darker than all patches that the model was trained on, 1
    # where it is brighter. Empty if the model file has no range.
    unlike: dict[str, np.ndarray]
    thumbnail: np.ndarray  # float32 (C, h, w), reflectances


class _Part(NamedTuple):
    """A strip of a scene."""

    windows: range  # rows of windows: those that are complete once its pixels are read
    pixels: range  # rows of pixels, from the first of these windows on
    fresh: range  # those that no earlier part has


def _parts(windows: Windows, scene: Scene) -> list[_Part]:
    least = max(READ, windows.size)  # so that at least one window ends in each part
    block = min(scene.block_rows, BLOCK)
    rows = -(-least // block) * block
    parts, done, read = [], 0, 0
    for stop in (*range(rows, scene.height - windows.size + 1, rows), scene.height):
        whole = (stop - windows.size) // windows.step + 1
        parts.append(_Part(range(done, whole), range(done * windows.step, stop), range(read, stop)))
        done, read = whole, stop
    return parts


class _Strip(NamedTuple):
    """A model's predictions for a part."""

    probabilities: np.ndarray  # float32 (K, rows, columns), NaN where a window has nodata
    means: np.ndarray  # float32 (C, rows, columns), of each band over a window
    sums: np.ndarray  # its contribution to the thumbnail


def _interleaved(numbers: np.ndarray) -> torch.Tensor:
    """Reflectances (C, h, w) of numbers; in memory, a pixel's bands lie together, as convolutions want them."""
    bands, height, width = numbers.shape
    x = torch.from_numpy(np.empty((height, width, bands), np.float32)).permute(2, 0, 1)
    for rows in map(slice, range(0, height, CACHED), range(CACHED, height + CACHED, CACHED)):
        x[:, rows] = torch.from_numpy(to_reflectance(numbers[:, rows]))
    return x


@torch.inference_mode()
def _strip(part: _Part, numbers: np.ndarray, model: Model, windows: Windows, thumbnail: Thumbnail) -> _Strip:
    windows = windows._replace(rows=len(part.windows))
    height, _ = windows.extent
    probabilities = np.empty((len(model.classes), windows.rows, windows.columns), np.float32)
    averages = np.empty((len(numbers), windows.rows, windows.columns), np.float32)
    for columns, place in side_by_side(model.networks[0], windows):
        x = _interleaved(numbers[:, :height, place])
        some = windows._replace(columns=columns.stop - columns.start)
        found = model.probabilities(functools.partial(logits, pixels=x, windows=some)).cpu()
        found[~complete(x, some)] = torch.nan
        probabilities[..., columns] = found.permute(2, 0, 1)
        averages[..., columns] = means(x, some)
    return _Strip(probabilities, averages, thumbnail.sums(numbers[:, -len(part.fresh) :], part.fresh))


def _strip_elsewhere(part: _Part, scene: Scene, model: Model, runtime: Runtime, **options: Any) -> _Strip:
    device = choose_device(runtime.device)
    set_deterministic(1, device)
    return _strip(part, scene.read(part.pixels.start, len(part.pixels)), model.to(device), **options)


def _read_once(scene: Scene, parts: Sequence[_Part], kept: int) -> Iterator[np.ndarray]:
    """The numbers of each part, (C, rows, width); those that it shares with the previous part are not read again.

    An array is valid until `kept` more were yielded: then it is filled again, since the system takes time to provide
    the memory of a new one.
    """
    most = max(len(part.pixels) for part in parts)
    arrays = [np.empty((len(scene.bands), most, scene.width), np.uint16) for _ in range(min(kept, len(parts)))]
    previous = arrays[0][:, :0]
    for part, array in zip(parts, itertools.cycle(arrays)):
        numbers = array[:, : len(part.pixels)]
        shared = len(part.pixels) - len(part.fresh)
        numbers[:, :shared] = previous[:, previous.shape[1] - shared :]
        scene.read(part.fresh.start, len(part.fresh), out=numbers[:, shared:])
        yield numbers
        previous = numbers


def _strips(scene: Scene, parts: Sequence[_Part], model: Model, runtime: Runtime, **options: Any) -> Iterator[_Strip]:
    if runtime.dask is not None:
        sent = copy.deepcopy(model).to(torch.device("cpu"))  # a worker may have no GPU
        with executor(runtime) as workers:
            work = functools.partial(_strip_elsewhere, scene=scene, model=sent, runtime=runtime, **options)
            yield from workers.map(work, parts)
        return
    workers = ThreadPoolExecutor(runtime.threads)
    try:
        waiting = deque()
        for part, numbers in zip(parts, _read_once(scene, parts, runtime.threads + 1), strict=True):
            waiting.append(workers.submit(_strip, part, numbers, model, **options))
            if len(waiting) > runtime.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        workers.shutdown(wait=False, cancel_futures=True)  # so that an interrupt does not wait for strips


def predict(scene: Scene, model: Model, step: int, runtime: Runtime, *, keep_probabilities: bool = False) -> Map:
    """Slide windows over a scene, and classify each.

    Strips of the scene are read one after the other, and `runtime.threads` threads compute them in parallel, on the
    networks' device; torch itself should use one thread. If a Dask cluster is named, its workers read and compute the
    strips.

    Args:
        step: pixels from one window to the next.

    Raises:
        InputError: the scene is smaller than a window, the step is not possible, or the probabilities do not fit into
            `runtime.resident_gigabytes`.
    """
    windows = Windows.over(scene, model.patch_size, step)
    shape = (windows.rows, windows.columns)
    classes = len(model.classes)
    if keep_probabilities and (size := classes * windows.rows * windows.columns * 4 / 1e9) > runtime.resident_gigabytes:
        raise InputError(
            f"{scene.name}: its probabilities would take {size:.1f} GB, more than runtime.resident_gigabytes; use a "
            "larger --step"
        )
    labels, confidence = np.empty(shape, np.int16), np.empty(shape, np.float32)
    probabilities = np.empty((classes, *shape), np.float32) if keep_probabilities else None
    unlike = {band: np.empty(shape, np.int8) for band in scene.bands if band in model.patch_means}
    thumbnail = Thumbnail(len(scene.bands), scene.height, scene.width)
    parts = _parts(windows, scene)
    strips = _strips(scene, parts, model, runtime, windows=windows, thumbnail=thumbnail)
    progress = tqdm(strips, total=len(parts), desc=f"predict {scene.name}", unit="strip", disable=None)
    for part, strip in zip(parts, progress, strict=True):
        rows = slice(part.windows.start, part.windows.stop)
        confidence[rows] = strip.probabilities.max(0)
        nothing = np.isnan(confidence[rows])
        labels[rows] = np.where(nothing, NOTHING, strip.probabilities.argmax(0))
        if probabilities is not None:
            probabilities[:, rows] = strip.probabilities
        for band, mean in zip(scene.bands, strip.means, strict=True):
            if band in unlike:
                low, high = model.patch_means[band]
                unlike[band][rows] = np.where(nothing, 0, (mean > high).astype(np.int8) - (mean < low))
        thumbnail.add(strip.sums, part.fresh)
    margin = (windows.size - step) / 2
    transform = Affine(*scene.transform) @ Affine.translation(margin, margin) @ Affine.scale(step)
    return Map(windows, transform, labels, confidence, probabilities, unlike, to_reflectance(thumbnail.means()))

"""The map of a scene, with one cell per window, computed strip by strip."""

import copy
import functools
import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import torch
from rasterio import Affine
from tqdm import tqdm

from landcover.config import Runtime
from landcover.data.conversion import to_reflectance
from landcover.device import choose_device
from landcover.errors import InputError
from landcover.evaluation.applicability import Applicability, describe, steps
from landcover.mapping.predictor import Predictor
from landcover.mapping.scenes import Area, Scene, strip_rows
from landcover.mapping.windows import Windows, complete, means, slide
from landcover.processes import executor
from landcover.training.determinism import set_deterministic

NOTHING = -1  # the label of a cell whose window has nodata
TILE_PIXELS = 1 << 20  # that a thread classifies at a time: 64 MB for each 16 channels of a layer
THUMBNAIL_SIDE = 1000  # pixels of the longer side, at most


@dataclass(frozen=True)
class Map:
    """The predicted classes of a scene's windows."""

    windows: Windows
    transform: Affine  # of the cells: each is the square of step x step pixels at the centre of its window
    labels: np.ndarray  # int16 (rows, columns); NOTHING where the window has nodata
    confidence: np.ndarray  # float32 (rows, columns); NaN there
    probabilities: np.ndarray | None  # float32 (K, rows, columns), if they were requested; NaN there
    # How unlike the train patches the window is, float32 (rows, columns); NaN there. None if these are not known.
    unlike: np.ndarray | None
    thumbnail: np.ndarray  # float32 (C, h, w): reflectances of every n-th pixel


class Strip(NamedTuple):
    """Some rows of windows, and the rows of pixels from the first of these windows on, or from the scene's first."""

    windows: range
    pixels: range


class Predicted(NamedTuple):
    """The predictions of a tile: of some columns of a strip's windows."""

    probabilities: np.ndarray  # float32 (K, rows, columns), NaN where a window has nodata
    unlike: np.ndarray | None  # float32 (rows, columns), NaN likewise; None if the train patches are not known


def strips_of(scene: Scene, windows: Windows) -> list[Strip]:
    """The strips of a scene, from north to south; together they have all its windows and all its pixels."""
    rows, strips, done, start = strip_rows(scene, windows.top + windows.size), [], 0, 0
    # At least one window ends in each.
    for stop in (*range(rows, scene.height - windows.size + 1, rows), scene.height):
        complete_rows = (stop - windows.top - windows.size) // windows.step + 1
        strips.append(Strip(range(done, complete_rows), range(start, stop)))
        done, start = complete_rows, windows.top + complete_rows * windows.step
    return strips


def _read(scene: Scene, strips: list[Strip]) -> Iterator[np.ndarray]:
    """The numbers of each strip, (C, rows, width); those that it shares with the previous one are not read again."""
    numbers, stop = np.empty((len(scene.bands), 0, scene.width), np.uint16), 0
    for strip in strips:
        shared = stop - strip.pixels.start
        fresh = scene.read(stop, strip.pixels.stop - stop)
        numbers = np.concatenate([numbers[:, numbers.shape[1] - shared :], fresh], axis=1) if shared else fresh
        stop = strip.pixels.stop
        yield numbers


def _tiles(strip: Strip, windows: Windows) -> list[range]:
    """The columns of windows of each tile of a strip, from left to right."""
    across = max(1, (TILE_PIXELS // len(strip.pixels) - windows.size) // windows.step + 1)
    return [range(left, min(left + across, windows.columns)) for left in range(0, windows.columns, across)]


@torch.inference_mode()
def _predict_tile(
    numbers: np.ndarray, columns: range, strip: Strip, predictor: Predictor, windows: Windows
) -> Predicted:
    """Classify some columns of a strip's windows, from the strip's numbers."""
    down = windows.pixels(strip.windows, windows.top - strip.pixels.start)
    numbers = numbers[:, down, windows.pixels(columns, windows.left)]
    windows = replace(windows, rows=len(strip.windows), columns=len(columns))
    # Interleaved in memory, as convolutions want it.
    reflectances = torch.from_numpy(to_reflectance(numbers.transpose(1, 2, 0).copy()))
    pixels = reflectances.clamp_(max=predictor.brightest).permute(2, 0, 1)
    probabilities = predictor.probabilities(functools.partial(slide, pixels=pixels, windows=windows)).cpu()
    whole = complete(pixels, windows)
    probabilities[~whole] = torch.nan
    unlike = None
    if predictor.applicability:
        unlike = np.where(whole, _unlike(pixels, windows, predictor.applicability), np.float32(np.nan))
    return Predicted(probabilities.permute(2, 0, 1).numpy(), unlike)


def _unlike(pixels: torch.Tensor, windows: Windows, known: Applicability) -> np.ndarray:
    """The index of each window, float32 (rows, columns)."""
    pixels = pixels.double()  # or the variance of even ground would be lost
    inner = replace(windows, size=windows.size - 1)  # which has all steps within a window
    averages = means(pixels, windows), means(pixels**2, windows), means(steps(pixels), inner)
    return np.stack([known.index(row) for row in describe(*(each.numpy() for each in averages))])  # to save memory


def _predict_strip(
    strip: Strip, scene: Scene, predictor: Predictor, runtime: Runtime, windows: Windows
) -> tuple[list[Predicted], np.ndarray]:
    """Read and classify a strip, on a Dask worker: its tiles, and its pixels for the thumbnail."""
    device = choose_device(runtime.device)
    set_deterministic(1, device)
    numbers = scene.read(strip.pixels.start, len(strip.pixels))
    tiles = [
        _predict_tile(numbers, columns, strip, predictor.to(device), windows) for columns in _tiles(strip, windows)
    ]
    return tiles, _thinned(numbers, strip.pixels.start, scene)


def thinning(area: Area) -> int:
    """How many pixels there are for each of the thumbnail, along a side."""
    return math.ceil(max(area.height, area.width) / THUMBNAIL_SIDE)


def _thinned(numbers: np.ndarray, first_row: int, scene: Scene) -> np.ndarray:
    """The pixels of a strip that are in the thumbnail."""
    every = thinning(scene)
    return numbers[:, -first_row % every :: every, ::every].copy()


def _predicted(
    scene: Scene, strips: list[Strip], predictor: Predictor, runtime: Runtime, windows: Windows
) -> Iterator[tuple[list[Predicted], np.ndarray]]:
    """The tiles of each strip, and the strip's pixels for the thumbnail."""
    if runtime.dask is not None:
        networks = [copy.deepcopy(network).cpu() for network in predictor.networks]  # a worker may have no GPU
        options = {"predictor": replace(predictor, networks=networks), "runtime": runtime, "windows": windows}
        with executor(runtime) as workers:
            yield from workers.map(functools.partial(_predict_strip, scene=scene, **options), strips)
        return
    threads = ThreadPoolExecutor(runtime.threads)

    def submit() -> Iterator[tuple[list[Future[Predicted]], np.ndarray]]:
        for strip, numbers in zip(strips, _read(scene, strips), strict=True):
            options = {"strip": strip, "predictor": predictor, "windows": windows}
            tiles = [threads.submit(_predict_tile, numbers, columns, **options) for columns in _tiles(strip, windows)]
            yield tiles, _thinned(numbers, strip.pixels.start, scene)

    try:
        for (tiles, thinned), _ in pairwise(chain(submit(), [None])):  # a strip is read while another is computed
            yield [tile.result() for tile in tiles], thinned
    finally:
        threads.shutdown(cancel_futures=True)


def most_likely(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class of the largest probability (K, rows, columns), the first in a tie, or NOTHING; and the probability."""
    confidence = probabilities.max(0)
    return np.where(np.isnan(confidence), NOTHING, probabilities.argmax(0)).astype(np.int16), confidence


def check_memory(name: str, classes: int, cells: int, runtime: Runtime) -> None:
    """Refuse probabilities that do not fit into `runtime.resident_gigabytes`.

    Raises:
        InputError: they do not.
    """
    if (size := classes * cells * 4 / 1e9) > runtime.resident_gigabytes:
        raise InputError(
            f"{name}: its probabilities would take {size:.1f} GB, more than runtime.resident_gigabytes; use a larger "
            "--step"
        )


def predict(
    scene: Scene,
    predictor: Predictor,
    step: int,
    runtime: Runtime,
    *,
    keep_probabilities: bool = False,
    first: tuple[int, int] = (0, 0),
) -> Map:
    """Slide windows over a scene, and classify each.

    Strips of the scene are read one after the other, and `runtime.threads` threads compute their tiles, on the models'
    device; torch itself should use one thread. If a Dask cluster is named, its workers read and compute the strips.

    Args:
        step: pixels from one window to the next.
        first: the row and the column of the pixel where the first window starts.

    Raises:
        InputError: the scene is smaller than a window, the step is not possible, or the probabilities do not fit into
            `runtime.resident_gigabytes`.
    """
    windows = Windows.over(scene, predictor.inputs.patch_size, step, first)
    shape = (windows.rows, windows.columns)
    classes = len(predictor.inputs.classes)
    if keep_probabilities:
        check_memory(scene.name, classes, math.prod(shape), runtime)
    labels, confidence = np.empty(shape, np.int16), np.empty(shape, np.float32)
    probabilities = np.empty((classes, *shape), np.float32) if keep_probabilities else None
    unlike = np.empty(shape, np.float32) if predictor.applicability else None
    every = thinning(scene)
    small = (math.ceil(scene.height / every), math.ceil(scene.width / every))
    thumbnail = np.empty((len(scene.bands), *small), np.uint16)
    strips = strips_of(scene, windows)
    results = _predicted(scene, strips, predictor, runtime, windows)
    progress = tqdm(results, total=len(strips), desc=f"predict {scene.name}", unit="strip", disable=None)
    for strip, (tiles, thinned) in zip(strips, progress, strict=True):
        top = math.ceil(strip.pixels.start / every)
        thumbnail[:, top : top + thinned.shape[1]] = thinned
        for tile, columns in zip(tiles, _tiles(strip, windows), strict=True):
            cells = np.s_[strip.windows.start : strip.windows.stop, columns.start : columns.stop]
            labels[cells], confidence[cells] = most_likely(tile.probabilities)
            if probabilities is not None:
                probabilities[:, *cells] = tile.probabilities
            if unlike is not None:
                unlike[cells] = tile.unlike
    return Map(windows, windows.cells(scene), labels, confidence, probabilities, unlike, to_reflectance(thumbnail))

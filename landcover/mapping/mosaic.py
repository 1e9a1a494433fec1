"""One map of several scenes: each cell from the most confident of them, or from the mean of all that see it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from landcover.config import Runtime
from landcover.constants import METRES_PER_PIXEL, NODATA
from landcover.errors import InputError
from landcover.mapping import maps
from landcover.mapping.grids import PIXEL_TOLERANCE
from landcover.mapping.maps import NOTHING, Map
from landcover.mapping.predictor import Predictor
from landcover.mapping.scenes import Area, Scene
from landcover.mapping.windows import Windows, check_step

MEAN = "mean"
RULES = ("confidence", MEAN)


def _offset(scene: Area, area: Area) -> np.ndarray:
    """The row and the column of a scene's first pixel in an area, float64 (2,); whole if they share a grid."""
    x, y = ~Affine(*area.transform) @ (scene.transform[2], scene.transform[5])
    return np.array([y, x])


def around(scenes: Sequence[Scene], name: str, step: int) -> Area:
    """The area around some scenes, whose corner is at whole steps from that of the first one.

    Fewer pixels than a step are left out in the north and in the west: no window starts at a whole step there.

    Raises:
        InputError: they are in several coordinate systems, or not on one grid of pixels.
    """
    first, corners = scenes[0], []
    for scene in scenes:
        if CRS.from_user_input(scene.crs) != CRS.from_user_input(first.crs):
            remedy = f"--crs {first.crs}" if first.crs.startswith("EPSG:") else "--crs EPSG:<code>"
            raise InputError(
                f"{scene.name}: is in {scene.crs[:40]}, and {first.name} in {first.crs[:40]}; give {remedy} to "
                "reproject all scenes to one coordinate system"
            )
        corner = _offset(scene, first)
        if np.abs(corner - corner.round()).max() > PIXEL_TOLERANCE:
            raise InputError(
                f"{scene.name}: its pixels lie between those of {first.name}; warp both with `rio warp <its file> "
                f"<new file> --res {METRES_PER_PIXEL} --target-aligned-pixels`"
            )
        corners.append(corner.round().astype(int))
    top, left = (math.ceil(side / step) * step for side in np.min(corners, axis=0).tolist())
    sides = [(scene.height, scene.width) for scene in scenes]
    bottom, right = np.max(np.add(corners, sides), axis=0).tolist()
    transform = Affine(*first.transform) @ Affine.translation(left, top)
    return Area(name, first.bands, first.crs, tuple(transform)[:6], right - left, bottom - top)


def dates_of(scenes: Sequence[Scene]) -> list[str]:
    """The first and the last date of some scenes, YYYY-MM-DD; none if one is unknown."""
    dates = [scene.provenance.date for scene in scenes]
    return [min(dates), max(dates)] if all(dates) else []


class Mosaic:
    """The map of the area around some scenes, which are added to it one after the other.

    It holds arrays of the area's cells, and while a scene is added, of the scene's cells, so memory does not grow with
    the number of scenes. Probabilities, which `mean` needs, take 4 bytes for each cell and class.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        name: str,
        predictor: Predictor,
        step: int,
        rule: str,
        runtime: Runtime,
        *,
        keep_probabilities: bool = False,
    ):
        """A map without data.

        Args:
            scenes: which may be added.
            step: pixels from one window to the next; the windows of the first scene are those of its own map.
            rule: one of RULES: a cell is from the scene with the largest confidence, the first added in a tie; or from
                the mean of the probabilities of all scenes whose window has data.

        Raises:
            InputError: the scenes have no common grid, the step is not possible, or the probabilities do not fit into
                `runtime.resident_gigabytes`.
        """
        check_step(step, predictor.inputs.patch_size)
        self.area = around(scenes, name, step)
        self.predictor, self.rule, self.runtime = predictor, rule, runtime
        self.windows = Windows.over(self.area, predictor.inputs.patch_size, step)
        shape, classes = (self.windows.rows, self.windows.columns), len(predictor.inputs.classes)
        self.probabilities = None
        if keep_probabilities or rule == MEAN:
            largest = max(scene.height * scene.width for scene in scenes) // step**2
            maps.check_memory(name, classes, math.prod(shape) + largest, runtime)
            self.probabilities = np.full((classes, *shape), 0 if rule == MEAN else np.nan, np.float32)
        self.labels, self.confidence = np.full(shape, NOTHING, np.int16), np.full(shape, np.nan, np.float32)
        self.unlike = np.full(shape, np.nan, np.float32) if predictor.applicability else None
        small = (math.ceil(side / maps.thinning(self.area)) for side in (self.area.height, self.area.width))
        self.thumbnail = np.full((len(self.area.bands), *small), NODATA, np.float32)
        self.scenes: list[Scene] = []  # that were added
        self.source = np.full(shape, NOTHING, np.int16)  # position in `scenes` of the one that gave a cell
        self.counts = np.zeros(shape, np.uint16)  # how many scenes are in the mean of a cell
        self.in_mean: list[int] = []  # how many cells have each scene in their mean

    def add(self, scene: Scene) -> None:
        """Predict one of the scenes, and add its cells.

        Raises:
            InputError: a file is damaged, or the scene is too small; nothing is added.
        """
        step, (row, column) = self.windows.step, _offset(scene, self.area).round().astype(int).tolist()
        first = -row % step, -column % step  # so that windows start at whole steps from the area's corner
        keep = self.probabilities is not None
        part = maps.predict(scene, self.predictor, step, self.runtime, keep_probabilities=keep, first=first)
        top, left = (row + first[0]) // step, (column + first[1]) // step
        self._add_cells(part, np.s_[top : top + part.windows.rows, left : left + part.windows.columns])
        self._add_picture(part.thumbnail, scene, row, column)
        self.scenes.append(scene)

    def _add_cells(self, part: Map, cells: tuple[slice, slice]) -> None:
        has_data = part.labels != NOTHING
        if self.rule == MEAN:
            used = has_data
            sums = self.probabilities[:, *cells]
            np.add(sums, part.probabilities, out=sums, where=used)
            self.counts[cells] += used
            self.in_mean.append(int(used.sum()))
        else:
            used = has_data & ~(self.confidence[cells] >= part.confidence)
            self.source[cells][used] = len(self.scenes)
            np.copyto(self.labels[cells], part.labels, where=used)
            np.copyto(self.confidence[cells], part.confidence, where=used)
            if self.probabilities is not None:
                np.copyto(self.probabilities[:, *cells], part.probabilities, where=used)
        if self.unlike is not None:
            # A mean is as unlike the train patches as the most unlike of its scenes.
            index = np.fmax(self.unlike[cells], part.unlike) if self.rule == MEAN else part.unlike
            np.copyto(self.unlike[cells], index, where=used)

    def _add_picture(self, thumbnail: np.ndarray, scene: Scene, row: int, column: int) -> None:
        """Show a scene's pixels where no scene before it has any."""
        every, own_every = maps.thinning(self.area), maps.thinning(scene)
        down, across = (
            np.arange(max(0, math.ceil(first / every)), math.ceil((first + count) / every))
            for first, count in ((row, scene.height), (column, scene.width))
        )
        seen = thumbnail[:, ((down * every - row) // own_every)[:, None], (across * every - column) // own_every]
        here = self.thumbnail[:, down[:, None], across]
        self.thumbnail[:, down[:, None], across] = np.where((here == NODATA).all(0), seen, here)

    def finish(self) -> Map:
        """The map, once all scenes are added."""
        if self.rule == MEAN:
            self.probabilities /= np.maximum(self.counts, 1)
            self.probabilities[:, self.counts == 0] = np.nan
            self.labels, self.confidence = maps.most_likely(self.probabilities)
        return Map(
            self.windows, self.windows.cells(self.area), self.labels, self.confidence, self.probabilities, self.unlike,
            self.thumbnail,
        )  # fmt: skip

    def cells_of_scenes(self) -> list[int]:
        """How many cells each of the added scenes gave, or is in the mean of."""
        if self.rule == MEAN:
            return self.in_mean
        return np.bincount(self.source[self.source != NOTHING], minlength=len(self.scenes)).tolist()

    def facts(self) -> dict[str, Any]:
        """As in summary.json: what is mapped, and the scenes with the number of their cells."""
        scenes = [
            scene.facts() | {"cells": cells} | ({"masked_pixels": scene.mask.shares} if scene.mask else {})
            for scene, cells in zip(self.scenes, self.cells_of_scenes(), strict=True)
        ]
        return self.area.facts() | {"mosaic": self.rule, "dates": dates_of(self.scenes), "scenes": scenes}

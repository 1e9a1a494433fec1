"""The image channels of a patch besides its bands: radar backscatter and elevation."""

from typing import NamedTuple

import numpy as np

from landcover.constants import RADAR_BANDS
from landcover.data import geotiff
from landcover.data.grids import Centre
from landcover.data.tiles import Tiles
from landcover.modalities import QUANTITIES

# The types of the dataset's tiles, and what to do about tiles of another type.
TYPES = dict.fromkeys(RADAR_BANDS, ("float32", "write backscatter in dB as float32"))
TYPES["elevation"] = ("int16", "write whole metres as int16")


class Channel(NamedTuple):
    """The pixels of one channel, with the first row in the north."""

    values: np.ndarray  # float32 (H, W), dB or metres
    centre: Centre | None  # None if the tile has no georeference


def read_channel(tiles: Tiles, patch_id: str, channel: str, size: int) -> Channel:
    """Read and check a tile: its size, its type, and that all values are finite and plausible.

    Args:
        patch_id: for radar, the patch's patch_id_s1.
        channel: a key of TYPES.
        size: side in pixels.

    Raises:
        ValueError: the tile is missing or invalid; says why.
    """
    content = geotiff.read_bytes(tiles, patch_id, channel)
    with geotiff.opened(content, channel, size, *TYPES[channel]) as (tile, grid):
        if (tile.scales[0], tile.offsets[0]) != (1, 0):
            raise ValueError(f"{channel} has scale and offset tags; write the values themselves")
        values = tile.read(1).astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise ValueError(f"{channel} has values that are not finite")
    quantity = QUANTITIES[channel]
    if bad := [end for end in (values.min(), values.max()) if not quantity.low <= end <= quantity.high]:
        raise ValueError(
            f"{channel} has values of {bad[0]:g} {quantity.unit}, outside {quantity.low:g} to {quantity.high:g}"
        )
    return Channel(values if grid.is_north_up() else values[::-1], grid.centre(size))

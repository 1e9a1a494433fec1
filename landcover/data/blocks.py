"""Blocks of ground: the cells of an equal-area grid of Europe."""

import numpy as np
import pandas as pd
from rasterio.warp import transform

EQUAL_AREA = "EPSG:3035"  # of Europe: Lambert azimuthal, in metres


def blocks(patches: pd.DataFrame, side_km: float) -> np.ndarray:
    """The number of the block of an equal-area grid of Europe that each patch lies in; int64 (N,), from 0.

    Args:
        patches: columns `lon` and `lat`, in degrees.
        side_km: of a block.
    """
    metres = np.array(transform("EPSG:4326", EQUAL_AREA, patches["lon"].tolist(), patches["lat"].tolist())).T
    cells = np.floor(metres / (1000 * side_km)).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].ravel()

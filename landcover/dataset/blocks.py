"""Blocks of ground: the cells of an equal-area grid of Europe."""

import numpy as np
import pandas as pd
from rasterio.warp import transform

EQUAL_AREA = "EPSG:3035"  # of Europe: Lambert azimuthal, in metres


def blocks(patches: pd.DataFrame, side_km: float) -> np.ndarray:
    """The block of an equal-area grid of Europe that each patch lies in; int64 (N, 2), column and row.

    Args:
        patches: columns `lon` and `lat`, in degrees.
        side_km: of a block.
    """
    metres = np.array(transform("EPSG:4326", EQUAL_AREA, patches["lon"].tolist(), patches["lat"].tolist())).T
    return np.floor(metres / (1000 * side_km)).astype(np.int64)

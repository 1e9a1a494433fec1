"""Where patches lie on the ground, regardless of ids and dates: their distances, and the places where they cluster.

An id does not identify a place: one prefix covers several tiles, one tile's patches have several prefixes, and the same
ground appears on other dates under other ids. So distances are computed from longitude and latitude.
"""

import numpy as np
import pandas as pd
from rasterio.warp import transform
from scipy.spatial import KDTree

from landcover.constants import PATCH_SIZE

EARTH_KM = 6371.0088  # mean radius
PLACE_KM = 50  # of a place that verdicts and folds count as one, as the blocks of a split by place
EQUAL_AREA = "EPSG:3035"  # of Europe: Lambert azimuthal, in metres


def distances(patch_size: float) -> dict[str, float]:
    """Distances in km between the centres of patches of this side in pixels of 10 m, by name.

    Patches of 120 pixels are 1.2 km a side, so two that share a side or a corner are 1.2 to 1.7 km apart.
    """
    scale = patch_size / PATCH_SIZE
    return {"same_ground": 0.6 * scale, "touching": 1.75 * scale, "within_3_km": 3.0, "within_6_km": 6.0}


def _on_sphere(patches: pd.DataFrame) -> np.ndarray:
    """Points on the unit sphere, (N, 3), from columns `lon` and `lat` in degrees."""
    lon, lat = np.radians(patches["lon"].to_numpy()), np.radians(patches["lat"].to_numpy())
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def _chord(km: float) -> float:
    """The chord of the unit sphere between points at this distance on the ground."""
    return 2 * np.sin(km / (2 * EARTH_KM))


def nearest_km(patches: pd.DataFrame, others: pd.DataFrame, limit: float) -> np.ndarray:
    """The great-circle distance of each patch from the nearest of `others`, float64 (N,); inf beyond `limit`.

    Args:
        patches, others: columns `lon` and `lat`, in degrees.
        limit: km.
    """
    if not len(patches) or not len(others):
        return np.full(len(patches), np.inf)
    chord, _ = KDTree(_on_sphere(others)).query(_on_sphere(patches), distance_upper_bound=_chord(1.001 * limit))
    return np.where(np.isinf(chord), np.inf, 2 * EARTH_KM * np.arcsin(np.minimum(chord / 2, 1)))


def has_other_date(patches: pd.DataFrame, others: pd.DataFrame, km: float) -> np.ndarray:
    """Whether each patch has one of `others` within `km` that was taken on another date; bool (N,).

    Args:
        patches, others: columns `lon`, `lat` and `date`.
    """
    if not len(patches) or not len(others):
        return np.zeros(len(patches), bool)
    # Two dates of a position count as much as all of them, and a position may have thousands.
    others = others[["lon", "lat", "date"]].drop_duplicates().groupby(["lon", "lat"]).head(2)
    neighbours = KDTree(_on_sphere(others)).query_ball_point(_on_sphere(patches), _chord(km))
    dates = others["date"].to_numpy()
    return np.array([(dates[near] != date).any() for near, date in zip(neighbours, patches["date"], strict=True)], bool)


def gather(patches: pd.DataFrame, side_km: float) -> np.ndarray:
    """Cluster patches into places, centred where patches are densest, and number them; int64 (N,), from 0.

    The radius of a place is the distance from a block's centre to its corners. Unlike the blocks of a grid, places do
    not split clusters of patches.

    Args:
        patches: columns `lon` and `lat`, in degrees.
        side_km: of a block.
    """
    points = _on_sphere(patches)
    tree, reach = KDTree(points), _chord(side_km / np.sqrt(2))
    neighbours = tree.query_ball_point(points, reach, return_length=True)
    free, middles = np.ones(len(points), bool), []
    for row in np.argsort(-neighbours, kind="stable"):
        if free[row]:
            middles.append(row)
            free[tree.query_ball_point(points[row], reach)] = False
    return KDTree(points[middles]).query(points)[1]


def blocks(patches: pd.DataFrame, side_km: float) -> np.ndarray:
    """The number of the block of an equal-area grid of Europe that each patch lies in; int64 (N,), from 0.

    Args:
        patches: columns `lon` and `lat`, in degrees.
        side_km: of a block.
    """
    metres = np.array(transform("EPSG:4326", EQUAL_AREA, patches["lon"].tolist(), patches["lat"].tolist())).T
    cells = np.floor(metres / (1000 * side_km)).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].ravel()

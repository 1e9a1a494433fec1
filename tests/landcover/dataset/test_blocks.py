import pandas as pd

from landcover.dataset.blocks import blocks


def at(*lon_lat: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(lon_lat, columns=["lon", "lat"], dtype=float)


def test_blocks_by_hand():
    """The grid's origin of coordinates, 52 N 10 E, lies at 4,321 km east and 3,210 km north."""
    assert blocks(at((10, 52)), 50).tolist() == [[86, 64]]
    assert blocks(at((10, 52)), 321).tolist() == [[13, 10]]
    # A degree of latitude is some 111 km, of longitude at 52 N some 68 km.
    assert blocks(at((10, 53), (11, 52), (9.7, 52)), 50).tolist() == [[86, 66], [87, 64], [86, 64]]

import pandas as pd

from landcover.data.blocks import blocks


def at(*lon_lat: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(lon_lat, columns=["lon", "lat"], dtype=float)


def test_blocks_by_hand():
    """The grid's origin of coordinates, 52 N 10 E, lies at 4,321 km east and 3,210 km north."""
    # Blocks of 321 km end there towards the south, blocks of 4,321 km towards the west.
    assert blocks(at((10, 52), (10, 51.999), (10, 52.001)), 321).tolist() == [1, 0, 1]
    assert blocks(at((10, 52), (9.999, 52), (10.001, 52)), 4321).tolist() == [1, 0, 1]
    # A degree of latitude is some 111 km, of longitude at 52 N some 68 km: columns and rows 86 66, 87 64, 86 64, 86 64.
    assert blocks(at((10, 53), (11, 52), (9.7, 52), (10, 52)), 50).tolist() == [1, 2, 0, 0]

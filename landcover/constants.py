"""Facts of the field: the bands and product names of Sentinel-2 and Sentinel-1, the classes of ESA WorldCover."""

from typing import Annotated, Literal

import pydantic

from landcover.schema import Distinct

# The bands of Sentinel-2 and their ground sampling distance in metres.
BANDS = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20,
    "B08": 10, "B8A": 20, "B09": 60, "B10": 60, "B11": 20, "B12": 20,
}  # fmt: skip
CIRRUS = "B10"  # only in Level 1C, since no ground is seen in it
LEVEL_2A_BANDS = {band: metres for band, metres in BANDS.items() if band != CIRRUS}
# Levels of Sentinel-2, and what a number of each is the reflectance of.
SURFACE = "2A"
LEVELS = {"1C": "top of atmosphere", SURFACE: "surface"}
# A selection of bands as a parameter: distinct names from BANDS.
Bands = Annotated[
    list[Literal[tuple(BANDS)]],
    pydantic.Field(min_length=1),
    Distinct,
]
METRES_PER_PIXEL = 10  # of the finest bands; the others are resampled to it
PATCH_SIZE = 120  # side in pixels at 10 m; other datasets may have other sizes
LEAST_SIZE, LARGEST_SIZE = 17, 2048  # of a patch in pixels; texture features compare pixels that are 16 apart
PATCH_METRES = PATCH_SIZE * METRES_PER_PIXEL
REFLECTANCE_SCALE = 10_000  # digital number of a reflectance of 1, without the offset of newer products
MAX_OFFSET = 10_000
NODATA = 0  # in tiles of Sentinel-2 and in tensors; no valid pixel has it
SPLITS = ("train", "val", "test")
# A split by place, where the dataset's entry does not say. Here, since dvc.yaml does not track the schema's code.
GROUPS, BLOCK_KM, BUFFER_KM, EVERY_CLASS = "block", 50, 3, False
LAYOUT = "ben-ge"  # of patches to predict
SAMPLES = ("sample", "sample-spectral")  # the sources that this project generates
RADAR_BANDS = ("VV", "VH")  # polarizations of Sentinel-1: backscatter in dB, on the 10 m grid

# Of ESA WorldCover, in the order of ben-ge's table, which is the order of the labels 0 ... 10.
CLASSES = (
    "tree_cover",
    "shrubland",
    "grassland",
    "cropland",
    "built-up",
    "bare/sparse_vegetation",
    "snow_and_ice",
    "permanent_water_bodies",
    "herbaceous_wetland",
    "mangroves",
    "moss_and_lichen",
)
# ESA WorldCover's own code of each class, as in its maps.
WORLDCOVER_CODES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)

# In the names of Sentinel-2 products, from which patch ids are made.
DATE = r"_(\d{8})T\d+_"  # the day of the acquisition
BASELINE = r"_N(\d{4})_"  # the processing baseline, 0509 for 05.09


def readable(name: str) -> str:
    """A class name for people: 'bare/sparse_vegetation' as 'bare/sparse vegetation'."""
    return name.replace("_", " ")

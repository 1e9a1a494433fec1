"""The ben-ge dataset: its facts, its tables, its patches.

Source: Mommert et al., "Ben-ge: Extending BigEarthNet with Geographical and Environmental Data", IGARSS 2023, and
the README of the HSG-AIML/ben-ge repository.
"""

import re
from pathlib import Path, PurePosixPath

# Sentinel-2 L2A bands and their ground sampling distance in metres.
BANDS = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20,
    "B07": 20, "B08": 10, "B8A": 20, "B09": 60, "B11": 20, "B12": 20,
}  # fmt: skip
PATCH_METRES = 1200
PATCH_SIZE = 120  # pixels a side, at 10 m
REFLECTANCE_SCALE = 10_000  # DN of a reflectance of 1; no offset before processing baseline 04.00
NODATA = 0

# The columns of the WorldCover table, in its order, which is the order of the labels 0 ... 10.
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
# ESA WorldCover's own code of each class, as in the esaworldcover/ maps.
WORLDCOVER_CODES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)

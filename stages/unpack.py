"""Unpack what preprocess reads.  data/archive.tar.gz -> data/patches"""

from pathlib import Path

from landcover import constants, files
from landcover.config import Unpacking
from landcover.data import archive
from landcover.data.bundles import Bundles
from landcover.data.layout import DEFAULT, find_layout
from landcover.errors import InputError
from landcover.modalities import Inputs, image_channels

SUMS = "SHA256SUMS"  # of all files; dvc.yaml has preprocess depend on this one in their stead


def unpack(archive_path: Path, patches_dir: Path, *, inputs: Inputs, bands: constants.Bands, unpack: Unpacking) -> None:
    """Write the tables, the split files and the tiles of the chosen inputs; all other files stay packed."""
    channels, needed = image_channels(inputs, bands), find_layout(DEFAULT).needed
    with files.replacing(patches_dir) as part:
        part.mkdir()
        bounds = unpack.model_dump(include={"max_members", "max_gigabytes"})
        with Bundles(part) as bundles, open(part / SUMS, "x", encoding="utf-8") as sums:
            receivers = {"bundles": bundles if unpack.layout == "bundles" else None, "sums": sums}
            count = archive.extract(archive_path, part, lambda path: needed(path, channels), **bounds, **receivers)
        if not count:
            raise InputError(f"{archive_path}: contains no <name>/<name>_meta.csv; it is not in the ben-ge layout")

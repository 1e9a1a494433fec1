"""Unpack what preprocess reads.  data/archive -> data/patches"""

from pathlib import Path

from landcover import constants, files
from landcover.archives import archive
from landcover.config import Unpacking
from landcover.data.layout import find_layout
from landcover.errors import InputError
from landcover.modalities import Inputs, image_channels

SUMS = "SHA256SUMS"  # of all files; dvc.yaml has preprocess depend on this one in their stead


def unpack(archive_path: Path, patches_dir: Path, *, inputs: Inputs, bands: constants.Bands, unpack: Unpacking) -> None:
    """Write the tables, the split files and the tiles of the chosen inputs; all other files stay packed."""
    channels, needed = image_channels(inputs, bands), find_layout(constants.LAYOUT).needed
    with files.replacing(patches_dir) as part:
        part.mkdir()
        sums = archive.extract(archive_path, part, lambda path: needed(path, channels), **unpack.model_dump())
        if not sums:
            raise InputError(f"{archive_path}: contains no <name>/<name>_meta.csv; it is not in the ben-ge layout")
        lines = (f"{digest}  {path}\n" for path, digest in sums.items())  # as sha256sum writes them
        (part / SUMS).write_text("".join(lines), encoding="utf-8")

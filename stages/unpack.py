"""Unpack what preprocess reads.  data/archive.tar.gz -> data/patches"""

from pathlib import Path

from landcover.dataset import archive
from landcover.dataset.bundles import Bundles
from landcover.ground import benge, files
from landcover.ground.errors import InputError
from landcover.ground.inputs import Inputs, image_channels
from landcover.ground.params import Unpacking


def unpack(archive_path: Path, patches_dir: Path, *, inputs: Inputs, bands: benge.Bands, unpack: Unpacking) -> None:
    """Write the tables, the split files and the tiles of the chosen inputs; all other files stay packed."""
    channels = image_channels(inputs, bands)
    with files.replacing(patches_dir) as part:
        part.mkdir()
        bounds = unpack.model_dump(include={"max_members", "max_gigabytes"})
        with Bundles(part) as bundles:
            chosen = bundles if unpack.layout == "bundles" else None
            count = archive.extract(
                archive_path, part, lambda name: benge.patch_member(name, channels), **bounds, bundles=chosen
            )
        if not count:
            raise InputError(f"{archive_path}: contains no <name>/<name>_meta.csv; it is not in the ben-ge layout")
        benge.find_root(part, archive_path)

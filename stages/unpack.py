"""Unpack what preprocess reads.  data/archive -> data/patches"""

import sys
from pathlib import Path, PurePosixPath

from landcover import constants, files
from landcover.archives import archive
from landcover.config import Dataset, Unpacking
from landcover.data.layout import member_filter
from landcover.errors import InputError
from landcover.modalities import Inputs

OTHER_IMAGES = {".bmp", ".gif", ".jp2", ".webp", ".npy", ".img", ".vrt"}  # which no layout reads
SUMS = "SHA256SUMS"  # of all files; dvc.yaml has preprocess depend on this one in their stead


def unpack(
    archive_path: Path,
    patches_dir: Path,
    *,
    dataset: str,
    datasets: dict[str, Dataset],
    inputs: Inputs,
    bands: constants.Bands,
    unpack: Unpacking,
) -> None:
    """Write the tables, the split files and the tiles of the chosen inputs; all other files stay packed.

    If the entry states no layout, what any layout needs is written.
    """
    entry = datasets[dataset]
    is_read, passed_over = member_filter(entry, inputs, bands), []

    def needed(path: PurePosixPath) -> bool:
        if path.suffix.lower() in OTHER_IMAGES and not path.name.startswith("."):
            passed_over.append(str(path))
        return is_read(path)

    with files.replacing(patches_dir) as part:
        part.mkdir()
        sums = archive.extract(archive_path, part, needed, **unpack.model_dump())
        if not sums:
            what = "<name>/<name>_meta.csv" if entry.layout == constants.LAYOUT else "image (.tif, .jpg or .png)"
            other = f", but {len(passed_over)} files such as {passed_over[0]}" if passed_over else ""
            raise InputError(f"{archive_path}: contains no {what}{other}; check the source and the layout of the entry")
        if passed_over and entry.layout != constants.LAYOUT:
            print(
                f"warning: {dataset}: {len(passed_over)} images, for example {passed_over[0]}, are of a kind that is "
                "not read; convert them to GeoTIFF, JPEG or PNG",
                file=sys.stderr,
            )
        lines = (f"{digest}  {path}\n" for path, digest in sums.items())  # as sha256sum writes them
        (part / SUMS).write_text("".join(lines), encoding="utf-8")

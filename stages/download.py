"""Fetch the dataset's archive.  source -> data/archive.tar.gz"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from landcover import files
from landcover.archives import archive
from landcover.archives.lock import locked_archive
from landcover.archives.source import copy_from_cache, fetch, verify, watched
from landcover.config import Dataset
from landcover.constants import SAMPLES
from landcover.errors import InputError

# The files of an unpacked dataset that preprocess may need, and the folders that contain them.
WANTED = ("*.csv", "splits/*.csv", "sentinel-2/*/*.tif", "sentinel-1/*/*.tif", "dem/*.tif")
FOLDERS = ("splits", "sentinel-2", "sentinel-2/*", "sentinel-1", "sentinel-1/*", "dem")


def _members(directory: Path) -> Iterator[tuple[str, bytes]]:
    """The files of an unpacked dataset that preprocess may need, as (name, content), in a fixed order."""
    paths = sorted(path for pattern in WANTED for path in directory.glob(pattern) if not path.name.startswith("."))
    links = [path for pattern in FOLDERS for path in directory.glob(pattern)] + paths
    for link in filter(Path.is_symlink, links):
        raise InputError(f"{link}: is a symbolic link, not followed; replace it with the files themselves")
    tables = [path.name for path in paths if path.name.endswith("_meta.csv") and path.parent == directory]
    if len(tables) != 1 or not any(path.suffix == ".tif" for path in paths):
        problem = f"needs one <name>_meta.csv and sentinel-2/<patch_id>/*.tif, has {', '.join(tables) or 'no table'}"
        raise InputError(f"{directory}: {problem}; give the folder that contains them")
    root = tables[0].removesuffix("_meta.csv")  # from the table's name, whatever the folder is called now
    for path in tqdm(paths, desc="pack", unit="file", disable=None):
        yield f"{root}/{path.relative_to(directory).as_posix()}", path.read_bytes()


def download(archive_path: Path, *, dataset: str, datasets: dict[str, Dataset]) -> None:
    """Write the chosen dataset's archive: a sample, or from a URL, a .tar.gz or an unpacked folder."""
    entry = datasets[dataset]
    source = entry.source
    path = Path(source).expanduser()
    if source in SAMPLES:
        from landcover.synthetic.writer import write_sample  # here: no other source needs the numerical libraries

        with files.replacing(archive_path) as part:
            write_sample(part, source)
            if entry.md5:
                verify(part, source, md5=entry.md5)
        return
    if re.match("https?://", source, re.IGNORECASE):
        locked = locked_archive()
        md5 = entry.md5 or (locked.md5 if locked and locked.source == source else None)
        if not (md5 and copy_from_cache(md5, archive_path)):
            fetch(source, archive_path, entry.md5)
    else:
        with files.replacing(archive_path) as part:
            if path.is_dir():
                archive.write(part, _members(path))
            elif path.is_file():
                with watched(path, "copy") as packed, open(part, "wb") as file:  # no link: DVC may protect its outputs
                    shutil.copyfileobj(packed, file)
            else:
                choice = f"{', '.join(map(repr, SAMPLES))}, an http(s) URL, a .tar.gz or an existing folder"
                raise InputError(f"datasets.{dataset}.source = {source!r}: no such file; give {choice}")
            if entry.md5 or path.is_file():
                verify(part, source, md5=entry.md5)

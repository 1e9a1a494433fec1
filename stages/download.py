"""Fetch the dataset's archive.  source -> data/archive"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from landcover import files
from landcover.archives import archive
from landcover.archives.lock import locked_archive
from landcover.archives.source import copy_from_cache, fetch, verify
from landcover.config import Dataset, is_url
from landcover.errors import InputError

ROOT = "dataset"  # the folder in the archive, where no table names it


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """The files of an unpacked dataset as (name, content), in a fixed order, whatever the folder is called now."""
    tables = sorted(path.name for path in directory.glob("[!.]*_meta.csv"))
    if len(tables) > 1:
        raise InputError(f"{directory}: needs one <name>_meta.csv, has {', '.join(tables)}; keep one")
    root = tables[0].removesuffix("_meta.csv") if tables else ROOT
    paths = [path for path in sorted(directory.rglob("*")) if not path.name.startswith(".")]
    if not any(path.is_file() for path in paths):
        raise InputError(f"{directory}: has no files; correct source")
    for path in tqdm(paths, desc="pack", unit="file", disable=None):
        if path.is_symlink():
            raise InputError(f"{path}: is a symbolic link, not followed; replace it with the files themselves")
        if path.is_file():
            yield f"{root}/{path.relative_to(directory).as_posix()}", path.read_bytes()


def _fetch(url: str, path: Path, md5: str | None) -> None:
    locked = locked_archive()
    known = md5 or (locked.md5 if locked and locked.source == url else None)
    if known and copy_from_cache(known, path):
        print(f"{url}: taken from DVC's cache, where its md5 is {known}")
    else:
        fetch(url, path, md5)


def download(archive_path: Path, *, dataset: str, datasets: dict[str, Dataset]) -> None:
    """Write the chosen dataset's archive: a sample, or from a URL, a local archive or an unpacked folder."""
    entry = datasets[dataset]
    path = Path(entry.source).expanduser()
    with files.replacing(archive_path) as part:
        if is_url(entry.source):
            _fetch(entry.source, part, entry.md5)  # which verifies it
            return
        if entry.synthetic:
            from landcover.synthetic.writer import write_sample  # here: no other source needs the numerical libraries

            write_sample(part, entry.source)
        elif path.is_dir():
            archive.write(part, _files(path))
        elif path.is_file():
            shutil.copyfile(path, part)  # no link: DVC may protect its outputs
        else:
            choice = "sample, an http(s) URL, a .tar.gz, .tar or .zip, or an existing folder"
            raise InputError(f"datasets.{dataset}.source = {entry.source!r}: no such file; give {choice}")
        if entry.md5 or path.is_file():
            verify(part, entry.source, entry.md5)

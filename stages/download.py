"""Fetch the dataset's archive.  source -> data/archive.tar.gz"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from tqdm import tqdm

from landcover import files
from landcover.config import PARAMS, SAMPLES, Dataset
from landcover.data import archive
from landcover.data.source import fetch, md5_of, verify, watched
from landcover.errors import InputError

LOCK = Path("dvc.lock")

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


def _tell_change(archive_path: Path, dataset: str, source: str) -> None:
    """Report an archive that differs from the one in dvc.lock for the same dataset; DVC would record it silently."""
    try:
        locked = yaml.safe_load(LOCK.read_bytes())["stages"]
        params = locked["choose"]["params"][PARAMS.name]
        (chosen,) = locked["choose"]["outs"]
        if (params["dataset"], params["datasets"][dataset]["source"]) != (dataset, source):
            return  # this run was not started by DVC, which chooses first
        if chosen not in locked["download"]["deps"]:
            return  # the last download was of another dataset
        (before,) = (out["md5"] for out in locked["download"]["outs"] if Path(out["path"]) == archive_path)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return  # no download is on record
    if (now := md5_of(archive_path)) != before:
        advice = f"the stages that depend on it run again; to refuse changes, set md5 in {PARAMS}"
        print(
            f"{source}: has changed since {LOCK} was written: its md5 is {now}, was {before}; {advice}", file=sys.stderr
        )


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
    _tell_change(archive_path, dataset, source)

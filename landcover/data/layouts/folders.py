"""The layout of EuroSAT and many others: a folder of images for each class.

    <root>/<class>/<name>.tif, .tiff, .jpg, .jpeg or .png

A patch's id is <class>/<name>. The root may lie in other folders, as in most archives.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from landcover.config import Dataset
from landcover.data import images
from landcover.data.layout import Patches
from landcover.errors import InputError, few

BAND_FILE = re.compile(r"_B(\d\d|8A)")  # the end of a file's name, after that of its folder


def needed(path: PurePosixPath, channels: Collection[str]) -> bool:
    """Whether the pipeline reads this member of an archive: an image."""
    return images.is_image(path)


def _images(folder: Path) -> list[PurePosixPath]:
    return [path for path in images.list_files(folder) if images.is_image(path)]


def matches(folder: Path) -> bool:
    """Whether a folder contains folders of images."""
    return any(len(path.parts) > 1 for path in _images(folder))


def _find_root(folder: Path, files: Sequence[PurePosixPath]) -> PurePosixPath:
    """The folder that contains those of the classes, relative to `folder`.

    Raises:
        InputError: there is none, or several.
    """
    roots = Counter(path.parent.parent for path in files if len(path.parts) > 1)
    stray = [str(path) for path in files if len(path.parts) == 1]
    if not roots or stray:
        what = f"{len(stray)} images, for example {stray[0]}, lie in no folder" if stray else "has no folder of images"
        raise InputError(f"{folder}: {what}; put each image into the folder of its class: <class>/<name>.tif")
    if len(roots) > 1:
        example = {path.parent.parent: path for path in reversed(files)}
        places = [f"{root} ({count} images, such as {example[root]})" for root, count in sorted(roots.items())]
        raise InputError(
            f"{folder}: has folders of classes in {len(roots)} places: {few(places)}; put them into one folder, or "
            "list path, class and split of each image in a table (layout: table)"
        )
    return next(iter(roots))


def _check_kind(folder: Path, files: Sequence[PurePosixPath], entry: Dataset) -> None:
    """Refuse folders that are no classes.

    Raises:
        InputError: each holds the bands of a patch, or there is only one, beside a table.
    """
    names = {path.parent.name for path in files}
    single = [path for path in files if BAND_FILE.fullmatch(path.stem.removeprefix(path.parent.name))]
    if len(single) > len(files) / 2:
        raise InputError(
            f"{folder}: {len(names)} folders hold a band of a patch in each file, for example {single[0]}; add a table "
            "with path (the patch's folder) and class, or with a column for each class with its share (layout: table)"
        )
    if len(names) == 1 and not entry.layout:
        tables = [path for path in images.list_files(folder) if path.suffix.lower() in (".csv", ".parquet")]
        remedy = "put each into the folder of its class, or add a table (CSV or Parquet) of path and class"
        if tables:
            remedy = f"and {tables[0]} is no table of them: give it a column path, and save it in UTF-8"
        raise InputError(f"{folder}: all images are in one folder, {names.pop()}; {remedy}")


def read_patches(folder: Path, channels: Sequence[str], features: Sequence[str], entry: Dataset) -> Patches:
    """The images below a folder; see `Layout.read_patches`."""
    folder = folder.resolve()
    images.check_inputs(channels, features)
    below = _find_root(folder, files := _images(folder))
    root = folder / below
    files = [path.relative_to(below) for path in files]
    what, warnings = f"the folders in {root}", []
    _check_kind(folder, files, entry)
    classes = images.choose_classes((path.parent.name for path in files), entry, what)
    if unlisted := sorted({path.parent.name for path in files}.difference(classes)):
        files = [path for path in files if path.parent.name in classes]
        warnings.append(f"{len(unlisted)} of {what} are no classes of the entry and are left out: {few(unlisted)}")
    patch_ids = [path.with_suffix("").as_posix() for path in files]
    if twice := [name for name, count in Counter(patch_ids).items() if count > 1]:
        raise InputError(f"{root}: {len(twice)} names occur with several endings, for example {twice[0]}; keep one")
    if entry.split.method == "files":
        raise InputError(
            f"split by files: {root.name} has no lists; use a table with a column split, or another method"
        )
    names = [path.as_posix() for path in files]
    header, first = images.typical_header(root, names), names[0]
    stored = images.channels_of(header, channels, entry, first)
    table = images.new_table(patch_ids, names, stored)
    positions = {name: label for label, name in enumerate(classes)}
    table = table.assign(label=[positions[path.parent.name] for path in files], majority_fraction=1.0, tied=False)
    size = images.patch_size(header, entry, first)
    warnings += images.rare(table, classes, entry)
    return Patches(
        root.name, root, stored, [], table, classes, size, images.metres_per_pixel(header), entry.level, warnings
    )

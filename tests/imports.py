"""Who imports whom in the project, read from its files."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tiny import REPOSITORY

PACKAGES = ("landcover", "stages")


def modules(*folders: str) -> dict[str, Path]:
    """The project's modules below some folders, by their dotted names."""
    paths = sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))
    names = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


OURS = modules(*PACKAGES)


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """What a module imports, wherever in it: (module, name) of `from module import name`, else (module, None)."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield from ((module, alias.name) for alias in names)
            case ast.Import(names=names):
                yield from ((alias.name, None) for alias in names)


def our_imports(path: Path) -> set[str]:
    """Those of the project's own modules."""
    found = set()
    for module, name in imports(path):
        if own := [candidate for candidate in (f"{module}.{name}", module) if candidate in OURS]:
            found.add(own[0])
        else:
            assert module.partition(".")[0] not in PACKAGES, f"{path}: no module {module}"
    return found

"""The house keeps its plan: who imports whom, what dvc.yaml tracks, and that a library at rest stays at rest."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tiny import REPOSITORY

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
# What each room may import, beside itself and the modules at the top of landcover/, which import no room.
BELOW = {
    "data": set(),
    "synthetic": {"data"},
    "models": {"data", "training"},
    "training": {"data", "models"},
    "evaluation": {"data"},
    "mapping": {"data", "models", "training"},
    "report": {"data", "evaluation"},
    "commands": {"data", "synthetic", "models", "training", "evaluation", "mapping", "report"},
    "stages": {"data", "synthetic", "models", "training", "evaluation", "report"},
    "landcover": set(),
}
PACKAGES = {"landcover", "stages"}
OPTIONAL = {"distributed", "onnx_ir", "onnxruntime"}  # imported only where they are used


def modules(*folders: str) -> dict[str, Path]:
    """The project's modules below some folders, by their dotted names."""
    paths = sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))
    names = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


OURS = modules(*sorted(PACKAGES))


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
        for candidate in (f"{module}.{name}", module):
            if candidate in OURS:
                found.add(candidate)
                break
        else:
            assert module.partition(".")[0] not in PACKAGES, f"{path}: no module {module}"
    return found


def room(module: str) -> str:
    """The room of a module: stages, a folder of landcover/, or landcover for the modules at its top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in BELOW else parts[0]


def edges() -> set[tuple[str, str]]:
    """Which room imports which other."""
    return {
        (room(module), room(imported))
        for module, path in OURS.items()
        for imported in our_imports(path)
        if room(module) != room(imported) and room(imported) != "landcover"
    }


def test_rooms_import_downwards_only():
    upwards = {(above, below) for above, below in edges() if below not in BELOW[above]}
    assert upwards == set()


def test_no_module_imports_a_stage_or_a_command():
    for name, path in OURS.items():
        verbs = {module for module in our_imports(path) if room(module) in ("stages", "commands")}
        assert not verbs, name


def test_contributing_draws_the_house_as_the_imports_make_it():
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    drawn = page.partition("<!-- house -->\n")[2].partition("<!-- /house -->")[0]
    lines = "\n".join(f"    {above} --> {below}" for above, below in sorted(edges()))
    assert drawn.strip() == f"```mermaid\ngraph TD\n{lines}\n```"


def test_packages_hold_nothing_but_a_docstring():
    """So that no stage depends on them."""
    for name, path in OURS.items():
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, name
            assert ast.get_docstring(ast.parse(path.read_text())), name


def reached(module: str, seen: set[str]) -> set[str]:
    """The project's modules that importing `module` reads, itself among them."""
    if module not in seen:
        seen.add(module)
        for imported in our_imports(OURS[module]):
            reached(imported, seen)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_lies_in_its_dependencies(stage):
    needed = reached("stages.__main__", set()) | reached(f"stages.{stage}", set())
    files = {str(OURS[name].relative_to(REPOSITORY)) for name in needed if OURS[name].name != "__init__.py"}
    code = [dep for dep in STAGES[stage]["deps"] if dep.partition("/")[0] in PACKAGES]
    for dep in code:
        covered = {file for file in files if file == dep or file.startswith(f"{dep}/")}
        assert covered, f"{stage} depends on {dep}, but imports nothing of it"
        files -= covered
    assert files == set()


def test_dvc_yaml_names_rooms_and_can_be_read():
    assert len((REPOSITORY / "dvc.yaml").read_text().splitlines()) <= 180
    for facts in STAGES.values():
        for dep in facts["deps"]:
            assert dep.count("/") == 1 or dep.startswith("data/"), f"{dep} is in a room: depend on the room"


def test_a_stage_is_a_page():
    for name, path in modules("stages").items():
        assert len(path.read_text().splitlines()) <= 120, name


# -- nothing happens at an import

PROBE = """
import gc, importlib, os, signal, sys, threading, warnings

def state():
    numpy, torch = (sys.modules[name] for name in ("numpy", "torch"))
    return {
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "garbage collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "warnings": list(warnings.filters),
        "threads": threading.active_count(),
        "hooks": (sys.excepthook, sys.stdout, sys.stderr, tuple(sys.path)),
        "numpy": numpy.geterr(),
        "torch": (
            torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory,
            torch.backends.cudnn.benchmark, torch.initial_seed(),
        ),
    }

libraries, ours = (names.split(",") for names in sys.argv[1:])
for name in libraries:
    importlib.import_module(name)
for name in ours:
    before = state()
    importlib.import_module(name)
    after = state()
    changed = [key for key in before if before[key] != after[key]]
    assert not changed, f"to import {name} changes {', '.join(changed)}"
    print(name)
"""


def test_importing_a_module_changes_nothing():
    """Libraries are imported first: what they do is theirs."""
    ours = [name for name in OURS if not name.endswith("__main__")]
    libraries = {module for name in ours for module, _ in imports(OURS[name])}
    libraries = {name for name in libraries if name.partition(".")[0] not in {*PACKAGES, *OPTIONAL}}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(sorted(libraries | {"torch", "numpy"})), ",".join(ours)],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ours


# -- no private names


def private(tree: ast.AST) -> Iterator[str]:
    """Names that begin with an underscore, of modules that are not the project's own."""
    roots = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            roots |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for name in roots.values():
        if any(part.startswith("_") and not part.startswith("__") for part in name.split(".")):
            yield name
    for node in ast.walk(tree):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and any(p.startswith("_") and not p.startswith("__") for p in parts):
            root = roots.get(node.id)
            if root and root.partition(".")[0] not in PACKAGES:  # a NamedTuple of our own has _fields
                yield ".".join([root, *reversed(parts)])


def test_no_private_name_of_another_module_is_used():
    everywhere = modules("landcover", "stages", "benchmarks")
    found = {f"{name}: {used}" for name, path in everywhere.items() for used in private(ast.parse(path.read_text()))}
    assert found == set()


def test_a_private_name_would_be_found():
    code = "import torch\nfrom numpy import _core\nimport os\ntorch._fused_adam_()\nx = torch.nn._reduction\nos.path"
    assert set(private(ast.parse(code))) == {"numpy._core", "torch._fused_adam_", "torch.nn._reduction"}


def test_every_file_of_the_library_is_installed_with_it():
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {
        path
        for room, globs in declared.items()
        for glob in globs
        for path in (REPOSITORY / room.replace(".", "/")).glob(glob)
    }
    others = {
        path for path in (REPOSITORY / "landcover").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert others == installed


def test_a_clone_has_the_same_bytes_whatever_git_thinks_of_line_ends(tmp_path):
    (tmp_path / ".gitattributes").write_bytes((REPOSITORY / ".gitattributes").read_bytes())
    files = {"dvc.yaml": b"a\nb\n", "data/lists/theirs.csv": b"a\r\nb\r\n", "picture.png": b"\x89PNG\r\n\x00\n"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    git = ["git", "-c", "core.autocrlf=true", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["rm", "-q", "-r", "--cached", "."]):
        subprocess.run([*git, *arguments], cwd=tmp_path, check=True)
    for name in files:
        (tmp_path / name).unlink()
    subprocess.run([*git, "checkout", "-q", "HEAD", "."], cwd=tmp_path, check=True)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files

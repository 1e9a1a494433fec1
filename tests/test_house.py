"""The house keeps its plan: imports go down only, and a library at rest stays at rest."""

import ast
import subprocess
import sys
import tomllib

from imports import OURS, PACKAGES, imports, our_imports
from tiny import REPOSITORY

# From the top to the ground: a room imports rooms of lower floors only, and the modules in landcover/ import no room.
FLOORS = (
    "stages commands", "assessment", "report mapping", "evaluation training", "models", "synthetic", "archives", "data",
)  # fmt: skip
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor.split()} | {"landcover": len(FLOORS)}
SCHEMA = "landcover.config"  # knows the parameters of each family of models
OPTIONAL = {"distributed", "onnx_ir", "onnxruntime"}  # imported only where they are used


def room(module: str) -> str:
    """The room of a module: stages, a folder of landcover/, or landcover for the modules at its top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else parts[0]


def test_every_room_has_a_floor():
    assert {path.parent.name for path in REPOSITORY.glob("landcover/*/__init__.py")} | {"stages", "landcover"} == {
        *FLOOR
    }


def test_imports_go_down_only():
    upwards = {
        f"{module} imports {imported}"
        for module, path in OURS.items()
        for imported in our_imports(path)
        if room(module) != room(imported) and FLOOR[room(module)] >= FLOOR[room(imported)] and module != SCHEMA
    }
    assert upwards == set()


def test_models_and_evaluation_do_not_know_each_other():
    known = {(room(module), room(imported)) for module, path in OURS.items() for imported in our_imports(path)}
    assert ("evaluation", "models") not in known


def test_no_module_imports_a_stage_or_a_command():
    for name, path in OURS.items():
        verbs = {module for module in our_imports(path) if room(module) in ("stages", "commands")}
        assert not verbs, name


def test_packages_hold_nothing_but_a_docstring():
    """So that no stage depends on them."""
    for name, path in OURS.items():
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text())
            assert len(tree.body) == 1, name
            assert ast.get_docstring(tree), name


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

"""How a command begins, free of other programs' variables, and how it ends.

Bad input ends it with one line and exit code 1, an interrupt with 130, a bug with its traceback. For the entry points,
`stages/__main__.py` and `landcover/__main__.py`.
"""

from __future__ import annotations  # so that an older Python, outside of the environment, can say so

import gc
import importlib.util
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from landcover import terminal
from landcover.errors import InputError

INTERRUPTED = 130
# Git sets variables for hooks and aliases, such as GIT_DIR, which would lead the git that we or DVC start to another
# repository or index than this folder's. Who commits, and how Git is configured, stays the user's.
OF_GIT = re.compile(r"GIT_(?!(AUTHOR|COMMITTER)_(NAME|EMAIL)$|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_|VALUE_))")
# An active conda environment, PostGIS or QGIS leads to data or plugins of another version of the libraries with these.
OF_GDAL = ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB")
RARELY = 100_000  # objects made before the garbage collector looks for garbage; Python's default is 700 or 2,000


def clear_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove the variables that lead Git, GDAL, PROJ or Python elsewhere, and name the user; for child processes, too.

    Effective for GDAL and PROJ only before rasterio is imported.
    """
    for name in filter(OF_GIT.match, list(environment)):
        del environment[name]
    environment.setdefault("LOGNAME", str(os.getuid()))  # in a container, the id may have no name, which DVC asks for
    environment.pop("PYTHONSAFEPATH", None)  # `python -m` would not find our packages in this folder
    rasterio = importlib.util.find_spec("rasterio")
    if rasterio and Path(rasterio.origin).with_name("proj_data").is_dir():  # its wheels have data of their own
        for name in OF_GDAL:
            environment.pop(name, None)
    bundle = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")  # as requests reads them
    if bundle:  # GDAL has names of its own
        environment.setdefault("GDAL_HTTP_CAPATH" if os.path.isdir(bundle) else "GDAL_CURL_CA_BUNDLE", bundle)


@contextmanager
def imports() -> Iterator[None]:
    """Import in this context with the garbage collector paused, and let it run rarely afterwards.

    Imports make a million objects and no garbage; collecting would take a fifth of the time of an experiment.

    Raises:
        InputError: a library is not installed.
    """
    gc.disable()
    with terminal.showing("importing libraries"):
        try:
            yield
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] in ("landcover", "stages"):
                raise
            raise InputError(
                f"{sys.executable} has no {error.name}; activate the environment of `make repro` with `source "
                ".venv/bin/activate`, or pip install -r requirements.txt"
            ) from None
    gc.freeze()
    gc.set_threshold(RARELY)  # some libraries import more modules at their first use
    gc.enable()


def guard(action: Callable[[], None]) -> None:
    """Call `action`: bad input ends with one line and exit code 1, an interrupt with 130; a bug shows its traceback."""
    try:
        action()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        # For example, a full disk or a folder without permission: the system's message, and the path.
        if error.filename is None and error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {where}{os.strerror(error.errno) if error.errno else error}: fix this, then run again")
    except (MemoryError, RuntimeError) as error:
        # torch has a separate error for GPUs only, which is a RuntimeError too.
        if not isinstance(error, MemoryError) and not re.search("out of memory|can't allocate memory", str(error)):
            raise
        sys.exit(
            "error: out of memory: lower train.batch_size, train.eval_batch_size, the model's widths, or "
            "runtime.resident_gigabytes; then run again"
        )
    except KeyboardInterrupt as interrupt:
        if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes speaks for all
            kept = interrupt.args[0] if interrupt.args else "finished work is kept"
            print(f"interrupted: run the same command again; {kept}", file=sys.stderr)
        # DVC takes the outputs of a stage that exits with 0 as complete, so an interrupted one must not.
        sys.exit(INTERRUPTED)


def run(command: Callable[[], None]) -> None:
    """Run a whole command, its imports included; SIGTERM interrupts it as Ctrl-C does."""
    if sys.platform == "win32":
        sys.exit("error: Windows lacks features of Linux and macOS that the pipeline needs: run it in WSL")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    clear_environment()
    try:
        guard(command)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)  # at once: the libraries would wait for a thread that reads from a host
        raise

"""How a stage meets the shell: its paths and parameters come in, an exit code goes out.

A stage is a function whose positional parameters are the paths that dvc.yaml passes, in order, and whose
keyword-only parameters are sections of params.yaml, as `params.SECTIONS` types them:

    def train(tensors_dir: Path, model_path: Path, *, train: Training, runtime: Runtime) -> None: ...

    if __name__ == "__main__":
        cli.run(train)
"""

import fcntl
import inspect
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages import params
from stages.errors import InputError


def arguments(stage: Callable, raw: dict[str, Any]) -> dict[str, Any]:
    """The keyword-only arguments of `stage`, from the sections of params.yaml, all of which are checked.

    Raises:
        InputError: a section is missing or a value in it is wrong.
    """
    found = params.check(raw)
    names = inspect.signature(stage).parameters.values()
    return {parameter.name: found[parameter.name] for parameter in names if parameter.kind is parameter.KEYWORD_ONLY}


def guard(action: Callable[[], None]) -> None:
    """Run `action` and exit: bad input ends in one line and 1, Ctrl-C in 130; a bug shows its traceback."""
    try:
        # SIGTERM as Ctrl-C, so that what a stage cleans up on its way out is cleaned up then too.
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, signal.default_int_handler)
        action()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        # A full disk, a folder without permission: the system's own words, and the path.
        if error.filename is None and error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {where}{os.strerror(error.errno) if error.errno else error}: free or fix it, then run again")
    except (MemoryError, RuntimeError) as error:
        # torch has an error of its own for GPUs alone, which is a RuntimeError too.
        if not isinstance(error, MemoryError) and not re.search("out of memory|can't allocate memory", str(error)):
            raise
        sys.exit(
            "error: out of memory: lower train.batch_size, train.eval_batch_size or the model's widths, or hold less "
            "in memory by runtime.resident_gigabytes; then run again"
        )
    except KeyboardInterrupt:
        # DVC records the outputs of a stage that exits 0 as whole, so an interrupted one must not.
        sys.exit(130)


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other stage runs in this folder: one whose dvc was killed goes on without it, and writes."""
    if os.environ.get("RANK", "0") != "0":
        yield  # torchrun's processes run a stage together
        return
    # The lock is on the folder itself, so that no file is left of it, and ends with the process, however that ends.
    folder = os.open(os.curdir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another stage in this folder to end; pgrep -fa stages finds it", file=sys.stderr)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def run(stage: Callable) -> None:
    """Call `stage` with the paths of the command line and the parameters of params.yaml."""
    parameters = inspect.signature(stage).parameters.values()
    paths = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    given = sys.argv[1:]
    module = Path(sys.argv[0]).stem
    usage = f"usage: python -m stages.{module} {' '.join(name.upper() for name in paths)}"
    if {"-h", "--help"} & set(given):
        print(f"{inspect.getdoc(stage)}\n\n{usage}\n\nDVC calls it: see dvc.yaml. Parameters: {params.PARAMS}.")
        sys.exit(0)
    if len(given) != len(paths):
        sys.exit(f"error: {module} takes {len(paths)} paths, not {len(given)}: {usage}")

    def action() -> None:
        with alone():
            stage(*map(Path, given), **arguments(stage, params.load()))

    code = 0
    try:
        guard(action)
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    # At once: Python would first take torch apart piece by piece, half a second long, and an interrupt that meets it
    # there can have it wait for good for helper processes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

"""How a command meets the shell: bad input ends in one line, an interrupt in 130, and one stage runs at a time.

The front doors, `stages/__main__.py` and `tools/__main__.py`, call this; nothing happens at its import.
"""

import gc
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from landcover.ground.errors import InputError

try:
    import fcntl
except ImportError:
    sys.exit("error: this is Windows, which lacks what the pipeline needs of Linux or macOS: run it in WSL")

INTERRUPTED = 130
RARELY = 100_000  # objects made before the garbage collector looks for garbage; Python's default is 700


def _on_interrupt(handler: Callable) -> None:
    """Have `handler` meet Ctrl-C, and SIGTERM like it, unless they are ignored, as under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def work() -> Iterator[None]:
    """What a command does once all is imported: from here on, an interrupt raises KeyboardInterrupt, to clean up."""
    _on_interrupt(signal.default_int_handler)
    gc.freeze()
    gc.set_threshold(RARELY)  # some libraries import more of themselves when they are first used
    gc.enable()
    yield


def guard(action: Callable[[], None]) -> None:
    """Call `action`: bad input ends in one line and exit code 1, an interrupt in 130; a bug shows its traceback."""
    try:
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
    except KeyboardInterrupt as stop:
        if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes tells for all
            told = str(stop) or "what is finished is kept"
            print(f"interrupted: run the same command again; {told}", file=sys.stderr)
        # DVC records the outputs of a stage that exits 0 as whole, so an interrupted one must not.
        sys.exit(INTERRUPTED)


@contextmanager
def alone(folder: str | Path = os.curdir, what: str = "stage") -> Iterator[int]:
    """Wait until no other stage runs in this folder: one whose dvc was killed goes on without it, and writes.

    Yields:
        The file descriptor of the lock; a process that inherits it holds the lock, too.
    """
    # The lock is on the folder itself, so that no file is left of it, and ends with the process, however that ends.
    lock = os.open(folder, os.O_RDONLY)
    try:
        if os.environ.get("RANK", "0") == "0":  # torchrun's processes run a stage together
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another {what} in this folder to end; pgrep -fa {what} finds it", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def run(command: Callable[[], None]) -> NoReturn:
    """Run a whole command, its imports included, and end the process with its exit code.

    Until `command` enters `work`, an interrupt ends the process at once: there is nothing to clean up, and libraries
    that are being imported turn KeyboardInterrupt into errors of their own.
    """
    _on_interrupt(lambda *_: os._exit(INTERRUPTED))
    gc.disable()  # imports make a million objects and no garbage; to look for it takes a fifth of their time
    code = 0
    try:
        guard(command)
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    # At once: Python would first take torch apart piece by piece, half a second long, and an interrupt that meets it
    # there can have it wait for good for helper processes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

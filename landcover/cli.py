"""How a command runs: one stage at a time in a folder; bad input ends with one line, an interrupt with exit code 130.

For the entry points, `stages/__main__.py` and `landcover/__main__.py`.
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

from landcover.errors import InputError

try:
    import fcntl
except ImportError:
    sys.exit("error: Windows lacks features of Linux and macOS that the pipeline needs: run it in WSL")

INTERRUPTED = 130
RARELY = 100_000  # objects made before the garbage collector looks for garbage; Python's default is 700 or 2,000


def _on_interrupt(handler: Callable) -> None:
    """Have `handler` handle Ctrl-C and SIGTERM, unless they are ignored, as under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _on_unraisable(failed: "sys.UnraisableHookArgs") -> None:
    """Raise an interrupt again that Python had to drop, as in a callback of an import or of the garbage collector."""
    if isinstance(failed.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.01)  # later, since it would be dropped here, too
    else:
        sys.__unraisablehook__(failed)


@contextmanager
def work() -> Iterator[None]:
    """The work of a command after its imports: from here on, an interrupt raises KeyboardInterrupt, for cleanup."""
    _on_interrupt(signal.default_int_handler)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = _on_unraisable
    gc.freeze()
    gc.set_threshold(RARELY)  # some libraries import more modules at their first use
    gc.enable()
    yield


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interrupt caused the error, directly or not."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def guard(action: Callable[[], None]) -> None:
    """Call `action`: bad input ends with one line and exit code 1, an interrupt with 130; a bug shows its traceback."""
    try:
        try:
            action()
        except ImportError as error:
            if _interrupted(error):  # some compiled modules report an interrupt of their import in this way
                raise KeyboardInterrupt from None
            raise
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
    except KeyboardInterrupt as stop:
        if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes speaks for all
            told = str(stop) or "finished work is kept"
            print(f"interrupted: run the same command again; {told}", file=sys.stderr)
        # DVC takes the outputs of a stage that exits with 0 as complete, so an interrupted one must not.
        sys.exit(INTERRUPTED)


@contextmanager
def alone(folder: str | Path = os.curdir, what: str = "stage") -> Iterator[int]:
    """Wait until no other stage runs in this folder: a stage whose dvc was killed continues and still writes.

    Yields:
        The file descriptor of the lock; a process that inherits it holds the lock, too.
    """
    # The lock is on the folder itself, so that it leaves no file, and it ends with the process, however that ends.
    lock = os.open(folder, os.O_RDONLY)
    try:
        if os.environ.get("RANK", "0") == "0":  # torchrun's processes run a stage together
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(
                    f"waiting for another {what} in this folder to end; find it with pgrep -fa {what}", file=sys.stderr
                )
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
    gc.disable()  # imports make a million objects and no garbage, and collecting would take a fifth of their time
    code = 0
    try:
        guard(command)
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    # At once: Python would first spend half a second on tearing down torch, and an interrupt during that time can make
    # it wait forever for helper processes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

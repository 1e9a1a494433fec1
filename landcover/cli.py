"""How a command ends: bad input with one line and exit code 1, an interrupt with 130, a bug with its traceback.

For the entry points, `stages/__main__.py` and `landcover/__main__.py`.
"""

import gc
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from landcover import terminal
from landcover.errors import InputError

INTERRUPTED = 130
RARELY = 100_000  # objects made before the garbage collector looks for garbage; Python's default is 700 or 2,000


@contextmanager
def imports() -> Iterator[None]:
    """Import in this context with the garbage collector paused, and let it run rarely afterwards.

    Imports make a million objects and no garbage; collecting would take a fifth of the time of an experiment.
    """
    gc.disable()
    with terminal.showing("importing libraries"):
        yield
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
    guard(command)

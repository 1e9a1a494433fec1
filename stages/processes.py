"""Helper processes of a stage."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from stages.errors import InputError

INTERRUPTS = {signal.SIGINT, signal.SIGTERM}


def live_with(parent: int) -> None:
    """Have this process end when its parent does, however that ends, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start(parent: int, module: str | None) -> None:
    live_with(parent)
    if module:
        os.nice(5)  # others wait for the stage, which imports too, not for its helpers
        import_module(module)


@contextmanager
def helpers(count: int, module: str | None = None, remedy: str = "free some") -> Iterator[Executor]:
    """Processes that work for this one; if a module is named, they import it at once.

    Raises:
        InputError: one of them was killed; names the remedy.
    """
    pool = ProcessPoolExecutor(count, initializer=_start, initargs=(os.getpid(), module))
    # An interrupt while they are started would leave some that nobody knows of. They themselves inherit the mask, until
    # they leave Ctrl-C to their parent.
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    wait = True
    try:
        try:
            pool.submit(os.getpid)  # the first job starts them all
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
        yield pool
    except BrokenProcessPool:
        raise InputError(
            f"one of {count} helper processes was killed, perhaps for want of memory; {remedy}, and run again"
        ) from None
    except KeyboardInterrupt:
        # The pool may have been at any point of its bookkeeping: to wait for it could be to wait for good.
        wait = False
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        pool.shutdown(wait, cancel_futures=True)


def call(module: str, function: str, *arguments: Any, **options: Any) -> Any:
    """Call a function of a module that only a helper has imported."""
    return getattr(import_module(module), function)(*arguments, **options)

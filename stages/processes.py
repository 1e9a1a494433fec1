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


@contextmanager
def helpers(count: int, remedy: str = "free some") -> Iterator[Executor]:
    """Processes that work for this one.

    Raises:
        InputError: one of them was killed; names the remedy.
    """
    pool = ProcessPoolExecutor(count, initializer=live_with, initargs=(os.getpid(),))
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

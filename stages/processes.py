"""Helper processes of a stage."""

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


def live_with(parent: int) -> None:
    """Have this process end when its parent does, however that ends, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start(parent: int, module: str) -> None:
    live_with(parent)
    import_module(module)


@contextmanager
def importing(module: str, count: int) -> Iterator[Executor]:
    """Processes that import a module at once, while the one that asks for them imports others.

    Raises:
        InputError: one of them was killed.
    """
    with ProcessPoolExecutor(count, initializer=_start, initargs=(os.getpid(), module)) as pool:
        pool.submit(os.getpid)  # the first job starts them
        try:
            yield pool
        except BrokenProcessPool:
            raise InputError("a helper process was killed, perhaps for want of memory; free some, run again") from None


def call(module: str, function: str, *arguments: Any) -> Any:
    """Call a function of a module that only a helper has imported."""
    return getattr(import_module(module), function)(*arguments)

"""Executors besides a stage's own process: helper processes, or the workers of a Dask cluster."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from landcover.config import Runtime
from landcover.errors import InputError

INTERRUPTS = {signal.SIGINT, signal.SIGTERM}
DASK_TIMEOUT = 30  # seconds, for the scheduler and for its first worker


def live_with(parent: int) -> None:
    """Make this process end when its parent does, for any reason, and leave Ctrl-C to the parent."""
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
    """A pool of helper processes.

    Raises:
        InputError: one of them was killed; names the remedy.
    """
    pool = ProcessPoolExecutor(count, initializer=live_with, initargs=(os.getpid(),))
    # An interrupt while they start would leave untracked processes. They inherit the mask until they leave Ctrl-C to
    # their parent.
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    wait = True
    try:
        try:
            for _ in range(count):  # with fork, the first job starts them all; with spawn, each job starts one
                pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
        yield pool
    except BrokenProcessPool:
        raise InputError(
            f"one of {count} helper processes was killed, perhaps for lack of memory; {remedy}, and run again"
        ) from None
    except KeyboardInterrupt:
        # The pool may be at any point of its bookkeeping, so waiting for it could take forever.
        wait = False
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        pool.shutdown(wait, cancel_futures=True)


@contextmanager
def _dask_executor(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise InputError("runtime.dask: dask is not installed; pip install -r requirements-dask.txt") from None
    try:
        client = Client(address, timeout=DASK_TIMEOUT)
        client.wait_for_workers(1, timeout=DASK_TIMEOUT)
    except (OSError, TimeoutError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"runtime.dask = {address}: {reason}; start `python -m dask scheduler` and `python -m landcover worker`"
        ) from None
    with client:
        try:
            yield client.get_executor(retries=3)
        except KilledWorker as error:
            raise InputError(f"runtime.dask = {address}: {error}; give its workers more memory and run again") from None
        except RuntimeError as error:
            if "deserialization" not in str(error):
                raise
            raise InputError(
                f"runtime.dask = {address}: its scheduler does not find the project's code; start it in the repository "
                "with `python -m dask scheduler`"
            ) from None
        except ModuleNotFoundError as error:
            raise InputError(
                f"runtime.dask = {address}: on a worker, {error}; start workers in the repository, with its virtual "
                f"environment: `python -m landcover worker {address}`"
            ) from None


@contextmanager
def executor(runtime: Runtime) -> Iterator[Executor]:
    """The workers of the Dask cluster, if one is named, else processes on this machine.

    Raises:
        InputError: the cluster is unavailable, or processes were killed.
    """
    if runtime.dask is not None:
        with _dask_executor(runtime.dask) as cluster:
            yield cluster
        return
    with helpers(runtime.workers, remedy="lower runtime.workers") as pool:
        yield pool

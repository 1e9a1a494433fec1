"""Executors besides a stage's own process, and what ends with its parent.

Executors are helper processes, or the workers of a Dask cluster.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from landcover.errors import InputError

if TYPE_CHECKING:
    from landcover.config import Runtime  # slow to import, and the entry point needs no more than `end_with`

DASK_TIMEOUT = 30  # seconds, for the scheduler and for its first worker

_parent: int | None = None


def end_with(parent: int) -> None:
    """Have `end_if_orphaned` end this process once `parent` is no longer its parent."""
    global _parent
    _parent = parent


def end_if_orphaned() -> None:
    """End this process if its parent is gone, as dvc is after a kill: a later run may be using the same files.

    By a signal, since a helper's pool would catch an exit. Where no parent was named, as in a notebook, nothing ends.
    """
    if _parent is not None and os.getppid() != _parent:
        os.kill(os.getpid(), signal.SIGKILL)


class _Helper:
    """The state of a helper process. It ends its job at an interrupt; killed, it could leave the pool waiting for good.

    An interrupt between two jobs only prevents the next ones, since the pool itself cannot handle it.
    """

    working = interrupted = False

    @classmethod
    def begin(cls, parent: int) -> None:
        end_with(parent)
        for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C in a terminal reaches helpers, too
            signal.signal(number, cls.interrupt)
        # Each second, since a helper without a job would wait for one for good.
        signal.signal(signal.SIGALRM, lambda *_: end_if_orphaned())
        signal.setitimer(signal.ITIMER_REAL, 1, 1)

    @classmethod
    def interrupt(cls, *_: Any) -> None:
        cls.interrupted = True
        if cls.working:
            raise KeyboardInterrupt

    @classmethod
    def do(cls, job: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        cls.working = True
        try:
            if cls.interrupted:
                raise KeyboardInterrupt
            return job(*arguments, **options)
        finally:
            cls.working = False


class _Pool(ProcessPoolExecutor):
    def submit(self, job: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future:
        return super().submit(_Helper.do, job, *arguments, **options)


@contextmanager
def helpers(count: int, remedy: str = "free some") -> Iterator[Executor]:
    """A pool of helper processes; if the work in this context fails, they do not finish theirs.

    Raises:
        InputError: one of them was killed; names the remedy.
    """
    with _Pool(count, initializer=_Helper.begin, initargs=(os.getpid(),)) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise InputError(
                f"one of {count} helper processes was killed, perhaps for lack of memory; {remedy}, and run again"
            ) from None
        except BaseException:  # an interrupt, too
            pool.shutdown(wait=False, cancel_futures=True)
            for helper in multiprocessing.active_children():
                helper.terminate()
            raise


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
def executor(runtime: "Runtime") -> Iterator[Executor]:
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

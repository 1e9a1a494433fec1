"""What a person sees of work that goes on: at a terminal and, more rarely, in a file."""

from __future__ import annotations  # so that an older Python, outside of the environment, can say so

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

ERASE = "\r\033[K"  # to the start of the line, then the rest of it
EVERY = 30  # seconds between the lines of a log
LINE = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


@contextmanager
def showing(what: str) -> Iterator[None]:
    """Show `what` on the last line of the terminal, if there is one, until the work in this context ends."""
    if not sys.stderr.isatty():
        yield
        return
    print(what, end=" ...", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(ERASE, end="", file=sys.stderr, flush=True)


class _Log:
    """Stands for stderr that is no terminal: what tqdm would draw over itself becomes lines."""

    def write(self, text: str) -> None:
        if line := text.strip():
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        pass


def progress(iterable: Iterable | None = None, **options: Any) -> tqdm:
    """A progress bar of tqdm, with its options; without a terminal, a line every 30 seconds.

    Work that is done sooner leaves no line in a log.
    """
    from tqdm import tqdm  # here, so that a Python without libraries can say so

    if not sys.stderr.isatty():
        options |= {"file": _Log(), "bar_format": LINE, "delay": EVERY, "leave": False}
        options |= {"mininterval": EVERY, "maxinterval": EVERY, "miniters": 1}
    return tqdm(iterable, **options)

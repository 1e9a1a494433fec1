"""What a person at a terminal sees of work that cannot count its steps."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

ERASE = "\r\033[K"  # to the start of the line, then the rest of it


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

"""Errors reported in one line, without a traceback."""

import re
from collections.abc import Sequence

NAMED, LONGEST = 3, 100  # things of one kind that a message names, and characters of each
CHOICES = 20  # names to choose from that a message lists
UNTRUSTED = "check the clock, or name the certificate of your proxy or of the host in REQUESTS_CA_BUNDLE"  # a remedy
CERTIFICATES = re.compile("certificate|SSL")  # in messages of libraries
CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")  # user and password in a URL
QUERY = re.compile(r"((?:://|url: )[^?\s]*\?)\S*?(?=[:;,.)'\"]*(?:\s|$))")  # a query, which may contain a key


class InputError(Exception):
    """Invalid input from the user; the message says what is wrong and what to do about it."""


def few(names: Sequence[str], most: int = NAMED) -> str:
    """The first of what may be thousands of names, and the number of the others, so that a message stays readable."""
    shown = ", ".join(name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def redact(text: str) -> str:
    """Remove user, password and query from the URLs in a text."""
    return QUERY.sub(r"\1...", CREDENTIALS.sub("", text))

"""What is told to people in one line, instead of a traceback."""

import re

CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")  # of an address: user and password
QUERY = re.compile(r"((?:://|url: )[^?\s]*\?)\S*?(?=[:;,.)'\"]*(?:\s|$))")  # which may be a key, too


class InputError(Exception):
    """Something that the user gave is wrong; the message says what, and what to do about it."""


def redact(text: str) -> str:
    """Text as it may be told: the addresses in it without user, password and query."""
    return QUERY.sub(r"\1...", CREDENTIALS.sub("", text))

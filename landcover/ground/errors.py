"""Errors reported in one line, without a traceback."""

import re

CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")  # user and password in a URL
QUERY = re.compile(r"((?:://|url: )[^?\s]*\?)\S*?(?=[:;,.)'\"]*(?:\s|$))")  # a query, which may contain a key


class InputError(Exception):
    """Invalid input from the user; the message says what is wrong and what to do about it."""


def redact(text: str) -> str:
    """Remove user, password and query from the URLs in a text."""
    return QUERY.sub(r"\1...", CREDENTIALS.sub("", text))

"""What is told to people in one line, instead of a traceback."""


class InputError(Exception):
    """Something that the user gave is wrong; the message says what, and what to do about it."""

"""Fault injection, to check that the pipeline ends like an undisturbed run: `python -m torture`."""

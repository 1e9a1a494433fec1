"""Harm done to the pipeline on purpose, to see that it ends as if nothing had happened: `python -m torture`."""

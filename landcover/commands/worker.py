"""A worker of a Dask cluster.  python -m landcover worker tcp://HOST:8786 [option of `dask worker` ...]

Like `dask worker`, but it finds the project's code and computes with the same instruction set as the stages, so that a
cluster writes the same bytes as this machine's own processes.
"""

import os
import shutil

from landcover.errors import InputError


def main(arguments: list[str]) -> None:
    dask = shutil.which("dask")
    if dask is None:
        raise InputError("dask is not installed; pip install -r requirements-dask.txt")
    paths = [os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.execv(dask, [dask, "worker", *arguments])

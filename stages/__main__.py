"""The entry point of the stages, which dvc.yaml calls:  python -m stages <stage> <path> ...

A stage is a function with the name of its module. Its positional parameters are the paths that dvc.yaml passes, in
order; its keyword-only parameters are sections of params.yaml, with the types in `config.Params`:

    def train(tensors_dir: Path, model_path: Path, *, train: Training, runtime: Runtime) -> None: ...

This module checks all parameters, pins the instruction set before a numerical library is imported, and handles
interrupts and bad input. Stages do none of this.
"""

import argparse
import inspect
import os
from importlib import import_module
from pathlib import Path

from landcover import cli, environment, processes
from landcover.device import demand_device
from landcover.errors import InputError

STAGES = (
    "download", "unpack", "preprocess", "folds", "baseline", "applicability", "pretrained", "train", "repeat",
    "evaluate", "report",
)  # fmt: skip


def main() -> None:
    processes.end_with(os.getppid())  # read at the start, since dvc may be killed while libraries are imported
    parser = argparse.ArgumentParser(prog="python -m stages", description="Run one stage, as dvc.yaml does.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="the stage's inputs and outputs, as in dvc.yaml"
    )
    given = parser.parse_args()

    with cli.imports():
        from landcover import config  # here, since it is slow

        params = config.check(config.load())
        environment.pin(params.runtime.instruction_set)
        demand_device(params.runtime.device)
        stage = getattr(import_module(f"stages.{given.stage}"), given.stage)
    parameters = inspect.signature(stage).parameters.values()
    paths = [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
    if len(given.paths) != len(paths):
        usage = f"python -m stages {given.stage} {' '.join(path.upper() for path in paths)}"
        raise InputError(f"{given.stage} takes {len(paths)} paths, not {len(given.paths)}; usage: {usage}")
    chosen = {p.name: getattr(params, p.name) for p in parameters if p.kind is p.KEYWORD_ONLY}
    stage(*given.paths, **chosen)


if __name__ == "__main__":
    cli.run(main)

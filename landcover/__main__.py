"""The entry point of the commands:  python -m landcover <command> [argument ...]

A command is a module of `commands/` whose `main` takes the rest of the command line. As in the entry point of the
stages, the instruction set is pinned before a numerical library is imported, and interrupts and bad input are handled.
"""

import argparse
import sys
from importlib import import_module
from typing import NoReturn

from landcover import cli, environment

COMMANDS = {
    "compare": "is one revision better than another? writes a page for a pull request",
    "experiment": "run the experiments in experiments.yaml and compare them",
    "predict": "map the land cover of a scene, or predict the patches of a folder",
    "assess": "estimate a map's accuracy and the areas of its classes from points that people label",
    "cut": "cut patches out of a scene, around points or in polygons of known land cover",
    "look": "show how a dataset is understood, before training",
    "embed": "write what the model's last layer sees of each patch, for other programs",
    "export": "write the model as ONNX, for programs without torch",
    "positions": "write where GeoTIFFs lie, for tiles of the same names without a georeference",
    "worker": "a Dask worker with the same environment as the stages",
}


def main() -> None:
    lines = "\n".join(f"  {name:<12}{words}" for name, words in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m landcover",
        usage="%(prog)s [-h] COMMAND ...",
        description=f"commands:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see python -m landcover COMMAND --help")
    given = parser.parse_args(sys.argv[1:2])

    with cli.imports():
        from landcover import config  # here, since it is slow

        environment.pin(config.instruction_set())
        command = import_module(f"landcover.commands.{given.command}")
    command.main(sys.argv[2:])


def run() -> NoReturn:
    """The console script `landcover`: the same as `python -m landcover`."""
    cli.run(main)


if __name__ == "__main__":
    run()

"""The entry point of the tools:  python -m tools <tool> [argument ...]

A tool is a module whose `main` takes the rest of the command line. As in the entry point of the stages, the instruction
set is pinned before a numerical library is imported, and interrupts and bad input are handled.
"""

import argparse
from importlib import import_module

from landcover.ground import cli, environment, terminal

TOOLS = {
    "compare": "is one revision better than another? writes a page for a pull request",
    "experiment": "run the experiments in experiments.yaml and compare them",
    "predict": "map the land cover of a scene, or predict the patches of a folder",
    "export": "write the model as ONNX, for programs without torch",
    "worker": "a Dask worker with the same environment as the stages",
}


def main() -> None:
    lines = "\n".join(f"  {name:<12}{words}" for name, words in TOOLS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tools", description=f"tools:\n{lines}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", choices=TOOLS, metavar="TOOL")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="see python -m tools TOOL --help")
    given = parser.parse_args()

    from landcover.ground import params  # here, since it is slow, and interrupts are handled by now

    environment.pin(params.instruction_set())
    with terminal.showing("importing libraries"):
        tool = import_module(f"tools.{given.tool}")
    with cli.work():
        tool.main(given.arguments)


if __name__ == "__main__":
    cli.run(main)
